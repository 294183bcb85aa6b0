"""Heuristics for a world that breaks and is seen late: what a good engineer would write for it.

What a router has sent since it last heard of a GPU it knows, and what has not come back it can
count. Routers in production do both (RouteBalance's dead reckoning, arXiv 2606.17949; in-flight
counts beside scraped ones in inference-sim). Where something has just failed they send nothing more
until they have heard of it again: the circuit breaker of Nygard, Release It! (2007).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agents.base import Actions, Observations, read_in
from agents.columns import largest_first
from agents.compiled.rules import STEEP
from agents.heuristics.instances import LeastOf
from agents.heuristics.models import LargestFeasible
from agents.heuristics.pairs import PricedPair
from llmroute_env.config import EnvConfig
from llmroute_env.specs import require


class ReckonedFeasible(LargestFeasible):
    """`largest-feasible`, which adds what it has sent since to signals that are late."""

    reckons = breaks_circuits = True


class ReckonedPair(PricedPair):
    """`steep-pair`, which adds what it has sent since to signals that are late."""

    reckons = breaks_circuits = True

    def __init__(self, name: str, config: EnvConfig, price: float = 0.02) -> None:
        super().__init__(name, config, price, STEEP)


class LeastLocal(LeastOf):
    """The pair with the fewest requests that were sent there and have not come back."""

    feature = "gpu_in_flight"


class CircuitBreaker(LeastLocal):
    """`least-local`, on the GPUs where nothing has failed since they were heard of."""

    breaks_circuits = True


class ConcurrencyLimit:
    """The largest model with an instance that holds less than it works off in so many seconds.

    What an instance holds is what was sent there and has not come back, however late signals are;
    it works off what the model alone sustains on it. Of a model's instances the one that holds
    least of that is chosen, and of all if every one is full. Limits of this kind are what gateways
    put before their backends (Netflix's concurrency-limits; Little's law).
    """

    action = "gpu-model"
    breaks_circuits = True

    def __init__(self, name: str, config: EnvConfig, held_s: float = 0.2) -> None:
        require(held_s > 0, f"{name} held_s", held_s, "> 0")
        self.name = name
        health = ("gpu_up",) if config.failures is not None else ()
        self.observation = read_in(config, ("gpu_in_flight", *health))
        layout = replace(config.layout, names=self.observation)
        self.first, self.up = layout.first("gpu_in_flight"), layout.first("gpu_up")
        # Pairs that are not hosted work off nothing.
        self.limits = held_s * sustained_by_pair(config)
        self.order = largest_first(config)

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def act(self, observations: Observations) -> Actions:
        """The pair for every row of `observations`, shape (E, F) -> (E,)."""
        gpus, models = self.limits.shape
        seen = observations[:, self.first : self.first + gpus * models]
        held = np.expm1(seen.astype(np.float64)).reshape(-1, gpus, models)
        with np.errstate(divide="ignore"):
            share = (held + 1.0) / self.limits
        if self.up >= 0:
            up = observations[:, self.up : self.up + gpus] > 0
            share = np.where(up[:, :, None], share, np.inf)
        least, gpu = share.min(axis=1), share.argmin(axis=1)
        least, gpu = least[:, self.order], gpu[:, self.order]
        is_open = least <= 1.0
        first = np.where(is_open.any(axis=1), is_open.argmax(axis=1), least.argmin(axis=1))
        rows = np.arange(len(observations))
        actions: Actions = gpu[rows, first] * models + np.array(self.order)[first]
        return actions


def sustained_by_pair(config: EnvConfig) -> NDArray[np.float64]:
    """Requests per second that each model alone serves in time on one GPU, shape (G, M).

    0 where it is not hosted.
    """
    rows = []
    for pool in config.pools:
        alone = replace(config, pools=(pool,))
        per_s = {m.name: alone.sustained_per_s(m) / pool.gpus for m in alone.models}
        rows += [[per_s.get(model.name, 0.0) for model in config.models]] * pool.gpus
    return np.array(rows)


class Admission(LargestFeasible):
    """`largest-feasible`, which turns away whom no model is predicted to serve with such a slack.

    It adds what it has sent since to signals that are late. The model is chosen with MARGIN.
    """

    reckons = breaks_circuits = True

    def __init__(self, name: str, config: EnvConfig, threshold: float = 0.0) -> None:
        require(config.reject, f"{name} reject", config.reject, "True: it turns requests away")
        require(-16 <= threshold <= 1, f"{name} threshold", threshold, "-16 to 1")
        super().__init__(name, config, MARGIN)
        self.threshold = threshold

    def act(self, observations: Observations) -> Actions:
        """The model for every row of `observations`, or to reject: shape (E, F) -> (E,)."""
        actions = super().act(observations)
        slacks = observations[:, self.slack : self.slack + self.models]
        actions[slacks.max(axis=1) < self.threshold] = self.models
        return actions


MARGIN = 0.2
"""Of `admission`: what `largest-feasible` usually has."""
