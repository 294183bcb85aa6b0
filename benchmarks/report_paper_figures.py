"""Figures on what the paper claims and on what learning gains; they read nothing but rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.evaluation.metrics import THRESHOLDS
from benchmarks.evaluation.stats import Interval
from benchmarks.report.data import Results, ratio
from benchmarks.report.svg import ROUTER_COLORS, new_figure, put_legend, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = ("-", "--", ":")
LEAST = 0.05
"""Multiples below it are drawn at it."""
TICKS = (LEAST, 0.1, 0.2, 0.5, 1, 2, 5, 10)
LEVELS = np.linspace(0.5, 1.0, 201)
"""Shares of the peak, a quarter of a per cent apart."""


def gains(results: Results, found: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Per entry and learned router, the gain over the best tuned heuristic with its interval."""
    entries = list(dict.fromkeys(entry for by_entry in found.values() for entry in by_entry))
    height = 1.3 + 0.11 * len(entries) * (len(found) + 1.2)
    figure, axes = new_figure(1, 1, (10.5, height))
    axis = axes[0, 0]
    values = [value for by_entry in found.values() for value in by_entry.values()]
    right = 1.1 * max(*(value.ci_high for value in values), 0.004)
    lows = [value.ci_low for value in values]
    # A few routers far below must not squeeze what the others differ by, nor all be out of sight.
    left = max(1.1 * min(*lows, -0.002), min(-right, 1.1 * float(np.median(lows))))
    offsets = (np.arange(len(found)) - (len(found) - 1) / 2) * 0.8 / max(len(found), 2)
    for offset, (agent, by_entry) in zip(offsets, found.items(), strict=True):
        color = style(results, agent)["color"]
        axis.plot([], [], "o", color=color, markersize=4, label=agent)
        for entry, value in by_entry.items():
            place = entries.index(entry) + offset
            mark = "o" if value.mean >= left else "<"
            axis.plot(max(value.mean, left), place, mark, color=color, markersize=4, clip_on=False)
            axis.plot((value.ci_low, value.ci_high), (place, place), color=color, linewidth=1.5)
    axis.axvline(0.0, color="#555555", linewidth=0.8)
    axis.set_xlim(left, right)
    axis.xaxis.set_major_formatter("{x:+g}")
    axis.invert_yaxis()
    axis.grid(axis="y", color="#eeeeee")
    axis.set(xlabel="utility of peak, minus the best tuned heuristic's")
    if len(entries) == 1:
        # Of many routers on one entry the names say more than a legend of repeated colours.
        axis.set_yticks(offsets, list(found))
        axis.set_title(entries[0])
    else:
        axis.set_yticks(np.arange(len(entries)), entries)
        put_legend(figure, axis)
    return figure


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
        axis.set_ylim(0.9 * LEAST, 10)
        axis.set_yticks(
            (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
            ("<= 0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10"),
        )
    axes[0, 0].set_ylabel(f"windows / those of {base} alone")
    put_legend(figure, axes[0, 0])
    return figure


def window_levels(results: Results, entries: Sequence[str], agents: Sequence[str]) -> Figure:
    """Share of the seconds that earn at least a share of their peak, entry beside entry."""
    figure, axes = new_figure(1, len(entries), (10.5, 3.7), sharey=True)
    for axis, entry in zip(axes[0], entries, strict=True):
        for agent in agents:
            if (entry, agent) in results.cells:
                share = results.cells[entry, agent].seconds_above(LEVELS)
                axis.plot(100 * LEVELS, 100 * share, label=agent, **style(results, agent))
        for threshold in THRESHOLDS:
            axis.axvline(100 * threshold, color="#cccccc", linewidth=0.8, zorder=0)
        axis.set(title=entry, xlabel="utility of the second, % of peak", ylim=(-2, 102))
    axes[0, 0].set_ylabel("seconds with at least that, %")
    put_legend(figure, axes[0, 0])
    return figure


def ratios_by_length(results: Results, entry: str, base: str, threshold: float) -> list[float]:
    """For every length of windows; NaN where the base has none."""
    ours, theirs = results.cells[entry, str(results.router_of(entry))], results.cells[entry, base]
    lengths_s = results.windows_s
    found = [ratio(ours.windows(threshold, w), theirs.windows(threshold, w)) for w in lengths_s]
    return [float("nan") if value is None else value for value in found]


def looseness(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """The bound over exact optima of small instances, against their load."""
    figure, axes = new_figure(1, 1, (10.5, 3.2))
    loads = [row["load"] for row in rows]
    lines = (("worst_bound", "worst instance"), ("bound", "mean"), ("free_bound", "free schedule"))
    for (name, label), color in zip(lines, ROUTER_COLORS, strict=False):
        axes[0, 0].plot(loads, [row[name] for row in rows], "o-", label=label, color=color)
    axes[0, 0].axhline(1.0, color="#999999", linewidth=0.8)
    axes[0, 0].set(xscale="log", xlabel="arrival rate / load 1", ylabel="bound / optimum")
    axes[0, 0].set_xticks(loads, [f"{load:g}" for load in loads])
    axes[0, 0].minorticks_off()
    put_legend(figure, axes[0, 0])
    return figure
