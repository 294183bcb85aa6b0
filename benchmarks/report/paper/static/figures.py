"""Figures on the paper's setting: windows near the peak as a map, and utility per GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.drawing import new_figure
from benchmarks.evaluation.intervals import Floats
from benchmarks.evaluation.metrics import THRESHOLDS
from benchmarks.report.data import Results
from benchmarks.report.look import ON_DARK, ON_LIGHT
from benchmarks.report.marks import tell_lines
from benchmarks.report.page import Part
from benchmarks.report.paper.static.gpus import PAPER_PER_GPU, Match, matches
from benchmarks.report.paper.static.grid import (
    PAPER_WINDOWS,
    SETTINGS,
    SHEDDING,
    STATIC,
    Case,
    Multiples,
    Spot,
    cases,
    chosen,
    reached,
    spots,
)
from benchmarks.report.svg import HIGHER, ROUTER_COLORS, picture, put_legend
from benchmarks.suites.entries.static import LOADS, WORKLOADS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 8.0
"""Multiples beyond it, or below its inverse, have the same colour."""
COLORS, UNKNOWN, REACHED = "RdBu", "#e8e8e8", "#e69f00"
FEWEST = 4
"""Rows beside which the name of their group has room."""
TICKS = (0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100)
DARK = 3.0
"""From this multiple on, or its inverse, numbers are white to be legible."""


def windows(results: Results) -> list[Part]:
    """The map, for one learned router."""
    who = chosen(results)
    found = {**cases(results, STATIC, who), **cases(results, SHEDDING, who)}
    if not found:
        return []
    caption = (
        f"Windows near the peak under {who}, as a multiple of those of OPT-6.7B alone: blue more, "
        "which is better, red fewer. Framed: at least the paper's multiple, which the titles give. "
        "Rows: load and length of the episodes. Grey: OPT-6.7B alone has none, or no rows."
    )
    rows = [s for setting in (STATIC, SHEDDING) for s in spots(results, setting)]
    rows = [spot for spot in rows if any(case.spot == spot for case in found)]
    return [picture("static-windows", caption, window_map(found, rows, results.windows_s))]


def window_map(
    found: Mapping[Case, Multiples], rows: Sequence[Spot], lengths_s: Sequence[float]
) -> Figure:
    """A panel per threshold, a row per spot, a column per length of windows."""
    size = (10.5, 1.3 + 0.235 * len(rows))
    figure, axes = new_figure(1, len(THRESHOLDS), size, sharey=True)
    for i, axis in enumerate(axes[0]):
        of_threshold(axis, found, rows, lengths_s, i)
    label_rows(axes[0, 0], rows)
    return figure


def of_threshold(
    axis: Axes,
    found: Mapping[Case, Multiples],
    rows: Sequence[Spot],
    lengths_s: Sequence[float],
    threshold: int,
) -> None:
    """Draw the panel of one threshold: a cell per spot and length of windows."""
    from matplotlib.colors import LogNorm

    grid = [[found.get(Case(spot, w)) for w in lengths_s] for spot in rows]
    values = np.array([[number_of(m, threshold) for m in row] for row in grid], np.float64)
    colors: dict[str, Any] = {"cmap": COLORS, "norm": LogNorm(1 / MOST, MOST, clip=True)}
    axis.set_facecolor(UNKNOWN)
    # Nothing at all is as red as can be, not unknown.
    shown = np.where(values == 0.0, 1 / MOST, values)
    axis.imshow(np.ma.masked_invalid(shown), aspect="auto", **colors)
    for (y, x), value in np.ndenumerate(values):
        write(axis, x, y, float(value))
        multiples = grid[y][x]
        if multiples is not None and reached(multiples)[threshold]:
            outline(axis, x, y)
    axis.set_xticks(np.arange(len(lengths_s)), [f"{w:g}" for w in lengths_s])
    axis.tick_params(length=0)
    percent = 100 * THRESHOLDS[threshold]
    axis.set_title(f">= {percent:.0f} %; the paper: {PAPER_WINDOWS[threshold]:g}")
    axis.set_xlabel("length of windows, s")


def number_of(multiples: Multiples | None, threshold: int) -> float:
    """The multiple at a threshold, NaN where there is none."""
    value = multiples[threshold] if multiples else None
    return float("nan") if value is None else value


def write(axis: Axes, x: int, y: int, value: float) -> None:
    """The number of a cell."""
    if np.isnan(value):
        axis.text(x, y, "-", ha="center", va="center", fontsize="small")
        return
    dark = value >= DARK or value <= 1 / DARK
    text = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 1.995 else f"{value:.2f}"
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": "small"}
    axis.text(x, y, text, color=ON_DARK if dark else ON_LIGHT, **style)


def outline(axis: Axes, x: int, y: int) -> None:
    """A frame around a cell."""
    from matplotlib.patches import Rectangle

    axis.add_patch(
        Rectangle((x - 0.46, y - 0.43), 0.92, 0.86, fill=False, edgecolor=REACHED, linewidth=2.2)
    )


def label_rows(axis: Axes, rows: Sequence[Spot]) -> None:
    """Load and length of each row, setting and workload of each group, and lines between them."""
    sizes = Counter((spot.setting.name, spot.workload) for spot in rows)
    beside = min(sizes.values()) >= FEWEST
    names = [f"{spot.load:g}, {spot.length_s:g} s" for spot in rows]
    if not beside:
        names = [f"{s.setting.name}, {s.workload}, {n}" for s, n in zip(rows, names, strict=True)]
    axis.set_yticks(np.arange(len(rows)), names, fontsize="small")
    start = 0
    for group, size in sizes.items():
        if beside:
            label_group(axis, "\n".join(group), start + (size - 1) / 2)
        start += size
        for panel in axis.figure.axes if start < len(rows) else ():
            panel.axhline(start - 0.5, color="black", linewidth=1.2)


def label_group(axis: Axes, name: str, middle: float) -> None:
    """Text along a group's rows."""
    style: dict[str, Any] = {"rotation": 90, "va": "center", "ha": "center", "fontsize": "small"}
    style |= {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axis.annotate(name, (0.0, middle), (-58, 0), **style)


def gpus(results: Results) -> list[Part]:
    """Utility per GPU against the load, for the same router."""
    found = [pair for s in SETTINGS for pair in matches(results, s, chosen(results))]
    if not found:
        return []
    caption = (
        f"Utility per GPU of four GPUs with {chosen(results)}, as a multiple of that of OPT-6.7B "
        "alone on eight at the same arrivals; dashed: the paper's."
    )
    return [picture("static-gpus", caption, per_gpu(found))]


def per_gpu(found: Sequence[Match]) -> Figure:
    """A panel per workload, a line per setting."""
    workloads = [name for name in WORKLOADS if any(m.spot.workload == name for m in found)]
    figure, axes = new_figure(1, len(workloads), (10.5, 3.4), sharey=True)
    for axis, workload in zip(axes[0], workloads, strict=True):
        for setting, color in zip(SETTINGS, ROUTER_COLORS, strict=False):
            loads, values = line_of(found, workload, setting.name)
            if len(loads) == 0:
                continue
            axis.plot(loads, values, "o-", markersize=4, color=color, label=setting.name)
        axis.axhline(PAPER_PER_GPU, color="black", linewidth=1, linestyle="--", label="the paper")
        axis.set(title=workload, xlabel="load of 4 GPUs", yscale="log")
        axis.set_xticks(LOADS, [f"{load:g}" for load in LOADS])
        axis.minorticks_off()
        tell_lines(axis, "utility per GPU / OPT-6.7B's on 8")
    shown = [PAPER_PER_GPU, *(m.per_gpu for m in found if m.per_gpu is not None)]
    low, high = min(shown), max(shown)
    axes[0, 0].set_ylim(min(1.0, 0.9 * low), 1.15 * high)
    ticks = [tick for tick in TICKS if min(1.0, low) <= tick <= high]
    axes[0, 0].set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[0, 0].set_ylabel(f"utility per GPU / OPT-6.7B's on 8\n({HIGHER})")
    put_legend(figure, axes[0, 0])
    return figure


def line_of(found: Sequence[Match], workload: str, setting: str) -> tuple[Floats, Floats]:
    """Loads and multiples of one line."""
    points = [
        (m.spot.load, m.per_gpu)
        for m in found
        if (m.spot.workload, m.spot.setting.name) == (workload, setting)
    ]
    loads, values = np.array(points, np.float64).reshape(-1, 2).T
    return loads, values
