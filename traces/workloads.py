"""Workloads: recipes that turn a mean arrival rate into requests.

A recipe is data; building it is deterministic in (recipe, rate, mix, seed). Its trace covers the
whole time span; episodes are windows of one split of it, so that training never sees the
arrivals that evaluation uses.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from traces import catalog, operations
from traces.errors import TraceError, require
from traces.lengths import as_measured, has_lengths, mean_of, missing_lengths
from traces.processes import arrivals, modulated, regimes
from traces.processes.regimes import Regimes
from traces.tasks import Mix
from traces.trace import Provenance, Trace
from traces.typed import check_fields

SPLIT_FRACTIONS = (0.6, 0.2, 0.2)
"""Shares of the time span: train, validation, test, one after the other."""

SPLIT_NAMES = ("train", "validation", "test")


CVS, LENGTHS_S = (1e-3, 1e3), (1e-3, 1e6)
"""What gaps can be drawn with, and how long a minute, a second or a bin of a source may become."""


def check_cv(cv: float) -> None:
    """Raise a TraceError unless gaps can have this coefficient of variation."""
    low, high = CVS
    require(low <= cv <= high, "cv", cv, f"{low:g} to {high:g}")


def check_length(name: str, length_s: float) -> None:
    """Raise a TraceError unless so much time can be given another length."""
    low, high = LENGTHS_S
    require(low <= length_s <= high, name, length_s, f"{low:g} to {high:g} seconds")


class Workload(Protocol):
    """A recipe for requests; must be hashable and have a repr that says what it is."""

    def __hash__(self) -> int: ...

    def trace(self, rate_per_s: float, rng: np.random.Generator) -> Trace:
        """Requests at a mean of `rate_per_s`; no lengths are 0, and tasks count for nothing yet."""
        ...


@dataclass(frozen=True)
class PoissonArrivals:
    """Constant rate, independent arrivals."""

    span_s: float = 1200.0

    def __post_init__(self) -> None:
        check_fields(self)

    def trace(self, rate_per_s: float, rng: np.random.Generator) -> Trace:
        """Requests at a constant rate, without lengths."""
        return of_times(arrivals.poisson(rate_per_s, self.span_s, rng), self.span_s, self)


@dataclass(frozen=True)
class GammaArrivals:
    """Constant rate, Gamma renewal arrivals with coefficient of variation `cv`."""

    cv: float
    span_s: float = 1200.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_cv(self.cv)

    def trace(self, rate_per_s: float, rng: np.random.Generator) -> Trace:
        """Requests at a constant rate, without lengths."""
        return of_times(arrivals.gamma(rate_per_s, self.cv, self.span_s, rng), self.span_s, self)


@dataclass(frozen=True)
class CountsReplay:
    """Per-minute counts of real functions, replayed.

    Of the catalogue's `source` the `functions` busiest are taken that are not timers and whose
    counts vary by at least `min_count_cv` (std / mean over minutes). Their sum is scaled to the
    mean rate; a minute of the trace lasts `minute_s`; within it arrivals follow a Gamma renewal
    process with coefficient of variation `cv`, because the trace says nothing below a minute.
    """

    source: str = "maf2019-500fn"
    functions: int = 4
    min_count_cv: float = 0.5
    cv: float = 4.0
    minute_s: float = 10.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_cv(self.cv)
        check_length("minute_s", self.minute_s)
        require(self.functions >= 1, "functions", self.functions, ">= 1")
        valid = 0 <= self.min_count_cv < np.inf
        require(valid, "min_count_cv", self.min_count_cv, "a finite number >= 0")

    def minute_counts(self) -> NDArray[np.int64]:
        """Per-minute totals of the chosen functions."""
        table = catalog.load_counts(self.source)
        counts = table.counts
        total = counts.sum(axis=1)
        spread = counts.std(axis=1) / np.maximum(counts.mean(axis=1), 1e-12)
        eligible = spread >= self.min_count_cv
        if table.triggers is not None:
            eligible &= np.array([trigger != "timer" for trigger in table.triggers])
        ranked = [i for i in np.argsort(-total, kind="stable") if eligible[i]]
        chosen: NDArray[np.int64] = counts[ranked[: self.functions]].sum(axis=0)
        return chosen

    def trace(self, rate_per_s: float, rng: np.random.Generator) -> Trace:
        """The calls of the chosen functions as requests, without lengths."""
        counts = self.minute_counts()
        accepted = "a lower one, that some function reaches"
        require(bool(counts.any()), "min_count_cv", self.min_count_cv, accepted)
        scaled = counts * (rate_per_s * self.minute_s / counts.mean())
        times = arrivals.counts_to_arrivals(scaled, self.minute_s, self.cv, rng)
        return of_times(times, len(counts) * self.minute_s, self)


@dataclass(frozen=True)
class RegimeSwitching:
    """Poisson arrivals whose rate switches between regimes that last exponential times.

    The regimes are fitted (regimes.fit) to the calls of the catalogue's `source`, counted in bins
    of `bin_s`, and scaled to the mean rate; a minute of the source lasts `minute_s`.
    """

    source: str = "maf2021-998"
    regimes: int = 2
    bin_s: float = 15.0
    minute_s: float = 5.0
    span_s: float = 4800.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_length("bin_s", self.bin_s)
        check_length("minute_s", self.minute_s)

    def fitted(self) -> Regimes:
        """The regimes of the source."""
        return _fitted(self.source, self.bin_s, self.regimes)

    def trace(self, rate_per_s: float, rng: np.random.Generator) -> Trace:
        """Requests whose rate switches between the fitted regimes, without lengths."""
        arrivals.check_rate(rate_per_s, self.span_s)
        found = self.fitted()
        rates = [rate_per_s * rate / found.mean for rate in found.rates]
        bin_s = self.bin_s * self.minute_s / 60.0
        sojourn_s = [bins * bin_s for bins in found.sojourn_bins]
        times = modulated.mmpp(rates, sojourn_s, self.span_s, rng)
        return of_times(times, self.span_s, self)


@lru_cache
def _fitted(source: str, bin_s: float, number: int) -> regimes.Regimes:
    trace = catalog.load(source)
    counts, _ = np.histogram(trace.arrival_s, np.arange(0.0, trace.span_s, bin_s))
    return regimes.fit(counts.astype(np.int64), number)


@dataclass(frozen=True)
class TraceReplay:
    """The arrivals of the catalogue's `source`, thinned or filled up to the mean rate.

    Filled up, a request becomes several, spread over the gap to the next: lulls and bursts stay
    (traces.operations.rescale_rate). A second of the source lasts `second_s`.
    """

    source: str
    second_s: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_length("second_s", self.second_s)

    def trace(self, rate_per_s: float, rng: np.random.Generator) -> Trace:
        """Requests of the source with their own lengths, which their copies share."""
        trace = operations.rescale_time(catalog.load(self.source), self.second_s)
        arrivals.check_rate(rate_per_s, trace.span_s)
        return operations.rescale_rate(trace, rate_per_s, rng)


@dataclass(frozen=True)
class TaskReplay:
    """The arrivals of several sources of the catalogue at once, each those of a task of its own.

    `shares` is how many each has of all requests, relative to the others; lengths are their own.
    As long as the shortest source; a second of them lasts `second_s`.
    """

    sources: tuple[str, ...] = ("azure-conv", "azure-code")
    tasks: tuple[str, ...] = ("chat", "code")
    shares: tuple[float, ...] = (2.0, 1.0)
    second_s: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_length("second_s", self.second_s)
        count, unique = len(self.sources), len(set(self.tasks))
        require(count > 0, "sources", self.sources, "at least one")
        require(len(self.tasks) == unique == count, "tasks", self.tasks, f"{count} that differ")
        valid = all(0 < share < np.inf for share in self.shares)
        accepted = f"{count} finite numbers > 0"
        require(len(self.shares) == count and valid, "shares", self.shares, accepted)

    def trace(self, rate_per_s: float, rng: np.random.Generator) -> Trace:
        """Requests of all sources, in order of their times, which know their tasks."""
        rates = [rate_per_s * share / sum(self.shares) for share in self.shares]
        parts = [
            TraceReplay(source, self.second_s).trace(rate, own)
            for source, rate, own in zip(self.sources, rates, rng.spawn(len(rates)), strict=True)
        ]
        end_s = min(part.span_s for part in parts)
        named = [
            dataclasses.replace(
                part,
                task=np.full(len(part), number, np.int16),
                tasks=self.tasks,
                has_tasks=True,
            )
            for number, part in enumerate(part.slice(0.0, end_s) for part in parts)
        ]
        return operations.merge(*named)


def of_times(arrival_s: NDArray[np.float64], span_s: float, recipe: Workload) -> Trace:
    """Requests of which `recipe` knows nothing but the times: no lengths, no tasks."""
    nothing = np.zeros(len(arrival_s), np.int32)
    task, about = nothing.astype(np.int16), Provenance(repr(recipe))
    return Trace(arrival_s, task, nothing, nothing, span_s, about, has_tasks=False)


@lru_cache(maxsize=8)
def build(
    workload: Workload, rate_per_s: float, mix: Mix, tasks: tuple[str, ...], split: str, seed: int
) -> Trace:
    """The trace of `workload` at `rate_per_s`, or one split of it; `mix` chooses from `tasks`.

    Requests keep the tasks and the lengths that the recipe gives them; those of one that knows no
    lengths are as long as the measured request.

    Raises:
        TraceError: there would be no request, or the recipe names what does not exist.
    """
    return take_split(build_whole(workload, rate_per_s, mix, tasks, seed), split)


@lru_cache(maxsize=1)
def build_whole(
    workload: Workload, rate_per_s: float, mix: Mix, tasks: tuple[str, ...], seed: int
) -> Trace:
    """What `build` takes its splits from, which are usually asked for one after the other."""
    request_rng, task_rng = np.random.default_rng(seed).spawn(2)
    trace = workload.trace(rate_per_s, request_rng)
    if len(trace) == 0:
        raise TraceError(
            f"workload: {workload!r} has no request at {rate_per_s:g}/s; accepted: a higher load"
        )
    trace = trace if has_lengths(trace) else as_measured(trace)
    if not trace.has_tasks:
        task = mix.sample(trace.arrival_s, task_rng)
        trace = dataclasses.replace(trace, task=task, tasks=tasks, has_tasks=True)
    provenance = Provenance(f"{workload!r} at {rate_per_s:.6g}/s, seed {seed}")
    return dataclasses.replace(trace, provenance=provenance)


def with_tasks(trace: Trace, mix: Mix, tasks: tuple[str, ...], seed: int) -> Trace:
    """The trace, with tasks drawn from `mix` over `tasks` if its source does not tell them."""
    if trace.has_tasks:
        return trace
    _, task_rng = np.random.default_rng(seed).spawn(2)
    return dataclasses.replace(
        trace,
        task=mix.sample(trace.arrival_s, task_rng),
        tasks=tasks,
        has_tasks=True,
        provenance=trace.provenance.then(f"tasks from {mix!r}, seed {seed}"),
    )


def take_split(trace: Trace, split: str) -> Trace:
    """One of the splits of `trace`, or all of it."""
    if split == "all":
        return trace
    return trace.split(SPLIT_FRACTIONS)[SPLIT_NAMES.index(split)]


def mean_tokens(workload: Workload | Trace, tasks: tuple[str, ...]) -> NDArray[np.float64]:
    """Mean tokens of prompt and answer by task that a workload says its requests have, (T, 2).

    Raises:
        TraceError: it says nothing of lengths.
    """
    if isinstance(workload, TaskReplay):
        means = np.array([mean_of(catalog.load(source)) for source in workload.sources])
        # A task that never comes is as long as the others are on average.
        usual = (means * task_weights(workload, None, workload.tasks)[:, None]).sum(axis=0)
        known = dict(zip(workload.tasks, means, strict=True))
        return np.array([known.get(task, usual) for task in tasks])
    source = catalog.load(workload.source) if isinstance(workload, TraceReplay) else workload
    has_own = isinstance(source, Trace) and len(source) > 0 and not missing_lengths(source)
    accepted = "`lengths` by task, for a workload whose requests have none of their own"
    require(has_own, "lengths", repr(workload)[:200], accepted)
    assert isinstance(source, Trace)
    return np.array([mean_of(requests_of(source, task)) for task in tasks])


def task_weights(
    workload: Workload | Trace, mix: Mix | None, tasks: tuple[str, ...]
) -> NDArray[np.float64]:
    """How frequent each of `tasks` is among the requests of a workload, shape (T,), with sum 1.

    That is what the workload says, or else a mix that does not change; of one that does, all alike.
    """
    if isinstance(workload, TaskReplay):
        of = dict(zip(workload.tasks, workload.shares, strict=True))
        weights = np.array([of.get(task, 0.0) for task in tasks])
    elif isinstance(workload, Trace) and workload.has_tasks and len(workload) > 0:
        counts = np.bincount(workload.task, minlength=len(workload.tasks))
        of = dict(zip(workload.tasks, counts.astype(float), strict=True))
        weights = np.array([of.get(task, 0.0) for task in tasks])
    else:
        weights = np.array(getattr(mix, "weights", np.ones(len(tasks))), np.float64)
    if weights.sum() == 0.0:
        weights = np.ones(len(tasks))
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def requests_of(trace: Trace, task: str) -> Trace:
    """The requests of a task; all, if the trace does not tell or has none of it."""
    if not trace.has_tasks or task not in trace.tasks:
        return trace
    rows = np.flatnonzero(trace.task == trace.tasks.index(task))
    if len(rows) == 0:
        return trace
    return trace.take(rows, trace.arrival_s[rows], trace.span_s, f"task {task}")
