"""Figures as the texts that a report's tables hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.evaluation.intervals import Interval
from benchmarks.evaluation.rows import Row
from benchmarks.report.data import AVAILABLE, Results
from benchmarks.report.guards import verdict
from benchmarks.tables import percent


def load_text(
    results: Results, agent: str, available: float = AVAILABLE, tag: str = "availability"
) -> str:
    """The highest available load on entries of constant rate; `>=` if it is the highest tried."""
    load = results.highest_available(tag, agent, available)
    loads, _ = results.curve(tag, agent, "deadline_met")
    return f">= {load:.2f}" if load is not None and load == loads[-1] else number(load, 2)


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def times(value: float | None) -> str:
    """A multiple with its unit, or a dash."""
    return "-" if value is None else f"{value:.2f} x"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def closed_text(gained: float, gap: float) -> str:
    """A gain as a share of the distance to the bound; of a loss no share says anything."""
    if gap <= 0.0:
        return "-"
    return percent(gained / gap) if gained >= 0.0 else "below the heuristic"


OF_INTERVALS = (
    "Intervals of 95 % (studentised bootstrap): what other arrivals of this kind and, where there "
    "are several training seeds, other trainings would come to."
)
"""What a report's intervals are of; said once per table."""


def interval_text(value: Interval, digits: int = 3) -> str:
    """Mean and 95 % interval as text."""
    return value.text(digits)


def computed_with(rows: Sequence[Row]) -> str:
    """The code and the libraries that computed rows, in a sentence."""
    return f"Computed with {' and '.join(sorted({code_and_libraries(row) for row in rows}))}."


def code_and_libraries(row: Row) -> str:
    """What a row was computed with; outside of git no commit is known."""
    code = f"commit {row['commit']}" if row["commit"] else "code of no known commit"
    return f"{code}; {', '.join(f'{name} {version}' for name, version in row['versions'].items())}"


def label(results: Results, entry: str, agent: str) -> str:
    """A router's name, with its number of training seeds, and whether it only is its guard."""
    cell = results.cells[entry, agent]
    if not cell.first["learned"]:
        return agent
    seeds, guard = len(cell.seeds), verdict(cell)
    counted = f"{seeds} seed{'s' if seeds > 1 else ''}"
    return f"{agent} ({', '.join([counted, guard] if guard else [counted])})"
