"""The linear program behind `upper.upper_bound`; upper.py says why it is one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.bounds.shares import Floats, least_batch_s, least_shares_s
from llmroute_env.dynamics.cluster import Cluster
from llmroute_env.dynamics.reward import HARD, decay
from llmroute_env.dynamics.state import Records
from llmroute_env.specs import TICK_S

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Instance:
    """What a clairvoyant knows: the cluster, and of every request when it comes and its kind."""

    cluster: Cluster
    arrival_s: Floats  # (N,) sorted, whole ticks
    kind: Integers  # (N,) class of the user x number of tasks + task

    @property
    def utility(self) -> Floats:
        """What an answer in time earns, by kind and model, shape (K, M)."""
        flat: Floats = self.cluster.utility.reshape(-1, self.cluster.utility.shape[2])
        return flat

    @property
    def terms(self) -> Records:
        """When an answer counts, by kind: TERMS, shape (K,)."""
        return self.cluster.terms.ravel()

    @property
    def expiry_s(self) -> float:
        """How long after its arrival a request of any kind can earn anything."""
        return float((self.terms["deadline_s"] + self.terms["grace_s"]).max())


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


@dataclass(frozen=True)
class Columns:
    """Ways to answer a request of a group (slot, kind): arrays with one entry per way."""

    group: Integers
    curve: Integers  # (pool, level), pool-major
    arrival: Integers  # slot
    due: Integers  # slot
    share_s: Floats
    value: Floats

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True)
class Program:
    """Maximise value @ x with at_most @ x <= ceiling, equal @ x == 0 and 0 <= x <= upper."""

    value: Floats
    at_most: Any
    ceiling: Floats
    equal: Any
    upper: Floats


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
        Level(within_s, kept, instance.terms == terms)
        for terms in np.unique(instance.terms)
        for within_s, kept in levels_of(terms, steps)
    ]


def levels_of(terms: np.void, steps: int) -> list[tuple[float, float]]:
    """(finish so long after the arrival at most, share of the utility earned at most)."""
    deadline_s, grace_s = float(terms["deadline_s"]), float(terms["grace_s"])
    if terms["decay"] == HARD:
        return [(deadline_s, 1.0)]
    late_s = np.ceil(np.linspace(0.0, grace_s / TICK_S, steps + 1)) * TICK_S
    kept = [decay(int(terms["decay"]), grace_s, float(late)) for late in late_s[:-1]]
    return [(deadline_s + float(late), k) for late, k in zip(late_s[1:], kept, strict=True)]


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
    return Columns(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _columns(
    instance: Instance, grid: Grid, where: tuple[int, int], curve: int, level: Level
) -> tuple[NDArray[Any], ...]:
    within_s = level.within_s
    cluster, (pool, model) = instance.cluster, where
    batch_s = least_batch_s(cluster, pool, model)
    shares_s = least_shares_s(instance.arrival_s, batch_s, within_s, instance.expiry_s)
    share_s = np.minimum.reduceat(shares_s, grid.first)
    value = level.kept * instance.utility[:, model] * level.kinds
    slot, kind = np.nonzero((grid.count > 0) & np.isfinite(share_s)[:, None] & (value > 0))
    group = slot * len(value) + kind
    due = grid.due(within_s)[slot]
    curves = np.full(len(slot), curve)
    return group, curves, grid.slots[slot], due, share_s[slot], value[kind]


def make_program(instance: Instance, grid: Grid, columns: Columns, levels: int) -> Program:
    """Columns first; then for each (curve, slot) the work done, the backlog and the advance.

    Backlog: work that has arrived and is not done. Advance: work that is done and not yet due.
    """
    capacity_s = np.outer(instance.cluster.pools["gpus"], np.diff(grid.edges_s))
    done_s = np.repeat(capacity_s, levels, axis=0)
    total_s = np.repeat(done_s.sum(axis=1), done_s.shape[1])
    count = grid.count.ravel()
    return Program(
        value=np.concatenate([columns.value, np.zeros(3 * done_s.size)]),
        at_most=_ceilings(columns, len(count), capacity_s.shape, levels),
        ceiling=np.concatenate([count, capacity_s.ravel()]),
        equal=_balances(columns, *done_s.shape),
        upper=np.concatenate([count[columns.group], done_s.ravel(), total_s, total_s]),
    )


def _ceilings(columns: Columns, groups: int, pools_slots: tuple[int, ...], levels: int) -> Any:
    """Answers per group of requests; then, per (pool, slot), the work of all levels."""
    from scipy import sparse

    pools, slots = pools_slots
    entries = np.ones(len(columns)), (columns.group, np.arange(len(columns)))
    answers = sparse.csr_array(entries, shape=(groups, len(columns)))
    work = sparse.kron(sparse.kron(_eye(pools), np.ones((1, levels))), _eye(slots))
    others = sparse.csr_array((groups, 2 * pools * levels * slots))
    return sparse.block_array([[answers, None, others], [None, work, None]], format="csr")


def _eye(size: int) -> Any:
    from scipy import sparse

    return sparse.eye(size, format="csr")


def _balances(columns: Columns, curves: int, slots: int) -> Any:
    """Backlog and advance follow from those of the slot before: a row each per curve and slot."""
    from scipy import sparse

    one = _eye(curves * slots)
    shift = sparse.eye(slots, k=-1)
    change = sparse.kron(_eye(curves), _eye(slots) - shift, format="csr")
    zero = sparse.csr_array((curves * slots, curves * slots))
    number, shape = np.arange(len(columns)), (curves * slots, len(columns))
    arriving, falling_due = (
        sparse.csr_array((columns.share_s, (columns.curve * slots + slot, number)), shape=shape)
        for slot in (columns.arrival, columns.due)
    )
    backlog = sparse.hstack([-arriving, one, change, zero])
    advance = sparse.hstack([falling_due, -one, zero, change])
    return sparse.vstack([backlog, advance], format="csr")


def certified_maximum(program: Program) -> float:
    """An upper bound on the program's maximum that does not rest on the solver's tolerances.

    Weak duality: any prices of the rows, those of inequalities not negative, bound the maximum by
    ceiling @ prices + sum over columns of upper * max(0, value left at these prices).
    """
    from scipy import optimize

    solve: Any = optimize.linprog  # Its stubs know no sparse matrices.
    found = solve(
        -program.value,
        A_ub=program.at_most,
        b_ub=program.ceiling,
        A_eq=program.equal,
        b_eq=np.zeros(program.equal.shape[0]),
        bounds=np.column_stack([np.zeros(len(program.upper)), program.upper]),
        method="highs",
    )
    if found.status != 0:
        raise RuntimeError(f"the linear program of the bound was not solved: {found.message}")
    prices = np.maximum(-found.ineqlin.marginals, 0.0)
    left = program.value - program.at_most.T @ prices + program.equal.T @ found.eqlin.marginals
    return float(program.ceiling @ prices + program.upper @ np.maximum(left, 0.0))


def maximum(instance: Instance, edges_s: Floats, steps: int) -> float:
    """The bound of one instance on a grid that begins by its first arrival."""
    if math.isinf(instance.expiry_s):
        return float(instance.utility.max(axis=1)[instance.kind].sum())
    grid, found = make_grid(instance, edges_s), levels(instance, steps)
    columns = make_columns(instance, grid, found)
    if len(columns) == 0:
        return 0.0
    return certified_maximum(make_program(instance, grid, columns, len(found)))
