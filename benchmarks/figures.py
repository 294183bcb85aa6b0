"""Figures: what a router did over the time of one episode."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.drawing import COLORS, MODEL_COLORS, new_figure
from benchmarks.evaluation.intervals import Interval
from benchmarks.evaluation.metrics import WINDOW_S, peak_of
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.state import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 9.0
"""Of a figure, in inches."""
LOOKS: tuple[dict[str, Any], ...] = tuple(
    {"color": color, "linestyle": line}
    for color, line in zip(COLORS, ("-", "--", ":", "-.", "-"), strict=True)
)
"""Of routers: where two lines coincide both are seen."""
SEEN = 4
"""Routers whose differences are drawn to scale; others may be farther below."""


def bins_of(completions: Records) -> NDArray[np.float64]:
    """Edges of the windows of WINDOW_S that hold the arrivals of an episode."""
    count = int(completions["arrival_s"].max() // WINDOW_S) + 1
    edges: NDArray[np.float64] = np.arange(count + 1, dtype=np.float64) * WINDOW_S
    return edges


def per_window(
    completions: Records, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Sum of `weights` (or number) of the requests that arrived in each window."""
    sums, _ = np.histogram(completions["arrival_s"], bins_of(completions), weights=weights)
    totals: NDArray[np.float64] = sums.astype(np.float64)
    return totals


def save_utility_figure(
    path: Path, config: EnvConfig, runs: Mapping[str, Records], title: str
) -> None:
    """Arrival rate, utility of peak of each router, and what the first gains on the second.

    In windows of WINDOW_S; `runs` holds each router's completions of the same episode.
    """
    figure, axes = new_figure(3, 1, (WIDTH, 7.0), sharex=True, height_ratios=(1, 1.4, 1))
    rate_axis, utility_axis, gain_axis = axes[:, 0]
    figure.suptitle(title)
    first, second, *_ = runs
    _draw_rate(rate_axis, config, runs[first])
    edges = bins_of(runs[first])
    peak = per_window(runs[first], peak_of(runs[first], config))
    earned = {name: utility_of(completions) for name, completions in runs.items()}
    for (name, own), look in zip(earned.items(), LOOKS, strict=False):
        share = np.divide(own, peak, out=np.full(len(peak), np.nan), where=peak > 0)
        utility_axis.stairs(share, edges, baseline=None, **look)
        utility_axis.plot([], [], label=f"{name}: {own.sum() / peak.sum():.3f} over all", **look)
    utility_axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    utility_axis.set(ylabel="utility / peak", ylim=(-0.02, 1.05))
    gain_axis.stairs(np.cumsum(earned[first] - earned[second]), edges, baseline=None, **LOOKS[0])
    gain_axis.axhline(0.0, color="black", linewidth=0.8)
    gain_axis.set(ylabel="utility gained", xlabel="arrival time, s")
    gain_axis.set_title(f"{first} minus {second}, summed", loc="right", fontsize="small")
    figure.savefig(path, dpi=120)


def utility_of(completions: Records) -> NDArray[np.float64]:
    """Utility of the requests that arrived in each window."""
    return per_window(completions, completions["utility"].astype(np.float64))


def save_result_figure(
    path: Path, scores: Mapping[str, Interval], gains: Mapping[str, Interval], bound: float
) -> None:
    """Utility of peak of every router and the bound; beside it the paired differences to one.

    `gains` has all routers of `scores`, best first, but that one.
    """
    figure, axes = new_figure(1, 2, (WIDTH, 1.4 + 0.28 * len(scores)), sharey=True)
    score_axis, gain_axis = axes[0]
    _draw_scores(score_axis, scores, bound)
    places = {name: place for place, name in enumerate(scores)}
    _draw_gains(gain_axis, {places[name]: value for name, value in gains.items()})
    (other,) = scores.keys() - gains.keys()
    gain_axis.set_xlabel(f"minus {other}, episode by episode")
    figure.savefig(path, dpi=120)


def _draw_scores(axis: Axes, scores: Mapping[str, Interval], bound: float) -> None:
    for place, value in enumerate(scores.values()):
        axis.barh([place], [value.mean], color=COLORS[0], height=0.75)
        _draw_interval(axis, value, place, "#222222")
        axis.text(1.01, place, f"{value.mean:.3f}", va="center", fontsize="small")
    label = f"{bound:.3f}: bound, which no router can reach"
    axis.axvline(bound, color="black", linewidth=1.5, label=label)
    axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), frameon=False)
    axis.set(xlim=(0, 1.12), ylim=(len(scores) - 0.5, -0.5), xlabel="utility / peak")
    axis.set_yticks(range(len(scores)), list(scores))


def _draw_gains(axis: Axes, gains: Mapping[int, Interval]) -> None:
    # Routers far below must not squeeze what the best differ by.
    means = sorted((value.mean for value in gains.values()), reverse=True)
    left = min(1.3 * means[min(SEEN, len(means)) - 1], -0.001)
    axis.set_xlim(left, max(1.3 * means[0], -0.4 * left))
    axis.locator_params(axis="x", nbins=5)
    for place, value in gains.items():
        if value.mean < left:
            axis.text(left, place, f" < {value.mean:+.3f}", va="center", fontsize="small")
            continue
        axis.plot([value.mean], [place], "o", color=COLORS[0], markersize=5)
        _draw_interval(axis, value, place, COLORS[0])
    axis.axvline(0.0, color="black", linewidth=0.8)
    axis.xaxis.set_major_formatter("{x:+g}")
    axis.grid(axis="y", color="#eeeeee")


def _draw_interval(axis: Axes, value: Interval, place: float, color: str) -> None:
    if value.known:
        ends = value.ci_low, min(value.ci_high, 1.0)
        axis.plot(ends, (place, place), color=color, linewidth=1.2)


def _draw_rate(axis: Axes, config: EnvConfig, completions: Records) -> None:
    load = per_window(completions) / (WINDOW_S * config.load_1_per_s)
    axis.stairs(load, bins_of(completions), fill=True, color="#bbbbbb")
    axis.axhline(1.0, color="black", linewidth=0.8)
    axis.set_yscale("symlog", linthresh=1.0)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_ylim(bottom=0.0)
    axis.set_title(
        f"line: load 1, the {config.load_1_per_s:.0f} requests/s that {config.largest_model.name} "
        "alone sustains in time",
        loc="right",
        fontsize="small",
    )
    axis.set(ylabel="arrival rate / load 1")


def save_share_figure(path: Path, config: EnvConfig, completions: Records, title: str) -> None:
    """Share of each model among the requests of each window, with the arrival rate above."""
    from matplotlib.colors import LinearSegmentedColormap

    figure, axes = new_figure(2, 1, (WIDTH, 5.0), sharex=True)
    rate_axis, share_axis = axes[:, 0]
    figure.suptitle(title)
    _draw_rate(rate_axis, config, completions)
    names = config.model_names
    ramp = LinearSegmentedColormap.from_list("models", MODEL_COLORS)
    colors: list[Any] = [ramp(i / max(len(names) - 1, 1)) for i in range(len(names))]
    requests = np.maximum(per_window(completions), 1)
    base = np.zeros(len(requests))
    for m, name in enumerate(names):
        top = base + per_window(completions, (completions["model"] == m) * 1.0) / requests
        edges = bins_of(completions)
        share_axis.stairs(top, edges, baseline=base, fill=True, color=colors[m], label=name)
        base = top
    share_axis.set(ylabel="share of the requests", xlabel="arrival time, s", ylim=(0, 1))
    share_axis.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(names), frameon=False
    )
    figure.savefig(path, dpi=120)
