"""Heuristics for a world that breaks and is seen late: what a good engineer would write for it.

What a router has sent since it last heard of a GPU it knows, and what has not come back it can
count. Routers in production do both (RouteBalance's dead reckoning, arXiv 2606.17949; in-flight
counts beside scraped ones in inference-sim). Where something has just failed they send nothing more
until they have heard of it again: the circuit breaker of Nygard, Release It! (2007).
"""

from __future__ import annotations

from dataclasses import replace

from agents.base import Actions, Observations, read_in
from agents.columns import pair_columns, utilities
from agents.compiled.making import limits
from agents.compiled.rules import STEEP, PairRule, Price
from agents.heuristics.instances import LeastOf
from agents.heuristics.models import LargestFeasible
from agents.heuristics.pairs import BestPair, PricedPair
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


class ConcurrencyLimit(BestPair):
    """The largest model with an instance that holds less than it works off in so many seconds.

    What an instance holds is what was sent there and has not come back, however late signals are;
    it works off what the model alone sustains on it. Of a model's instances the one that holds
    least of that is chosen, and of all if every one is full. Limits of this kind are what gateways
    put before their backends (Netflix's concurrency-limits; Little's law).
    """

    breaks_circuits = True

    def __init__(self, name: str, config: EnvConfig, held_s: float = 0.2) -> None:
        require(held_s > 0, f"{name} held_s", held_s, "> 0")
        self.name = name
        self.observation = read_in(config, in_flight(config))
        layout = replace(config.layout, names=self.observation)
        columns = pair_columns(layout, ("gpu_in_flight",))
        self.rule = PairRule(columns, utilities(config), Price(0.0), limits(config, held_s))


def in_flight(config: EnvConfig) -> tuple[str, ...]:
    """The features of what is in flight, and where machines fail of who is up."""
    return ("gpu_in_flight",) if config.failures is None else ("gpu_in_flight", "gpu_up")


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
