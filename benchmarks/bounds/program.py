"""The linear program behind `upper.upper_bound`; upper.py says why it is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.bounds.instance import Floats, Integers


@dataclass(frozen=True)
class Columns:
    """W ways to answer requests, and the U pieces of work that they consist of.

    Work of a curve is done in the order in which it falls due, whichever way it is of.
    """

    group: Integers  # (W,) of requests, each of which is answered once
    value: Floats  # (W,)
    way: Integers  # (U,)
    curve: Integers  # (U,) pool x curves of a pool + which of them
    arrival: Integers  # (U,) slot from which on it can be done
    due: Integers  # (U,) slot by whose end it is
    share_s: Floats  # (U,) seconds of a GPU

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True)
class Room:
    """What limits the ways.

    Attributes:
        capacity_s: what all GPUs of a pool can do in a slot, shape (P, J).
        curves: of each pool.
        count: requests of each group.
    """

    capacity_s: Floats
    curves: int
    count: Integers


@dataclass(frozen=True)
class Program:
    """Maximise value @ x with at_most @ x <= ceiling, equal @ x == 0 and 0 <= x <= upper."""

    value: Floats
    at_most: Any
    ceiling: Floats
    equal: Any
    upper: Floats


def maximum(columns: Columns, room: Room) -> float:
    """What the ways can earn at most."""
    return certified_maximum(make_program(columns, room)) if len(columns) else 0.0


def make_program(columns: Columns, room: Room) -> Program:
    """Columns first; then for each (curve, slot) the work done, the backlog and the advance.

    Backlog: work that has arrived and is not done. Advance: work that is done and not yet due.
    """
    capacity_s = room.capacity_s
    done_s = np.repeat(capacity_s, room.curves, axis=0)
    total_s = np.repeat(done_s.sum(axis=1), done_s.shape[1])
    count = room.count
    return Program(
        value=np.concatenate([columns.value, np.zeros(3 * done_s.size)]),
        at_most=_ceilings(columns, len(count), capacity_s.shape, room.curves),
        ceiling=np.concatenate([count, capacity_s.ravel()]),
        equal=_balances(columns, *done_s.shape),
        upper=np.concatenate([count[columns.group], done_s.ravel(), total_s, total_s]),
    )


def _ceilings(columns: Columns, groups: int, pools_slots: tuple[int, ...], curves: int) -> Any:
    """Answers per group of requests; then, per (pool, slot), the work of all curves."""
    from scipy import sparse

    pools, slots = pools_slots
    entries = np.ones(len(columns)), (columns.group, np.arange(len(columns)))
    answers = sparse.csr_array(entries, shape=(groups, len(columns)))
    work = sparse.kron(sparse.kron(_eye(pools), np.ones((1, curves))), _eye(slots))
    others = sparse.csr_array((groups, 2 * pools * curves * slots))
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
    shape = curves * slots, len(columns)
    arriving, falling_due = (
        sparse.csr_array(
            (columns.share_s, (columns.curve * slots + slot, columns.way)), shape=shape
        )
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
