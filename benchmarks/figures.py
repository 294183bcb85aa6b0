"""Figures: what a router did over the time of one episode."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.drawing import COLORS, MODEL_COLORS, new_figure
from benchmarks.evaluation.metrics import WINDOW_S, peak_of
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.state import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 9.0
"""Of a figure, in inches."""


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
    """Arrival rate above, utility of peak of each router below, in windows of WINDOW_S.

    `runs` holds each router's completions of the same episode.
    """
    figure, axes = new_figure(2, 1, (WIDTH, 5.5), sharex=True)
    rate_axis, utility_axis = axes[:, 0]
    figure.suptitle(title)
    _draw_rate(rate_axis, config, next(iter(runs.values())))
    for color, (name, completions) in zip(COLORS, runs.items(), strict=False):
        peak = per_window(completions, peak_of(completions, config))
        earned = per_window(completions, completions["utility"].astype(np.float64))
        share = np.divide(earned, peak, out=np.full(len(peak), np.nan), where=peak > 0)
        total = f"{name}: {earned.sum() / peak.sum():.3f} over all"
        utility_axis.plot(bins_of(completions)[:-1] + WINDOW_S / 2, share, color=color, label=total)
    utility_axis.set(ylabel="utility / peak", xlabel="arrival time, s", ylim=(-0.02, 1.05))
    utility_axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    figure.savefig(path, dpi=120)


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
