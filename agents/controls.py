"""More routers without training: a score of quality against latency, a one-step rollout, pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agents import compiled_policies, heuristics
from agents.base import Actions, Agent, Observations
from agents.heuristics import Heuristic, Setting, column
from agents.pairs import PricedPair
from agents.rollouts import try_actions
from llmroute_env._compiled import compiled
from llmroute_env.cluster import Tape
from llmroute_env.config import EnvConfig
from llmroute_env.simulation import Simulation
from llmroute_env.specs import require

FUTURES, HORIZON_S = 8, 0.4
"""Of the rollout: sampled futures per decision, and how long the base heuristic is followed."""

ALIKE, CLOSEST = 256, 32
"""Futures begin at one of the closest by the short rate, of twice ALIKE moments by the long one."""


@runtime_checkable
class SeesState(Protocol):
    """A router that reads the simulation itself; whoever runs it attaches it before `begin`."""

    def attach(self, simulation: Simulation) -> None:
        """The simulation whose envs it will route for."""
        ...


class RouteBalance(Heuristic):
    """The model with the best accuracy - weight x predicted latency / deadline.

    After RouteBalance (arXiv 2606.17949), which scores every instance by a weighted sum of
    predicted quality, latency and cost when the model is selected; here nothing has a price, so two
    of its three terms remain, and the dispatcher has picked the instance.
    """

    def __init__(self, name: str, config: EnvConfig, weight: float = 0.3) -> None:
        super().__init__(name, config)
        require(weight >= 0, f"{name} weight", weight, ">= 0")
        self.weight = weight
        self.slack = column(config, "slack")
        self.accuracy = np.array([model.accuracy for model in config.models]).T

    def act(self, observations: Observations) -> Actions:
        """See Agent."""
        task = observations[:, : len(self.accuracy)].argmax(axis=1)
        latency = latency_of(observations[:, self.slack : self.slack + self.models])
        score = self.accuracy[task] - self.weight * latency
        actions: Actions = score.argmax(axis=1)
        return actions


def latency_of(slack: NDArray[np.float32]) -> NDArray[np.float64]:
    """Predicted latency / deadline: the inverse of observation.slack."""
    value = slack.astype(np.float64)
    compressed = -np.exp(np.minimum(-1.0 - value, 16.0))
    return np.asarray(1.0 - np.where(value >= -1.0, value, compressed))


class Rollout(Heuristic):
    """One step of policy improvement at decision time (Bertsekas and Castanon 1999).

    The state is forked; after each model the base heuristic, `largest-feasible` with `margin`, is
    followed for HORIZON_S on FUTURES sampled futures, the same for every model, and is overruled
    where all of them agree. A future is what followed in the training arrivals when the estimated
    rates were most like now's: Poisson futures know no bursts, and do worse than the heuristic.
    """

    def __init__(self, name: str, config: EnvConfig, margin: float = 0.2) -> None:
        super().__init__(name, config)
        self.real: Any = None
        self.base = compiled_policies.largest_feasible(config, margin)

    def attach(self, simulation: Simulation) -> None:
        """See SeesState."""
        self.real = simulation
        self.spare = Simulation(simulation.config, 2, logs_completions=False)
        self.past = Past(replace(simulation.config, split="train"))

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """See Agent."""
        accepted = "attached, as the evaluation does: this router reads the state itself"
        require(self.real is not None, f"{self.name} simulation", self.real, accepted)
        self.rng = rng

    def act(self, observations: Observations) -> Actions:
        """See Agent."""
        envs = self.real.state.envs
        actions = np.zeros(len(envs), np.int64)
        for e in np.flatnonzero(~envs["over"]):
            actions[e] = self.choose(int(e))
        return actions

    def choose(self, e: int) -> int:
        """The best model for env `e` of those that gain in every future, else the base's."""
        state = self.spare.state
        for mine, theirs in zip(state, self.real.state, strict=True):
            mine[0] = theirs[e]
        usual = compiled_policies.decide(self.base, self.spare.cluster, state, 0)
        futures = self.past.futures(state.envs[0], self.rng)
        values = np.array([self.values(future) for future in futures])
        gains = values - values[:, [usual]]
        agreed = np.where((gains > 0).all(axis=0), gains.mean(axis=0), 0.0)
        return int(agreed.argmax()) if agreed.any() else usual

    def values(self, tape: Tape) -> NDArray[np.float64]:
        """Utility that each model promises on one future."""
        env, values = self.spare.state.envs[0], np.zeros(self.models)
        # Request number `decision` is the first of the sampled tape.
        env["first"], env["end"] = -env["decision"], len(tape.arrival_s)
        env["tape_start_s"], env["stretch"] = 0.0, 1.0
        state, log = self.spare.state, self.spare.log
        try_actions(self.base, self.spare.cluster, tape, state, 0, 1, HORIZON_S, log, values)
        return values


class Past:
    """The training arrivals, by the rates that a router would have estimated at each of them."""

    def __init__(self, config: EnvConfig) -> None:
        simulation = Simulation(config, logs_completions=False)
        self.tape = simulation.tape
        rates = np.empty((2, len(self.tape.arrival_s)))
        for row, window_s in zip(rates, config.rate_windows_s, strict=True):
            estimate_rates(self.tape.arrival_s, window_s, row)
        self.order = np.argsort(rates[1], kind="stable")
        self.slow = rates[1][self.order]
        self.surge = np.log(rates[0] / rates[1])[self.order]

    def futures(self, env: np.void, rng: np.random.Generator) -> list[Tape]:
        """FUTURES tapes that begin with the pending request of `env`."""
        rate = float(env["slow_rate_per_s"])
        middle = int(np.searchsorted(self.slow, rate))
        first = min(max(middle - ALIKE, 0), max(len(self.slow) - 2 * ALIKE, 0))
        near = slice(first, first + 2 * ALIKE)
        distance = np.abs(self.surge[near] - np.log(env["fast_rate_per_s"] / rate))
        closest = first + np.argsort(distance)[:CLOSEST]
        return [self.future(env, int(i)) for i in rng.choice(closest, FUTURES)]

    def future(self, env: np.void, place: int) -> Tape:
        """What followed at one place, at the rate of now."""
        start, tape = int(self.order[place]), self.tape
        pace = float(np.clip(self.slow[place] / env["slow_rate_per_s"], 0.5, 2.0))
        until_s = tape.arrival_s[start] + HORIZON_S / pace
        chosen = slice(start, max(int(np.searchsorted(tape.arrival_s, until_s)), start + 1))
        later_s = (tape.arrival_s[chosen] - tape.arrival_s[start]) * pace
        tasks = tape.task[chosen].copy()
        tasks[0] = env["task"]
        return Tape(float(env["now_s"]) + later_s, tasks)


@compiled
def estimate_rates(
    arrival_s: NDArray[np.float64], window_s: float, rates: NDArray[np.float64]
) -> None:
    """The rate estimate (episode.present) right after each arrival."""
    rate, before_s = 0.0, 0.0
    for i in range(len(arrival_s)):
        rate = rate * math.exp((before_s - arrival_s[i]) / window_s) + 1.0 / window_s
        before_s = arrival_s[i]
        rates[i] = rate


CONTROLS: dict[str, Callable[..., Agent]] = {
    "route-balance": RouteBalance,
    "rollout": Rollout,
    "priced-pair": PricedPair,
}

TUNABLE = heuristics.TUNABLE | {
    "route-balance": Setting(
        "weight", 0.3, (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0, 2.0, 5.0)
    ),
    "priced-pair": Setting(
        "price", 0.02, (0.0, 0.003, 0.006, 0.009, 0.012, 0.016, 0.02, 0.025, 0.03, 0.04, 0.06)
    ),
}


def make(name: str, config: EnvConfig, setting: float | None = None) -> Agent:
    """The control or heuristic called `name`; `setting` replaces its default.

    Raises:
        ConfigError: see heuristics.make.
    """
    if name not in CONTROLS:
        return heuristics.make(name, config, setting)
    factory = CONTROLS[name]
    return factory(name, config) if setting is None else factory(name, config, setting)
