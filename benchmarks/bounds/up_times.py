"""When the GPUs of an episode are up, which a clairvoyant knows.

Whatever a GPU holds when its machine fails is lost, or begins anew elsewhere. So all the work that
an answer is charged was done by one GPU, within one run of time between two of its outages.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.simulation.outages import Interval, outages

Floats = NDArray[np.float64]

FOR_GOOD = np.array([[0.0, math.inf]])

MOST_OUTAGES = 10_000
"""Of a machine, on average: from then on it is taken to be up for good, which only adds room."""


@dataclass(frozen=True)
class UpTimes:
    """Runs of time, (begin, end), in which machines are up, in their order.

    Attributes:
        runs: of each machine, shape (R, 2), by the pools in which any fails.
        width: GPUs of a machine.
    """

    runs: Mapping[int, tuple[Floats, ...]] = field(default_factory=dict)
    width: int = 1

    def of_gpu(self, pool: int, number: int) -> Floats:
        """The runs of a GPU, by its number within its pool."""
        machines = self.runs.get(pool)
        return FOR_GOOD if machines is None else machines[number // self.width]

    def capacity_s(self, per_s: Floats, least_s: Floats, edges_s: Floats) -> Floats:
        """What the pools can do in each slot, shape (P, J).

        Args:
            per_s: what all GPUs of a pool, while they are up, do in a second, shape (P,).
            least_s: runs that are shorter are of no use, shape (P,).
            edges_s: of the slots, shape (J + 1,), rising.
        """
        found: Floats = np.outer(per_s, np.diff(edges_s))
        for pool, machines in self.runs.items():
            useful = [own[np.diff(own)[:, 0] >= least_s[pool]] for own in machines]
            found[pool] = per_s[pool] * np.mean([seconds_in(own, edges_s) for own in useful], 0)
        return found

    def longest_s(self, pool: int, begin_s: Floats, within_s: Floats) -> Floats:
        """For how long a GPU of a pool is up without a break, at most, in each of N windows.

        Args:
            pool: its number.
            begin_s: of the windows, rising, shape (N,).
            within_s: how long they are, shape (N,).
        """
        if pool not in self.runs or len(begin_s) == 0:
            return within_s
        found, widest_s = np.zeros(len(begin_s)), float(within_s.max())
        for begin, end in np.concatenate(self.runs[pool]):
            first, last = np.searchsorted(begin_s, [begin - widest_s, end])
            own = slice(first, last)
            run_s = np.minimum(begin_s[own] + within_s[own], end) - np.maximum(begin_s[own], begin)
            found[own] = np.maximum(found[own], run_s)
        return found


ALWAYS = UpTimes()


def seconds_in(runs: Floats, edges_s: Floats) -> Floats:
    """How many seconds of each slot lie in the runs, shape (J,)."""
    if len(runs) == 0:
        return np.zeros(len(edges_s) - 1)
    knots_s = np.minimum(runs, edges_s[np.isfinite(edges_s)].max())
    lengths_s = np.diff(knots_s)[:, 0]
    after_s = np.cumsum(lengths_s)
    passed_s = np.column_stack([after_s - lengths_s, after_s])
    found: Floats = np.diff(np.interp(edges_s, knots_s.ravel(), passed_s.ravel()))
    # Rounding may take a slot below nothing, which no program allows.
    return np.maximum(found, 0.0)


def up_times(config: EnvConfig, seed: int, until_s: float) -> UpTimes:
    """Those of the episode of `seed`; who is up at `until_s`, or mended later, stays so."""
    if config.failures is None:
        return ALWAYS
    sizes = [pool.gpus for pool in config.pools]
    pool_of = np.repeat(np.arange(len(sizes)), sizes)
    up, down = config.failures.laws(config.split)
    cycle_s = up.mean_s + down.mean_s + config.failures.warm_up_s
    found = outages(config, seed, min(until_s, MOST_OUTAGES * cycle_s))
    runs: dict[int, tuple[Floats, ...]] = {}
    for gpus, intervals in zip(config.failures.machines(sizes), found, strict=True):
        pool = int(pool_of[gpus[0]])
        runs[pool] = (*runs.get(pool, ()), runs_between(intervals))
    failing = {
        pool: machines
        for pool, machines in runs.items()
        if not all(np.array_equal(own, FOR_GOOD) for own in machines)
    }
    return UpTimes(failing, config.failures.gpus_per_machine)


def runs_between(intervals: Iterable[Interval]) -> Floats:
    """The time that is left between intervals, from second 0 on, without end."""
    edges_s = np.array([0.0, *(edge for interval in intervals for edge in interval), math.inf])
    runs: Floats = edges_s.reshape(-1, 2)
    return runs[runs[:, 1] > runs[:, 0]]
