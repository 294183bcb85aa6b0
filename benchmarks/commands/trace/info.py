"""What `llmroute trace info` and `plot` take and do."""

from __future__ import annotations

import dataclasses
import json as json_format
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.commands.options import Said
from benchmarks.commands.trace.sources import Sources, name_of, open_sources, warn_of
from traces import lengths, operations, statistics
from traces.counts import CountTable

if TYPE_CHECKING:
    from traces.readers.read import Reading

UNIFORM_SEED = 0
"""Of the times within minutes from which the cv of calls per minute is estimated."""


@dataclass(frozen=True)
class Info:
    """Say what a trace holds, what became of its rows, and how bursty it is."""

    sources: Sources
    """File of any known format, name of a bundled trace, or several days of MAF 2019."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""
    strict: Said[bool] = False
    """Fail on the first row that would be dropped, with file and line."""

    def run(self) -> None:
        """Read the trace and print what it holds."""
        reading = open_sources(self.sources, self.strict, merge=True)
        report, figures = reading.report, figures_of(reading)
        if self.json:
            print(json_format.dumps(row_of(reading, figures), allow_nan=False))
            return
        print(f"{report.source}: {report.format}, sha256 {report.sha256}")
        for column, role in report.columns.items():
            print(f"column    {column}: {role}")
        print(f"rows      {report.rows_read:,} read, {report.rows_kept:,} kept")
        for reason, times in report.rows_dropped.items():
            first = report.first_dropped.get(reason, "")
            print(f"          {times:,} dropped: {reason} ({first})")
        for what, times in report.notes.items():
            print(f"          {times:,} {what}")
        print(f"requests  {figures.requests:,} in {figures.span_s:,.1f} s")
        peak = shown(figures.peak_to_mean)
        print(f"rate      {figures.mean_rate_per_s:,.4g}/s, peak to mean {peak}")
        estimated = isinstance(reading.content, CountTable)
        print(f"gaps      cv {shown(figures.cv)}{' (uniform within minutes)' * estimated}")
        for name, length in lengths_of(reading).items():
            print(f"lengths   {name}: {length_shown(length)}")
        for text in report.warnings:
            print(f"warning   {text}")
        print(f"history   {operations.describe(reading.content.provenance)}")


def figures_of(reading: Reading) -> statistics.Statistics:
    """Statistics of a trace or of counts."""
    if isinstance(reading.content, CountTable):
        return statistics.of_counts(reading.content, np.random.default_rng(UNIFORM_SEED))
    return statistics.of_trace(reading.content)


def row_of(reading: Reading, figures: statistics.Statistics) -> dict[str, Any]:
    """The reading and its figures as the JSON object that `--json` prints."""
    report, provenance = reading.report, reading.content.provenance
    return {
        "format": report.format,
        "source": report.source,
        "rows_read": report.rows_read,
        "rows_kept": report.rows_kept,
        "rows_dropped": report.rows_dropped,
        "first_dropped": report.first_dropped,
        "notes": report.notes,
        "warnings": report.warnings,
        "columns": report.columns,
        "lengths": lengths_of(reading),
        **dataclasses.asdict(figures),
        "sha256": report.sha256,
        "operations": provenance.operations,
    }


def lengths_of(reading: Reading) -> dict[str, dict[str, float] | None]:
    """Mean and largest of each length, None where the trace has none."""
    trace = reading.content
    if isinstance(trace, CountTable):
        return dict.fromkeys(lengths.LENGTHS)
    missing = lengths.missing_lengths(trace)
    tokens = {name: getattr(trace, name) for name in lengths.LENGTHS}
    return {
        name: None if name in missing else {"mean": float(all_.mean()), "most": int(all_.max())}
        for name, all_ in tokens.items()
    }


def length_shown(length: dict[str, float] | None) -> str:
    """Mean and largest of a length as text, or that there is none."""
    return "none" if length is None else "mean {mean:,.5g}, at most {most:,}".format(**length)


def shown(figure: float | None) -> str:
    """A figure as text, or that the trace is too short for it."""
    return "unknown: too short" if figure is None else f"{figure:.4g}"


@dataclass(frozen=True)
class Plot:
    """Draw arrivals per second, gaps, and the index of dispersion over window lengths."""

    sources: Sources
    """File of any known format, name of a bundled trace, or several days of MAF 2019."""
    out: Path = Path("trace.png")
    """Picture to write: png, svg or pdf."""
    cv: Said[float | None] = None
    """Of calls per minute: cv of the gaps; exact counts, uniform within minutes, if left out."""

    def run(self) -> None:
        """Read the trace and draw it."""
        from benchmarks.commands.trace.figures import save_trace_figure

        reading = open_sources(self.sources, merge=True)
        warn_of(reading.report)
        save_trace_figure(self.out, reading.trace(self.cv), ", ".join(map(name_of, self.sources)))
        print(f"{self.out}: written")
