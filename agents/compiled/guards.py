"""Heuristics that a network guards itself with, as compiled code: made, taken off, and named."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.compiled.policies import BEST_PAIR, GUARDED, LARGEST_FEASIBLE, CompiledPolicy, walk_all
from agents.compiled.rules import STEEP
from llmroute_env.config import EnvConfig
from llmroute_env.simulation.simulation import Simulation


def guarded(
    network: CompiledPolicy, base: CompiledPolicy, caution: float, busiest: float, tries: int
) -> CompiledPolicy:
    """The heuristic `base`, overruled where `network` gains more than `caution` by it.

    Not where the feature `fast_rate` is above `busiest`. Of pairs only the `tries` that are worth
    most to `base` are taken, any if it is 0.
    """
    return base._replace(
        kind=GUARDED,
        caution=np.float32(caution),
        busiest=np.float32(busiest),
        tries=tries,
        network=network.network,
    )


def heuristic_of(policy: CompiledPolicy) -> CompiledPolicy:
    """The heuristic of a guarded router, alone."""
    assert policy.kind == GUARDED, policy.kind
    return policy._replace(kind=BEST_PAIR if policy.columns.pairs > 0 else LARGEST_FEASIBLE)


def heuristic_name(policy: CompiledPolicy) -> str:
    """What tables call it."""
    if policy.columns.pairs == 0:
        return "largest-feasible"
    if policy.limits.held_s > 0.0:
        return "concurrency-limit"
    if len(policy.limits.order) > 0:
        return "feasible-pair"
    return "steep-pair" if policy.price.growth == STEEP else "priced-pair"


class Overruling(NamedTuple):
    """What the network of a guarded router adds to its heuristic.

    Attributes:
        share: of the decisions, in which the router does not do what the heuristic would.
        gain: its score less that of the heuristic alone.
    """

    share: float
    gain: float

    def words(self) -> str:
        """The finding as one line."""
        if self.share == 0.0:
            return "the network never overrules its heuristic: the score is the heuristic's"
        share = f"{100 * self.share:.1f} % of the decisions"
        return f"the network overrules its heuristic in {share}, for {self.gain:+.4f} of peak"


def overruled(
    policy: CompiledPolicy, config: EnvConfig, seeds: NDArray[np.uint64]
) -> tuple[int, int]:
    """Decisions of a guarded router against its heuristic, and all, in an episode per seed."""
    simulation = Simulation(config, len(seeds), logs_completions=False)
    simulation.begin(seeds)
    against = np.zeros(len(seeds), np.int64)
    taken = walk_all(policy, simulation.world, against)
    return int(against.sum()), int(taken)
