"""Figures of a report, as SVG; they read nothing but rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.drawing import MODEL_COLORS, new_figure
from benchmarks.evaluation.intervals import Floats
from benchmarks.evaluation.metrics import BACKLOG_EDGES, RATE_EDGES
from benchmarks.evaluation.rows import Number, Row
from benchmarks.evaluation.stats import performance_profile
from benchmarks.report.data import AVAILABLE, SCORE, Results
from benchmarks.report.svg import put_legend, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BOUND_COLOR = "#000000"
MARKED = 20
"""About so many points of a line have the router's mark."""
RATE_TICKS = (0.25, 0.5, 1, 2, 5, 10, 20)
SHARE_COLORS = "Blues"
ON_CURVES: tuple[Number, ...] = ("deadline_met", SCORE)
MAP_STYLE: dict[str, Any] = {"origin": "lower", "vmin": 0, "vmax": 1, "aspect": "auto"}


def availability(results: Results, agents: Sequence[str], tag: str) -> Figure:
    """Requests in time, and utility of peak beside the bound, against load."""
    figure, axes = new_figure(1, 2, (10.5, 3.9))
    for agent in agents:
        for axis, name in zip(axes[0], ON_CURVES, strict=True):
            loads, values = results.curve(tag, agent, name)
            axis.plot(loads, values, label=agent, **style(results, agent))
    bounds = [results.curve(tag, agent, "bound_of_peak") for agent in agents]
    loads, bound = max(bounds, key=lambda curve: len(curve[0]))
    axes[0, 1].plot(loads, np.minimum(bound, 1.0), "k--", linewidth=1, label="bound")
    axes[0, 0].axhline(AVAILABLE, color="#999999", linewidth=0.8)
    for axis, label in zip(axes[0], ("requests in time", "utility / peak"), strict=True):
        axis.set(xscale="log", xlabel="arrival rate / load 1", ylabel=label, ylim=(-0.02, 1.03))
        axis.set_xticks(RATE_TICKS, [f"{rate:g}" for rate in RATE_TICKS])
        axis.minorticks_off()
    put_legend(figure, axes[0, 1])
    return figure


def over_time(results: Results, entry: str, agents: Sequence[str]) -> Figure:
    """Arrival rate and utility of each second of the liveliest detailed episode, with the bound.

    Below, what each router gains in utility on the best tuned heuristic, up to each second.
    """
    rows = {agent: detailed(results, entry, agent) for agent in agents}
    first = rows[agents[0]]
    number = int(np.argmax([np.std(row["by_second"]["requests"]) for row in first]))
    episode = {agent: found[number] for agent, found in rows.items()}
    figure, axes = new_figure(3, 1, (10.5, 6.4), sharex=True, height_ratios=(1, 2, 1.2))
    rate_axis, utility_axis, gain_axis = axes[:, 0]
    draw_rate(rate_axis, first[number], f"{entry}, episode {first[number]['episode']}")
    draw_utility(utility_axis, results, episode)
    best = results.best_tuned(entry)
    draw_gains(gain_axis, results, episode, best if best in episode else agents[0])
    gain_axis.set_xlabel("arrival time, s")
    put_legend(figure, utility_axis)
    return figure


def draw_rate(axis: Axes, row: Row, title: str) -> None:
    """Arrival rate of each second."""
    requests = np.array(row["by_second"]["requests"])
    rate = requests / row["load_1_per_s"]
    axis.stairs(rate, np.arange(len(rate) + 1), fill=True, color="#bbbbbb")
    axis.axhline(1.0, color="black", linewidth=0.8)
    axis.set(ylabel="rate / load 1", title=title)


def draw_utility(axis: Axes, results: Results, episode: Mapping[str, Row]) -> None:
    """Utility of each second as a share of its peak, by router, and the bound."""
    course = next(iter(episode.values()))["by_second"]
    peak = np.array(course["peak"], np.float64)
    bound = np.minimum(of_peak(course["bound"], peak), 1.0)
    seconds = np.arange(len(peak) + 1)
    axis.stairs(bound, seconds, baseline=None, color=BOUND_COLOR, label="bound of each second")
    lowest = 1.0
    for agent, row in episode.items():
        values = of_peak(row["by_second"]["utility"], peak)
        course_of(axis, results, agent, values)
        label = f"{agent}: {row['utility_of_peak']:.3f}"
        axis.plot([], [], label=label, **style(results, agent))
        lowest = min(lowest, np.nanmin(values))
    # Where all routers are good ones, their differences would not be seen on the whole axis.
    bottom, top = (-0.02, 1.05) if lowest < 0.5 else (np.floor(10 * lowest) / 10, 1.01)
    axis.set(ylabel="utility / peak", ylim=(bottom, top))


def draw_gains(axis: Axes, results: Results, episode: Mapping[str, Row], other: str) -> None:
    """Utility beyond another router's up to each second, of the learned ones."""
    gained = {
        agent: np.cumsum(np.subtract(row["by_second"]["utility"], utility_of(episode, other)))
        for agent, row in episode.items()
        if agent in results.learned(row["entry"]) or agent == other
    }
    for agent, values in gained.items():
        course_of(axis, results, agent, values)
    axis.set_ylabel(f"utility gained\non {other}")


def utility_of(episode: Mapping[str, Row], agent: str) -> list[float]:
    """Utility of each second."""
    return episode[agent]["by_second"]["utility"]


def course_of(axis: Axes, results: Results, agent: str, values: Floats) -> None:
    """A router's values of each second: a step as long as the second, marked in its middle."""
    look = style(results, agent)
    seconds = np.arange(len(values) + 1)
    line = {name: look[name] for name in ("color", "linestyle", "linewidth", "zorder")}
    axis.stairs(values, seconds, baseline=None, **line)
    every = slice(0, None, max(len(values) // MARKED, 1))
    middles, points = (seconds[:-1] + 0.5)[every], values[every]
    axis.plot(middles, points, **{**look, "linestyle": ""})


def of_peak(values: Sequence[float], peak: Floats) -> Floats:
    """Utilities as shares of the peak; NaN where nothing arrived."""
    padded = np.zeros(len(peak))
    padded[: len(values)] = values[: len(peak)]
    shares: Floats = np.divide(padded, peak, out=np.full(len(peak), np.nan), where=peak > 0)
    return shares


def detailed(results: Results, entry: str, agent: str) -> list[Row]:
    """Rows of the first training seed that hold the course of their episode."""
    cell = results.cells[entry, agent]
    return [r for r in cell.rows if "by_second" in r and r["training_seed"] == cell.seeds[0]]


def decisions(results: Results, entry: str, agent: str) -> Floats:
    """Decisions by (rate class, backlog class, model), over all detailed episodes."""
    maps = [row["policy_map"] for row in results.cells[entry, agent].rows if "policy_map" in row]
    counted: Floats = np.sum(np.array(maps, np.float64), axis=0)
    return counted


def share_by_rate(results: Results, entry: str, agents: Sequence[str]) -> Figure:
    """Share of each model in every class of the arrival rate, router beside router."""
    figure, axes = new_figure(1, len(agents), (10.5, 3.4), sharey=True)
    names = list(results.cells[entry, agents[0]].first["share"])
    met, _ = occurred(results, entry, agents)
    for axis, agent in zip(axes[0], agents, strict=True):
        counts = decisions(results, entry, agent).sum(axis=1)[met]
        total = counts.sum(axis=1)
        base = np.zeros(len(counts))
        for m, name in enumerate(names):
            share = np.divide(counts[:, m], total, out=np.zeros(len(total)), where=total > 0)
            color = MODEL_COLORS[min(m, len(MODEL_COLORS) - 1)]
            axis.bar(np.arange(len(share)), share, bottom=base, color=color, label=name, width=0.9)
            base += share
        axis.set_xticks(np.arange(len(total)), classes(RATE_EDGES)[met], rotation=35)
        axis.set(xlabel="arrival rate over 1 s / load 1", ylim=(0, 1))
        axis.set_title(f"{agent}, {entry}", fontsize="medium")
    axes[0, 0].set_ylabel("share of the requests")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def occurred(results: Results, entry: str, agents: Sequence[str]) -> tuple[slice, slice]:
    """The classes of arrival rates and of backlogs from the first to the last that was met."""
    counts = sum(decisions(results, entry, agent).sum(axis=2) for agent in agents)
    found = []
    for axis in (1, 0):
        met = np.flatnonzero(np.sum(counts, axis=axis))
        found.append(slice(met[0], met[-1] + 1) if len(met) else slice(None))
    return found[0], found[1]


def classes(edges: Sequence[float]) -> list[str]:
    """Names of the classes between edges."""
    inner = [f"{a:g}-{b:g}" for a, b in pairwise(edges[:-1])]
    return [*inner, f">{edges[-2]:g}"]


def policy_maps(results: Results, entry: str, agents: Sequence[str]) -> Figure:
    """Share of each model by arrival rate and backlog: a row of maps per router."""
    names = list(results.cells[entry, agents[0]].first["share"])
    size = (10.5, 2.9 * len(agents))
    figure, axes = new_figure(len(agents), len(names), size, sharex=True, sharey=True)
    images: list[Any] = []
    rates, backlogs = occurred(results, entry, agents)
    for row, agent in zip(axes, agents, strict=True):
        counts = decisions(results, entry, agent)[rates, backlogs]
        total = counts.sum(axis=2)
        for m, axis in enumerate(row):
            share = np.divide(
                counts[:, :, m], total, out=np.full(total.shape, np.nan), where=total > 0
            )
            images.append(axis.imshow(share.T, cmap=SHARE_COLORS, **MAP_STYLE))
            axis.set_facecolor("#e8e8e8")
            axis.set_title(f"{agent}: {names[m]}", fontsize="medium")
        label_classes(row[0], "y", "waiting / GPU", classes(BACKLOG_EDGES)[backlogs])
    for axis in axes[-1]:
        label_classes(axis, "x", "rate / load 1", classes(RATE_EDGES)[rates])
    figure.colorbar(images[0], ax=axes, label="share of the decisions", shrink=0.7)
    return figure


def label_classes(axis: Axes, which: str, label: str, names: Sequence[str]) -> None:
    """Names of classes along one side."""
    side = axis.xaxis if which == "x" else axis.yaxis
    side.set_ticks(
        np.arange(len(names)), names, fontsize="small", rotation=35 if which == "x" else 0
    )
    side.set_label_text(label)


def profiles(results: Results, entries: Sequence[str], agents: Sequence[str]) -> Figure:
    """Share of the runs above each utility as a share of the bound, entries weighing the same."""
    figure, axes = new_figure(1, 1, (10.5, 3.6))
    thresholds = np.linspace(0.5, 1.0, 201)
    for agent in agents:
        shares = [results.cells[entry, agent].of_bound() for entry in entries]
        profile = performance_profile(shares, thresholds)
        every = len(thresholds) // MARKED
        look = style(results, agent)
        axes[0, 0].plot(thresholds, profile, label=agent, markevery=every, **look)
    axes[0, 0].set(xlabel="utility / bound", ylabel="share of episodes above", ylim=(0, 1.02))
    put_legend(figure, axes[0, 0])
    return figure
