"""Figures of a report, as SVG; they read nothing but rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.drawing import new_figure
from benchmarks.evaluation.intervals import Floats
from benchmarks.evaluation.rows import Number, Row
from benchmarks.evaluation.stats import performance_profile
from benchmarks.report.data import AVAILABLE, SCORE, Results
from benchmarks.report.marks import tell, tell_lines
from benchmarks.report.svg import HIGHER, put_legend, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BOUND_COLOR = "#000000"
MARKED = 20
"""About so many points of a line have the router's mark."""
RATE_TICKS = (0.25, 0.5, 1, 2, 5, 10, 20)
ON_CURVES: tuple[Number, ...] = ("deadline_met", SCORE)


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
    for axis, what in zip(axes[0], ("share of requests in time", "utility / peak"), strict=True):
        label = f"{what}\n({HIGHER})"
        axis.set(xscale="log", xlabel="arrival rate / load 1", ylabel=label, ylim=(-0.02, 1.03))
        tell_lines(axis, what)
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
    tell_seconds(axes[:, 0], episode)
    put_legend(figure, utility_axis)
    return figure


def tell_seconds(axes: Sequence[Axes], episode: Mapping[str, Row]) -> None:
    """Say the values of each second over all panels."""
    first = next(iter(episode.values()))
    peak = np.array(first["by_second"]["peak"], np.float64)
    shares = {agent: of_peak(row["by_second"]["utility"], peak) for agent, row in episode.items()}
    shares["bound"] = np.minimum(of_peak(first["by_second"]["bound"], peak), 1.0)
    for second, requests in enumerate(first["by_second"]["requests"]):
        rate = requests / first["load_1_per_s"]
        said = [f"second {second} to {second + 1}", f"rate / load 1: {rate:.3g}"]
        if requests and second < len(peak):
            said.append("utility / peak:")
            said += [f"{agent}: {values[second]:.4f}" for agent, values in shares.items()]
        tell(axes[0], "\n".join(said), x=(second, second + 1), down_to=axes[-1])


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
    axis.set(ylabel=f"utility / peak\n({HIGHER})", ylim=(bottom, top))


def draw_gains(axis: Axes, results: Results, episode: Mapping[str, Row], other: str) -> None:
    """Utility beyond another router's up to each second, of the learned ones."""
    gained = {
        agent: np.cumsum(np.subtract(row["by_second"]["utility"], utility_of(episode, other)))
        for agent, row in episode.items()
        if agent in results.learned(row["entry"]) or agent == other
    }
    for agent, values in gained.items():
        course_of(axis, results, agent, values)
    axis.set_ylabel(f"utility gained\non {other}\n({HIGHER})")


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
    ylabel = f"share of episodes above\n({HIGHER})"
    axes[0, 0].set(xlabel="utility / bound", ylabel=ylabel, ylim=(0, 1.02))
    tell_lines(axes[0, 0], "share of episodes above", every=4)
    put_legend(figure, axes[0, 0])
    return figure
