"""How much of the distance to the bound may be the bound's own: a chapter of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.drawing import new_figure
from benchmarks.evaluation.row_files import LOOSENESS
from benchmarks.report.marks import tell_lines
from benchmarks.report.page import Section, Table
from benchmarks.report.svg import MARKERS, ROUTER_COLORS, picture, put_legend
from benchmarks.report.text import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    drawn = picture("looseness", caption, looseness_figure(rows))
    return [Section("Looseness of the bound", (drawn, table))]


def looseness_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """The bound over exact optima of small instances, against their load."""
    figure, axes = new_figure(1, 1, (10.5, 3.2))
    loads = [row["load"] for row in rows]
    lines = (("worst_bound", "worst instance"), ("bound", "mean"), ("free_bound", "free schedule"))
    for (name, label), color, marker in zip(lines, ROUTER_COLORS, MARKERS, strict=False):
        look: dict[str, Any] = {"color": color, "marker": marker, "label": label}
        axes[0, 0].plot(loads, [row[name] for row in rows], **look)
    axes[0, 0].axhline(1.0, color="#999999", linewidth=0.8)
    ylabel = "bound / optimum\n(1 is tight)"
    axes[0, 0].set(xscale="log", xlabel="arrival rate / load 1", ylabel=ylabel)
    axes[0, 0].set_xticks(loads, [f"{load:g}" for load in loads])
    axes[0, 0].minorticks_off()
    tell_lines(axes[0, 0], "bound / optimum")
    put_legend(figure, axes[0, 0])
    return figure
