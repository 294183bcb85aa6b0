"""What an episode's completions say: windows near the peak, latencies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.actions import NOBODY
from llmroute_env.dynamics.state import LATE, Records

WINDOW_S = 1.0
"""Length of the windows whose utility is compared with its peak; ours, the paper states none."""

WINDOWS_S = (1.0, 5.0, 10.0)
"""Lengths by which `evaluate` reports windows near the peak."""

THRESHOLDS = (0.96, 0.98, 0.99)


def peak_of(completions: Records, config: EnvConfig) -> NDArray[np.float64]:
    """Utility that each request would have earned from the largest model in time, shape (N,)."""
    largest = config.utility[:, :, config.models.index(config.largest_model)]
    peak: NDArray[np.float64] = largest[completions["user_class"], completions["task"]]
    return peak


def window_ratios(
    completions: Records, config: EnvConfig, window_s: float = WINDOW_S
) -> NDArray[np.float64]:
    """Utility / peak of the requests that arrived in each window; empty windows left out."""
    window = (completions["arrival_s"] // window_s).astype(np.int64)
    utility = np.bincount(window, completions["utility"])
    peak = np.bincount(window, peak_of(completions, config))
    ratios: NDArray[np.float64] = utility[peak > 0] / peak[peak > 0]
    return ratios


def latencies_s(completions: Records) -> NDArray[np.float64]:
    """Latency of every request that was served, in time or late."""
    served = completions[completions["outcome"] <= LATE]
    latency: NDArray[np.float64] = served["finish_s"] - served["arrival_s"]
    return latency


def windows_near_peak(completions: Records, config: EnvConfig, window_s: float) -> dict[str, int]:
    """Number of windows with requests, and of those at or above each of THRESHOLDS."""
    ratios = window_ratios(completions, config, window_s)
    # Sums in another order than the peak's differ in the last bits.
    reached = {str(t): int((ratios >= t - 1e-9).sum()) for t in THRESHOLDS}
    return {"windows": len(ratios), **reached}


RATE_EDGES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, np.inf)
"""Classes of the arrival rate over the last second, in units of load 1."""
BACKLOG_EDGES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, np.inf)
"""Classes of the requests that wait, per GPU."""


def policy_map(completions: Records, config: EnvConfig) -> NDArray[np.int64]:
    """Decisions by (rate class, backlog class, model), as the whole episode's completions tell.

    Needs no observation, so routers that read different ones can be compared. The first second,
    in which the rate is not known, is left out.
    """
    arrival_s = completions["arrival_s"]
    order = np.arange(len(arrival_s))
    recent = order + 1 - np.searchsorted(arrival_s, arrival_s - 1.0, "right")
    started = np.searchsorted(np.sort(completions["start_s"]), arrival_s, "right")
    started -= completions["start_s"] <= arrival_s
    backlog = np.maximum(order - started, 0) / config.gpus
    rate = np.searchsorted(RATE_EDGES, recent / config.load_1_per_s, "right") - 1
    level = np.searchsorted(BACKLOG_EDGES, backlog, "right") - 1
    shape = (len(RATE_EDGES) - 1, len(BACKLOG_EDGES) - 1, len(config.models))
    decisions = np.zeros(shape, np.int64)
    # What a router turned away is no model's.
    known = (arrival_s >= 1.0) & (completions["model"] != NOBODY)
    np.add.at(decisions, (rate[known], level[known], completions["model"][known]), 1)
    return decisions


def by_second(completions: Records, config: EnvConfig) -> dict[str, NDArray[np.float64]]:
    """Requests, utility and peak of the requests that arrived in each second, from second 0."""
    second = (completions["arrival_s"] // 1.0).astype(np.int64)
    return {
        "requests": np.bincount(second).astype(np.float64),
        "utility": np.bincount(second, completions["utility"]).astype(np.float64),
        "peak": np.bincount(second, peak_of(completions, config)).astype(np.float64),
    }
