"""What an episode's completions say: windows near the peak, latencies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.state import LATE, Records

WINDOW_S = 1.0
"""Length of the windows whose utility is compared with its peak; ours, the paper states none."""

THRESHOLDS = (0.96, 0.98, 0.99)


def peak_of(completions: Records, config: EnvConfig) -> NDArray[np.float64]:
    """Utility that each request would have earned from the largest model in time, shape (N,)."""
    accuracy = np.array(config.largest_model.accuracy)
    peak: NDArray[np.float64] = accuracy[completions["task"]]
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
