"""Workloads: recipes that turn a mean arrival rate into a tape of requests.

A recipe is data; building it is deterministic in (recipe, rate, mix, seed). The tape covers the
whole time span; episodes are windows of one split of it, so that training never sees the
arrivals that evaluation uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from traces import catalog, operations
from traces.errors import TraceError
from traces.processes import arrivals, modulated, regimes
from traces.processes.regimes import Regimes
from traces.tasks import Mix
from traces.trace import Provenance, Trace

SPLIT_FRACTIONS = (0.6, 0.2, 0.2)
"""Shares of the time span: train, validation, test, one after the other."""

SPLIT_NAMES = ("train", "validation", "test")


class Workload(Protocol):
    """A recipe for arrivals; must be hashable and have a repr that says what it is."""

    def __hash__(self) -> int: ...

    def arrival_s(
        self, rate_per_s: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], float]:
        """Sorted arrival times at a mean of `rate_per_s`, and the length of the span, seconds."""
        ...


@dataclass(frozen=True)
class PoissonArrivals:
    """Constant rate, independent arrivals."""

    span_s: float = 1200.0

    def arrival_s(
        self, rate_per_s: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], float]:
        """See Workload."""
        return arrivals.poisson(rate_per_s, self.span_s, rng), self.span_s


@dataclass(frozen=True)
class GammaArrivals:
    """Constant rate, Gamma renewal arrivals with coefficient of variation `cv`."""

    cv: float
    span_s: float = 1200.0

    def arrival_s(
        self, rate_per_s: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], float]:
        """See Workload."""
        return arrivals.gamma(rate_per_s, self.cv, self.span_s, rng), self.span_s


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

    def arrival_s(
        self, rate_per_s: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], float]:
        """See Workload."""
        counts = self.minute_counts()
        scaled = counts * (rate_per_s * self.minute_s / counts.mean())
        times = arrivals.counts_to_arrivals(scaled, self.minute_s, self.cv, rng)
        return times, len(counts) * self.minute_s


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

    def fitted(self) -> Regimes:
        """The regimes of the source."""
        return _fitted(self.source, self.bin_s, self.regimes)

    def arrival_s(
        self, rate_per_s: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], float]:
        """See Workload."""
        found = self.fitted()
        rates = [rate_per_s * rate / found.mean for rate in found.rates]
        bin_s = self.bin_s * self.minute_s / 60.0
        sojourn_s = [bins * bin_s for bins in found.sojourn_bins]
        return modulated.mmpp(rates, sojourn_s, self.span_s, rng), self.span_s


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

    def arrival_s(
        self, rate_per_s: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], float]:
        """See Workload."""
        trace = operations.rescale_time(catalog.load(self.source), self.second_s)
        scaled = operations.rescale_rate(trace, rate_per_s, rng)
        return scaled.arrival_s, scaled.span_s


@lru_cache(maxsize=8)
def build(
    workload: Workload, rate_per_s: float, mix: Mix, tasks: tuple[str, ...], split: str, seed: int
) -> Trace:
    """The trace of `workload` at `rate_per_s`, or one split of it; `mix` chooses from `tasks`.

    Raises:
        TraceError: there would be no request, or the recipe names what does not exist.
    """
    arrival_rng, task_rng = np.random.default_rng(seed).spawn(2)
    arrival_s, span_s = workload.arrival_s(rate_per_s, arrival_rng)
    if len(arrival_s) == 0:
        raise TraceError(
            f"workload: {workload!r} has no request at {rate_per_s:g}/s; accepted: a higher load"
        )
    made_by = f"{workload!r} at {rate_per_s:.6g}/s, seed {seed}"
    trace = Trace(
        arrival_s=arrival_s,
        task=mix.sample(arrival_s, task_rng),
        prompt_tokens=np.full(len(arrival_s), 128, np.int32),
        output_tokens=np.full(len(arrival_s), 8, np.int32),
        span_s=span_s,
        provenance=Provenance(source=made_by, sha256="", operations=()),
        tasks=tasks,
    )
    return take_split(trace, split)


def take_split(trace: Trace, split: str) -> Trace:
    """One of the splits of `trace`, or all of it."""
    if split == "all":
        return trace
    return trace.split(SPLIT_FRACTIONS)[SPLIT_NAMES.index(split)]
