"""Figures on windows near the peak; they read nothing but rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.drawing import new_figure
from benchmarks.evaluation.metrics import THRESHOLDS
from benchmarks.report.data import Results, ratio
from benchmarks.report.marks import tell_lines
from benchmarks.report.svg import HIGHER, ROUTER_COLORS, put_legend, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = ("-", "--", ":")
LEAST = 0.05
"""Multiples below it are drawn at it."""
TICKS = (LEAST, 0.1, 0.2, 0.5, 1, 2, 5, 10)
LEVELS = np.linspace(0.5, 1.0, 201)
"""Shares of the peak, a quarter of a per cent apart."""
EVERY = 20
"""Of their points, those that have the router's mark."""


def window_ratios(
    results: Results, entries: Sequence[str], base: str, paper: Mapping[float, float]
) -> Figure:
    """Windows near the peak as a multiple of those of `base`, by window length and our choices."""
    figure, axes = new_figure(1, len(THRESHOLDS), (10.5, 3.7), sharey=True)
    for axis, threshold in zip(axes[0], THRESHOLDS, strict=True):
        for number, entry in enumerate(entries):
            look = {
                "color": ROUTER_COLORS[number % len(ROUTER_COLORS)],
                "linestyle": LINES[number // len(ROUTER_COLORS) % len(LINES)],
            }
            values = np.maximum(ratios_by_length(results, entry, base, threshold), LEAST)
            axis.plot(results.windows_s, values, "o", markersize=3.5, label=entry, **look)
        axis.axhline(paper[threshold], color="black", linewidth=1, linestyle="--", label="paper")
        axis.axhline(1.0, color="#999999", linewidth=0.8)
        axis.set(xlabel="window, s", xscale="log", yscale="log")
        axis.set_title(f">= {100 * threshold:.0f} % of peak")
        axis.set_xticks(results.windows_s, [f"{window_s:g}" for window_s in results.windows_s])
        axis.minorticks_off()
        tell_lines(axis, f"windows / those of {base} alone")
        axis.set_ylim(0.9 * LEAST, 10)
        axis.set_yticks(
            TICKS,
            ("<= 0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10"),
        )
    axes[0, 0].set_ylabel(f"windows / those of {base} alone\n({HIGHER})")
    put_legend(figure, axes[0, 0])
    return figure


def window_levels(results: Results, entries: Sequence[str], agents: Sequence[str]) -> Figure:
    """Share of the seconds that earn at least a share of their peak, entry beside entry."""
    figure, axes = new_figure(1, len(entries), (10.5, 3.7), sharey=True)
    for axis, entry in zip(axes[0], entries, strict=True):
        for agent in agents:
            if (entry, agent) in results.cells:
                share = results.cells[entry, agent].seconds_above(LEVELS)
                look = style(results, agent)
                axis.plot(100 * LEVELS, 100 * share, label=agent, markevery=EVERY, **look)
        for threshold in THRESHOLDS:
            axis.axvline(100 * threshold, color="#cccccc", linewidth=0.8, zorder=0)
        axis.set(title=entry, xlabel="utility of the second, % of peak", ylim=(-2, 102))
        tell_lines(axis, "seconds with at least that, %", every=4)
    axes[0, 0].set_ylabel(f"seconds with at least that, %\n({HIGHER})")
    put_legend(figure, axes[0, 0])
    return figure


def ratios_by_length(results: Results, entry: str, base: str, threshold: float) -> list[float]:
    """For every length of windows; NaN where the base has none."""
    ours, theirs = results.cells[entry, str(results.router_of(entry))], results.cells[entry, base]
    lengths_s = results.windows_s
    found = [ratio(ours.windows(threshold, w), theirs.windows(threshold, w)) for w in lengths_s]
    return [float("nan") if value is None else value for value in found]
