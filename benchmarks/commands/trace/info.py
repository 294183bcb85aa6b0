"""What `llmroute trace info`, `convert`, `make` and `plot` take and do."""

from __future__ import annotations

import dataclasses
import json as json_format
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmarks.commands.trace.make import Make
from benchmarks.commands.trace.sources import Sources, name_of, open_sources
from traces import lengths, operations, statistics, storage
from traces.counts import CountTable
from traces.errors import require
from traces.trace import Trace

if TYPE_CHECKING:
    from traces.readers import Reading

Policy = Literal["clamp", "reject", "keep"]

UNIFORM_SEED = 0
"""Of the times within minutes from which the cv of calls per minute is estimated."""


@dataclass(frozen=True)
class Info:
    """Say what a trace holds, what became of its rows, and how bursty it is."""

    sources: Sources
    """File of any known format, name of a bundled trace, or several days of MAF 2019."""
    json: bool = False
    """Print one JSON object as the last line."""
    strict: bool = False
    """Fail on the first row that would be dropped, with file and line."""

    def run(self) -> None:
        """Do it."""
        reading = open_sources(self.sources, self.strict, merge=True)
        report, figures = reading.report, figures_of(reading)
        if self.json:
            print(json_format.dumps(row_of(reading, figures), allow_nan=False))
            return
        print(f"{report.source}: {report.format}, sha256 {report.sha256}")
        print(f"rows      {report.rows_read:,} read, {report.rows_kept:,} kept")
        for reason, times in report.rows_dropped.items():
            print(f"          {times:,} dropped: {reason}")
        for what, times in report.notes.items():
            print(f"          {times:,} {what}")
        print(f"requests  {figures.requests:,} in {figures.span_s:,.1f} s")
        peak = shown(figures.peak_to_mean)
        print(f"rate      {figures.mean_rate_per_s:,.4g}/s, peak to mean {peak}")
        estimated = isinstance(reading.content, CountTable)
        print(f"gaps      cv {shown(figures.cv)}{' (uniform within minutes)' * estimated}")
        print(f"history   {operations.describe(reading.content.provenance)}")


def figures_of(reading: Reading) -> statistics.Statistics:
    """Statistics of a trace or of counts."""
    if isinstance(reading.content, CountTable):
        return statistics.of_counts(reading.content, np.random.default_rng(UNIFORM_SEED))
    return statistics.of_trace(reading.content)


def row_of(reading: Reading, figures: statistics.Statistics) -> dict[str, Any]:
    """What `--json` prints."""
    report, provenance = reading.report, reading.content.provenance
    return {
        "format": report.format,
        "source": report.source,
        "rows_read": report.rows_read,
        "rows_kept": report.rows_kept,
        "rows_dropped": report.rows_dropped,
        "notes": report.notes,
        **dataclasses.asdict(figures),
        "sha256": report.sha256,
        "operations": provenance.operations,
    }


def shown(figure: float | None) -> str:
    """A figure for people."""
    return "unknown: too short" if figure is None else f"{figure:.4g}"


@dataclass(frozen=True)
class Convert:
    """Read any trace, change it as asked, and write npz (exact) or plain CSV."""

    sources: Sources
    """File of any known format, name of a bundled trace, or several days of MAF 2019."""
    out: Path
    """File to write, .npz or .csv."""
    strict: bool = False
    """Fail on the first row that would be dropped, with file and line."""
    only_trigger: tuple[str, ...] = ()
    """Of MAF 2019: only functions with one of these triggers."""
    without_trigger: tuple[str, ...] = ()
    """Of MAF 2019: no functions with one of these triggers, such as timer."""
    cv: float | None = None
    """Of calls per minute: cv of the gaps; exact counts, uniform within minutes, if left out."""
    start: float = 0.0
    """Cut to the requests from here on, seconds."""
    end: float | None = None
    """Cut to the requests before this, seconds."""
    rate: float | None = None
    """Thin or multiply the requests to this many per second."""
    stretch: float = 1.0
    """Make time longer by this factor."""
    fold: float | None = None
    """Take time modulo this many seconds."""
    sample_lengths: bool = False
    """Draw lengths from the bundled conversations; traces without lengths always get them."""
    context: int = 2048
    """Tokens that prompt and output may have together."""
    beyond: Policy = "keep"
    """Requests beyond the context: clamp the prompt, reject, or keep them."""
    seed: int = 0
    """Of everything random."""

    def run(self) -> None:
        """Do it."""
        rng = np.random.default_rng(self.seed)
        trace = self._changed(self._requests(rng), rng)
        fitted = lengths.fit_context(
            with_lengths(trace, self.sample_lengths, rng), self.context, self.beyond
        )
        storage.save(fitted.trace, self.out)
        count = f"{len(fitted.trace):,} requests, {fitted.beyond:,} beyond {self.context} tokens"
        print(f"{self.out}: {count} ({self.beyond})")

    def _requests(self, rng: np.random.Generator) -> Trace:
        content = open_sources(self.sources, self.strict, merge=True).content
        filters = (*self.only_trigger, *self.without_trigger)
        if isinstance(content, Trace):
            require(not filters, "trigger filter", filters, "a trace of MAF 2019")
            return content
        if filters:
            content = content.filter_trigger(self.only_trigger, self.without_trigger)
        calls_per_s = float(content.total.sum() / content.span_s)
        if self.rate is not None and 0 < self.rate < calls_per_s:
            # A whole day has more calls than memory, and most would be dropped afterwards.
            content = content.thin(self.rate / calls_per_s, rng)
        return content.to_trace(self.cv, rng)

    def _changed(self, trace: Trace, rng: np.random.Generator) -> Trace:
        if self.start > 0 or self.end is not None:
            trace = trace.slice(self.start, trace.span_s if self.end is None else self.end)
        if self.rate is not None:
            trace = operations.rescale_rate(trace, self.rate, rng)
        if self.stretch != 1:
            trace = operations.rescale_time(trace, self.stretch)
        return trace if self.fold is None else operations.fold(trace, self.fold)


def with_lengths(trace: Trace, always: bool, rng: np.random.Generator) -> Trace:
    """The trace, with lengths drawn for it if it has none, or in any case."""
    missing = always or not lengths.has_lengths(trace)
    return lengths.sample_lengths(trace, rng) if missing else trace


@dataclass(frozen=True)
class Plot:
    """Draw arrivals per second, gaps, and the index of dispersion over window lengths."""

    sources: Sources
    """File of any known format, name of a bundled trace, or several days of MAF 2019."""
    out: Path = Path("trace.png")
    """Picture to write: png, svg or pdf."""
    cv: float | None = None
    """Of calls per minute: cv of the gaps; exact counts, uniform within minutes, if left out."""

    def run(self) -> None:
        """Do it."""
        from benchmarks.commands.trace.figures import save_trace_figure

        reading = open_sources(self.sources, merge=True)
        save_trace_figure(self.out, reading.trace(self.cv), ", ".join(map(name_of, self.sources)))
        print(f"{self.out}: written")


TRACE_COMMANDS: dict[str, type] = {
    "info": Info,
    "convert": Convert,
    "make": Make,
    "plot": Plot,
}
