"""How much of the distance to the bound may be the bound's own: a chapter of the report."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.report.page import Section, Table
from benchmarks.report.svg import picture
from benchmarks.report.text import number
from benchmarks.report_paper_figures import looseness
from benchmarks.suites.measure_looseness import LOOSENESS


def sections(directory: Path) -> list[Section]:
    """The chapter, if the suite measured it."""
    path = directory / LOOSENESS
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = found["rows"]
    caption = (
        f"Upper bound over the exact optimum, {found['instances']} small instances per load: 1 is "
        "tight. Free schedule: the optimum if requests could also be held back, which no router "
        "can; of the first five requests."
    )
    names = ("bound", "worst_bound", "free_bound")
    table = Table(
        "Looseness of the bound where the optimum is known",
        ("load", "optimum, of peak", "bound / optimum", "worst", "bound / free schedule"),
        tuple(
            (f"{r['load']:g}", number(r["optimum"]), *(number(r[name], 4) for name in names))
            for r in rows
        ),
        "One GPU, nine requests, batches of at most 2 to 4: larger ones are beyond exact search. "
        "A regret no larger than this may be none at all.",
    )
    drawn = picture("looseness", caption, looseness(rows))
    return [Section("Looseness of the bound", (drawn, table))]
