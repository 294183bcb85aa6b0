"""Calls per minute of many functions, and the requests that they become."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError, require
from traces.processes.arrivals import Times, counts_to_arrivals
from traces.tasks import TASKS, drawn, task_of_function
from traces.trace import Provenance, Trace, lock

MOST_CALLS = 500_000_000
"""Most calls of one trace; more do not fit into memory. A day of MAF 2019 has twice as many."""


@dataclass(frozen=True, eq=False)
class CountTable:
    """Calls of F functions in B consecutive bins.

    Attributes:
        counts: (F, B) int64.
        functions: (F,) names; a hash of it is a function's task.
        triggers: (F,) what starts a function, such as `http` or `timer`; None where unknown.
        first_bin: label of the first bin, such as minute 480 of a day.
        bin_s: length of a bin.
    """

    counts: NDArray[np.int64]
    functions: tuple[str, ...]
    triggers: tuple[str | None, ...]
    provenance: Provenance
    first_bin: int = 1
    bin_s: float = 60.0

    def __post_init__(self) -> None:
        rows = {len(self.counts), len(self.functions), len(self.triggers)}
        require(len(rows) == 1, "functions, triggers", rows, "one of each per row of counts")
        lock(self, "counts")

    @property
    def total(self) -> NDArray[np.int64]:
        """(B,) calls of all functions."""
        total: NDArray[np.int64] = self.counts.sum(axis=0)
        return total

    @property
    def span_s(self) -> float:
        """Length of the observation."""
        return float(self.counts.shape[1] * self.bin_s)

    @cached_property
    def task(self) -> NDArray[np.int16]:
        """(F,) the task of each function."""
        task = np.array([task_of_function(name) for name in self.functions], np.int16)
        # Kept for all who ask again.
        task.flags.writeable = False
        return task

    @property
    def per_task(self) -> NDArray[np.int64]:
        """(tasks, B) calls by task."""
        sums = np.zeros((len(TASKS), self.counts.shape[1]), np.int64)
        np.add.at(sums, self.task, self.counts)
        return sums

    def filter_trigger(
        self, only: Collection[str] = (), without: Collection[str] = ()
    ) -> CountTable:
        """The functions that a trigger of `only` starts, if any is named, and none of `without`.

        Raises:
            TraceError: the table knows no triggers, or no function is left.
        """
        known = {trigger for trigger in self.triggers if trigger is not None}
        require(bool(known), "trigger filter", (*only, *without), "a trace that names triggers")
        wanted = [
            (not only or trigger in only) and trigger not in without for trigger in self.triggers
        ]
        require(any(wanted), "trigger filter", (*only, *without), f"some of {sorted(known)}")
        operation = f"triggers {','.join(only) or 'all'} without {','.join(without) or 'none'}"
        return self.take(np.flatnonzero(wanted), operation)

    def take(self, rows: NDArray[np.int64], operation: str) -> CountTable:
        """A table of the functions with index `rows`, which remembers `operation`."""
        return dataclasses.replace(
            self,
            counts=self.counts[rows],
            functions=tuple(self.functions[i] for i in rows),
            triggers=tuple(self.triggers[i] for i in rows),
            provenance=self.provenance.then(operation),
        )

    def thin(self, keep: float, rng: np.random.Generator) -> CountTable:
        """Keep every call independently with probability `keep`.

        Raises:
            TraceError: `keep` is no probability above 0.
        """
        require(0 < keep <= 1, "keep", keep, "a probability above 0, at most 1")
        counts = rng.binomial(self.counts, keep).astype(np.int64)
        provenance = self.provenance.then(f"thin {keep:g}")
        return dataclasses.replace(self, counts=counts, provenance=provenance)

    def arrivals(self, cv: float | None, rng: np.random.Generator) -> Times:
        """Times of the calls; counts say nothing about what happens within a minute.

        Args:
            cv: coefficient of variation of the gaps, with the expected counts those of the table;
                None: exactly the counts of the table, independent and uniform within a bin.
            rng: source of randomness.

        Raises:
            TraceError: more than MOST_CALLS calls.
        """
        calls = int(self.total.sum())
        require(calls <= MOST_CALLS, "calls", calls, f"up to {MOST_CALLS}; thin or filter first")
        if cv is not None:
            return counts_to_arrivals(self.total, self.bin_s, cv, rng)
        bins = np.repeat(np.arange(len(self.total)), self.total)
        return np.sort((bins + rng.random(len(bins))) * self.bin_s)

    def to_trace(self, cv: float | None, rng: np.random.Generator) -> Trace:
        """Requests whose task is that of the function that was called; without lengths.

        Raises:
            TraceError: there is no call at all.
        """
        if not self.counts.any():
            raise TraceError(f"{self.provenance.source}: got no calls; accepted: at least one")
        arrival_s = self.arrivals(cv, rng)
        # Rounding may put the last arrival of the last bin at its end, where no bin begins.
        bins = np.minimum((arrival_s / self.bin_s).astype(np.int64), self.counts.shape[1] - 1)
        within = "uniform within a bin" if cv is None else f"cv {cv:g}"
        nothing = np.zeros(len(arrival_s), np.int32)
        return Trace(
            arrival_s=arrival_s,
            task=drawn(self.per_task.T.astype(np.float64), rng, bins),
            prompt_tokens=nothing,
            output_tokens=nothing,
            span_s=self.span_s,
            provenance=self.provenance.then(f"counts to arrivals, {within}"),
        )
