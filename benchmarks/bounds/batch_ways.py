"""Ways to answer requests in batches (static batching), for the program of the bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.bounds.instance import (
    Floats,
    Instance,
    Integers,
    equal_slots_s,
    lateness_levels,
)
from benchmarks.bounds.program import Columns, Room, maximum
from benchmarks.bounds.shares import least_batch_s, least_s_of, least_shares_s

MOST_SLOTS = 4000
"""Slots of an episode: beyond, they grow longer, and the bound a little looser."""


@dataclass(frozen=True)
class BatchWays:
    """The requests of an episode, late in so many steps where they may be late."""

    instance: Instance
    steps: int

    def maximum(self, edges_s: Floats) -> float:
        """The bound on a grid that begins by the first arrival."""
        instance = self.instance
        if math.isinf(instance.expiry_s):
            best = np.maximum(instance.utility.max(axis=1), instance.given_up)
            return float(best[instance.kind].sum())
        grid, found = make_grid(instance, edges_s), levels(instance, self.steps)
        gpus, least_s = instance.cluster.pools["gpus"], least_s_of(instance.cluster)
        capacity_s = instance.up.capacity_s(gpus, least_s, edges_s)
        room = Room(capacity_s, len(found), grid.count.ravel())
        given_up = instance.given_up * len(instance.kind)
        return given_up + maximum(make_columns(instance, grid, found), room)

    def even_edges_s(self, slots_per_deadline: int) -> Floats:
        """From the first arrival to the last expiry; a slot is a share of the shortest deadline."""
        instance = self.instance
        deadlines_s = instance.terms["deadline_s"]
        deadline_s = float(deadlines_s[deadlines_s > 0].min(initial=math.inf))
        first_s, last_s = float(instance.arrival_s[0]), float(instance.arrival_s[-1])
        span_s = last_s - first_s + instance.expiry_s
        shortest_s = min(deadline_s, instance.expiry_s)
        slot_s = max(shortest_s / slots_per_deadline, span_s / MOST_SLOTS)
        return equal_slots_s(first_s, span_s, slot_s)

    def event_edges_s(self) -> Floats:
        """Every arrival and every moment when something is due."""
        within = [0.0] + [level.within_s for level in levels(self.instance, self.steps)]
        events = self.instance.arrival_s[:, None] + np.array(within)
        edges_s: Floats = np.unique(events)
        return edges_s


@dataclass(frozen=True)
class Grid:
    """Time cut into J slots. Requests of a slot are taken to arrive at its begin.

    Attributes:
        edges_s: shape (J + 1,), rising.
        slots: those with arrivals, shape (S,).
        first: number of each one's first request, shape (S,).
        last_s: its last arrival, shape (S,).
        count: requests by kind, shape (S, K).
    """

    edges_s: Floats
    slots: Integers
    first: Integers
    last_s: Floats
    count: Integers

    def due(self, within_s: float) -> Integers:
        """The slot in which the last request of each slot is due, shape (S,)."""
        due: Integers = np.searchsorted(self.edges_s, self.last_s + within_s, "left") - 1
        return due


def make_grid(instance: Instance, edges_s: Floats) -> Grid:
    """The grid with each request sorted into its slot."""
    slot = np.searchsorted(edges_s, instance.arrival_s, "right") - 1
    slots, first = np.unique(slot, return_index=True)
    last = np.append(first[1:], len(slot)) - 1
    count = np.zeros((len(slots), len(instance.utility)), np.int64)
    np.add.at(count, (np.searchsorted(slots, slot), instance.kind), 1)
    return Grid(edges_s, slots, first, instance.arrival_s[last], count)


class Level(NamedTuple):
    """An answer so late at most, to a request of some kinds, earns such a share at most."""

    within_s: float  # after the arrival
    kept: float
    kinds: NDArray[np.bool_]  # (K,)


def levels(instance: Instance, steps: int) -> list[Level]:
    """Those of every deadline that there is, one after the other."""
    return [
        Level(float(terms["deadline_s"]) + late_s, kept, instance.terms == terms)
        for terms in np.unique(instance.terms)
        for late_s, kept in lateness_levels(terms, steps)
    ]


def make_columns(instance: Instance, grid: Grid, levels: list[Level]) -> Columns:
    """Every (slot, kind, pool, model, level) that can earn anything."""
    pools, models = instance.cluster.batch_limit.shape
    parts = [
        _columns(instance, grid, (pool, model), pool * len(levels) + number, level)
        for pool in range(pools)
        for model in range(models)
        for number, level in enumerate(levels)
        if instance.cluster.batch_limit[pool, model] > 0
    ]
    group, curve, arrival, due, share_s, value = map(np.concatenate, zip(*parts, strict=True))
    # Each way is one piece of work.
    return Columns(group, value, np.arange(len(group)), curve, arrival, due, share_s)


def _columns(
    instance: Instance, grid: Grid, where: tuple[int, int], curve: int, level: Level
) -> tuple[NDArray[Any], ...]:
    arrival_s, (pool, model) = instance.arrival_s, where
    batch_s = least_batch_s(instance.cluster, pool, model)
    within_s = instance.up.longest_s(pool, arrival_s, np.full(len(arrival_s), level.within_s))
    shares_s = least_shares_s(arrival_s, batch_s, within_s, instance.expiry_s)
    share_s = np.minimum.reduceat(shares_s, grid.first)
    value = level.kept * instance.utility[:, model] * level.kinds - instance.given_up
    slot, kind = np.nonzero((grid.count > 0) & np.isfinite(share_s)[:, None] & (value > 0))
    group = slot * len(value) + kind
    due = grid.due(level.within_s)[slot]
    curves = np.full(len(slot), curve)
    return group, curves, grid.slots[slot], due, share_s[slot], value[kind]
