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


TPOT_MS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
"""Where the axes of the tables have their marks."""


def draw_runs(path: Path, pairs: Sequence[RunPair]) -> None:
    """Write a picture of every request over its arrival, a row of panels for each run."""
    figure, axes = new_figure(len(pairs), len(FIGURES), (11.0, 3.0 * len(pairs)))
    for row, pair in zip(axes, pairs, strict=True):
        for axis, name in zip(row, FIGURES, strict=True):
            draw_requests(axis, pair, name)
    axes[0, 0].legend(frameon=False, markerscale=1.5)
    figure.savefig(path, dpi=150)


def draw_requests(axis: Axes, pair: RunPair, name: str) -> None:
    """One figure of every request over its arrival."""
    # The prediction is smaller, so that what lies beneath is seen.
    sides = (
        (pair.measured, COLORS[0], 4.0, "measured"),
        (pair.predicted, COLORS[1], 2.0, "predicted"),
    )
    for served, color, size, label in sides:
        values = FIGURES[name] * served.figures[name]
        axis.plot(served.arrival_s, values, "o", mew=0.0, ms=size, color=color, label=label)
    unit = "s" if FIGURES[name] == 1 else "ms"
    title, y = f"{name} on {pair.run.name}", f"{name} ({unit})"
    axis.set(title=title, xlabel="arrival (s)", ylabel=y)
    axis.set_ylim(bottom=0.0)


def draw_tables(path: Path, pairs: Sequence[TpotPair]) -> None:
    """Write a picture of TPOT, predicted over measured, with a band of 10 % around the truth."""
    figure, axes = new_figure(1, 1, (4.5, 4.5))
    axis = axes[0, 0]
    axis.plot(TPOT_MS, TPOT_MS, color="black", lw=0.5)
    band = [[factor * ms for ms in TPOT_MS] for factor in (0.9, 1.1)]
    axis.fill_between(TPOT_MS, *band, color="0.9", lw=0.0, label="within 10 %")
    for (source, group), color in zip(groupby(pairs, lambda p: p.row.source), COLORS, strict=False):
        own = list(group)
        measured = [1e3 * pair.row.tpot_s for pair in own]
        predicted = [1e3 * pair.predicted_s for pair in own]
        axis.plot(measured, predicted, ".", color=color, label=source)
    axis.set(xscale="log", yscale="log")
    for side in (axis.xaxis, axis.yaxis):
        side.set_ticks(TPOT_MS, [f"{ms:g}" for ms in TPOT_MS])
    axis.minorticks_off()
    axis.set(xlabel="TPOT measured (ms)", ylabel="TPOT predicted (ms)", aspect="equal")
    axis.legend(frameon=False)
    figure.savefig(path, dpi=150)
