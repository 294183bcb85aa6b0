"""Predicted beside measured, drawn: every request of the runs, and every row of the tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.drawing import COLORS, new_figure
from benchmarks.fidelity.comparison import RunPair, TpotPair

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURES = {"TTFT": 1.0, "TPOT": 1e3, "E2E": 1.0}
"""What is shown of a request, and in which part of a second."""


def draw_runs(path: Path, pairs: Sequence[RunPair]) -> None:
    """Write a picture of every request over its arrival, a row of panels for each run."""
    figure, axes = new_figure(len(pairs), len(FIGURES), (11.0, 3.0 * len(pairs)))
    for row, pair in zip(axes, pairs, strict=True):
        for axis, name in zip(row, FIGURES, strict=True):
            draw_requests(axis, pair, name)
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=150)


def draw_requests(axis: Axes, pair: RunPair, name: str) -> None:
    """One figure of every request over its arrival."""
    sides = (pair.measured, COLORS[0], "measured"), (pair.predicted, COLORS[1], "predicted")
    for served, color, label in sides:
        values = FIGURES[name] * served.figures[name]
        axis.plot(served.arrival_s, values, ".", ms=3, color=color, label=label)
    unit = "s" if FIGURES[name] == 1 else "ms"
    axis.set(title=pair.run.name, xlabel="arrival (s)", ylabel=f"{name} ({unit})")


def draw_tables(path: Path, pairs: Sequence[TpotPair]) -> None:
    """Write a picture of TPOT, predicted over measured."""
    figure, axes = new_figure(1, 1, (4.5, 4.0))
    axis = axes[0, 0]
    for (source, group), color in zip(groupby(pairs, lambda p: p.row.source), COLORS, strict=False):
        own = list(group)
        measured = [1e3 * pair.row.tpot_s for pair in own]
        predicted = [1e3 * pair.predicted_s for pair in own]
        axis.loglog(measured, predicted, ".", color=color, label=source)
    ends = [1e3 * of(pair.row.tpot_s for pair in pairs) for of in (min, max)]
    axis.plot(ends, ends, color="black", lw=0.5)
    axis.set(xlabel="TPOT measured (ms)", ylabel="TPOT predicted (ms)")
    axis.legend(frameon=False)
    figure.savefig(path, dpi=150)
