"""What the simulator predicts beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.fidelity.closed_loop import predicted_tpot_s
from benchmarks.fidelity.recorded import Assumptions, Run, Seconds, TpotRow, runs, tpot_rows
from benchmarks.fidelity.serving import Requests, Served, serve

STATISTICS: Mapping[str, Callable[[Seconds], float]] = {
    "mean": lambda values: float(np.mean(values)),
    "p50": lambda values: float(np.percentile(values, 50)),
    "p90": lambda values: float(np.percentile(values, 90)),
    "p95": lambda values: float(np.percentile(values, 95)),
    "p99": lambda values: float(np.percentile(values, 99)),
}

MEAN_TARGET, P99_TARGET = 0.05, 0.1
"""How far a mean and a p99 may be off."""


class Compared(NamedTuple):
    """One figure in seconds."""

    where: str
    figure: str
    statistic: str
    measured_s: float
    predicted_s: float

    @property
    def error(self) -> float:
        """By which share the prediction is off."""
        return self.predicted_s / self.measured_s - 1


class RunPair(NamedTuple):
    """A run, and what the simulator makes of its requests."""

    run: Run
    measured: Served
    predicted: Served


@dataclass(frozen=True)
class Variant:
    """One thing that is done otherwise; `queued`: requests arrive when the engine took them."""

    name: str
    assumed: Assumptions
    queued: bool = False


USUAL = Variant("as in the tables above", Assumptions())
VARIANTS = (
    USUAL,
    *(
        Variant(f"host time {1e3 * host_s:g} ms", Assumptions(host_s=host_s))
        for host_s in (0.0, 1e-3, 1.5e-3)
    ),
    Variant("attention of mixed steps a sum", Assumptions(mixed=False)),
    Variant("no block found again after preemption", Assumptions(prefix_caching=False)),
    Variant("arrivals when the engine took the request", Assumptions(), queued=True),
)


def paired(run: Run, variant: Variant = USUAL) -> RunPair:
    """What was measured and what is predicted of every request of a run."""
    arrival_s = run.queued_s - run.queued_s[0] if variant.queued else run.arrival_s
    ahead_s = run.queued_s[0] if variant.queued else 0.0
    requests = Requests(arrival_s, run.prompt_tokens, run.output_tokens)
    predicted = serve(run.setup, variant.assumed, requests)
    ends = run.first_token_s - ahead_s, run.last_token_s - ahead_s
    preemptions = np.zeros_like(run.output_tokens)
    return RunPair(run, Served(arrival_s, *ends, run.output_tokens, preemptions), predicted)


def compared(pair: RunPair) -> list[Compared]:
    """Statistics of TTFT, TPOT and E2E of a run."""
    measured, predicted = pair.measured.figures, pair.predicted.figures
    return [
        Compared(pair.run.name, figure, name, of(measured[figure]), of(predicted[figure]))
        for figure in measured
        for name, of in STATISTICS.items()
    ]


def of_runs() -> list[Compared]:
    """Statistics of every run."""
    return [row for run in runs() for row in compared(paired(run))]


def of_variants() -> Iterator[tuple[str, list[Compared]]]:
    """Statistics of every run in every variant."""
    for variant in VARIANTS:
        yield variant.name, [row for run in runs() for row in compared(paired(run, variant))]


class TpotPair(NamedTuple):
    """A row of a table, and what is predicted with and without what is assumed."""

    row: TpotRow
    predicted_s: float
    bare_s: float

    @property
    def error(self) -> float:
        """By which share the prediction is off."""
        return self.predicted_s / self.row.tpot_s - 1


BARE = Assumptions(host_s=0.0, group_host_s=0.0, composed_prefill_factor=1.0)
"""Operators alone."""


def of_tables() -> list[TpotPair]:
    """Every row of the tables of TPOT."""
    return [
        TpotPair(row, predicted_tpot_s(row, USUAL.assumed), predicted_tpot_s(row, BARE))
        for row in tpot_rows()
    ]


def reached(row: Compared) -> bool:
    """Whether a mean or a p99 is as near as it should be."""
    return abs(row.error) <= (MEAN_TARGET if row.statistic == "mean" else P99_TARGET)
