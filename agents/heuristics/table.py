"""More routers without training, and the table of all that have a setting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from agents.base import Actions, Agent, Observations
from agents.columns import column
from agents.compiled.rules import STEEP
from agents.heuristics import models as heuristics
from agents.heuristics.instances import LeastKV, LeastRequests, LeastTTFT, PowerOfTwo
from agents.heuristics.late import (
    Admission,
    CircuitBreaker,
    ConcurrencyLimit,
    LeastLocal,
    ReckonedFeasible,
    ReckonedPair,
)
from agents.heuristics.lookahead import Hindsight, Rollout
from agents.heuristics.models import Heuristic, Setting
from agents.heuristics.pairs import FeasiblePair, PricedPair
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.service.models import SERVICES
from llmroute_env.specs import require


class RouteBalance(Heuristic):
    """The model with the best utility in time - weight x predicted latency / deadline.

    After RouteBalance (arXiv 2606.17949), which scores every instance by a weighted sum of
    predicted quality, latency and cost when the model is selected; here nothing has a price, so two
    of its three terms remain, and the dispatcher has picked the instance.
    """

    def __init__(self, name: str, config: EnvConfig, weight: float = 0.3) -> None:
        super().__init__(name, config)
        require(weight >= 0, f"{name} weight", weight, ">= 0")
        self.weight = weight
        self.slack = column(config, "slack")
        self.utility = config.utility
        self.user_class = column(config, "class", self.observation)

    def act(self, observations: Observations) -> Actions:
        """The model for every row of `observations`, shape (E, F) -> (E,)."""
        classes, tasks, _ = self.utility.shape
        task, user_class = observations[:, :tasks].argmax(axis=1), 0
        if classes > 1:
            seen = observations[:, self.user_class : self.user_class + classes]
            user_class = seen.argmax(axis=1)
        latency = latency_of(observations[:, self.slack : self.slack + self.models])
        score = self.utility[user_class, task] - self.weight * latency
        actions: Actions = score.argmax(axis=1)
        return actions


def latency_of(slack: NDArray[np.float32]) -> NDArray[np.float64]:
    """Predicted latency / deadline: the inverse of observation.slack."""
    value = slack.astype(np.float64)
    compressed = -np.exp(np.minimum(-1.0 - value, 16.0))
    return np.asarray(1.0 - np.where(value >= -1.0, value, compressed))


THRESHOLDS = (-16.0, -2.0, -1.0, -0.5, -0.2, 0.0, 0.1, 0.2)

PRICES = (0.0, 0.003, 0.006, 0.009, 0.012, 0.016, 0.02, 0.025, 0.03, 0.04, 0.06)

ENGINE_PRICES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5)

HELD_S = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)

ENGINE_HELD_S = (0.5, 0.7, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)

CONTROLS: dict[str, Callable[..., Agent]] = {
    "route-balance": RouteBalance,
    "rollout": Rollout,
    "hindsight": Hindsight,
    "priced-pair": PricedPair,
    "steep-pair": partial(PricedPair, growth=STEEP),
    "feasible-pair": FeasiblePair,
    "least-requests": LeastRequests,
    "least-kv": LeastKV,
    "least-ttft": LeastTTFT,
    "power-of-two": PowerOfTwo,
    "least-local": LeastLocal,
    "circuit-breaker": CircuitBreaker,
    "concurrency-limit": ConcurrencyLimit,
    "reckoned-feasible": ReckonedFeasible,
    "reckoned-pair": ReckonedPair,
    "admission": Admission,
}

TUNABLE = heuristics.TUNABLE | {
    "route-balance": Setting(
        "weight",
        0.3,
        (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0, 2.0, 5.0),
        (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 3.0, 5.0),
    ),
    "priced-pair": Setting("price", 0.02, PRICES, ENGINE_PRICES),
    "steep-pair": Setting("price", 0.02, PRICES, ENGINE_PRICES),
    "feasible-pair": heuristics.TUNABLE["largest-feasible"],
    "reckoned-feasible": heuristics.TUNABLE["largest-feasible"],
    "reckoned-pair": Setting("price", 0.02, PRICES, ENGINE_PRICES),
    "concurrency-limit": Setting("held_s", 0.2, HELD_S, ENGINE_HELD_S),
    "admission": Setting("threshold", 0.0, THRESHOLDS, THRESHOLDS),
}


COUNTING = ("reckoned-feasible", "reckoned-pair", "concurrency-limit")
"""Those that make up for signals that are late."""


def tunable_in(config: EnvConfig) -> tuple[str, ...]:
    """The names of TUNABLE that have a setting of their own in the environment of `config`.

    With exact signals who reckons is who does not, and nobody has to count. In static batching
    prices are the better rule over pairs.
    """
    absent = set() if config.signals.are_late else set(COUNTING)
    absent |= set() if SERVICES[config.service].reads_lengths else {"feasible-pair"}
    absent |= set() if config.reject else {"admission"}
    return tuple(name for name in TUNABLE if name not in absent)


def make(name: str, config: EnvConfig, setting: float | None = None) -> Agent:
    """The control or heuristic called `name`; `setting` replaces its default.

    Raises:
        ConfigError: see heuristics.make.
    """
    if name not in CONTROLS:
        return heuristics.make(name, config, setting)
    factory = CONTROLS[name]
    return factory(name, config) if setting is None else factory(name, config, setting)
