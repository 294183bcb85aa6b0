"""How many requests, how fast, how bursty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traces.counts import CountTable
from traces.trace import Trace

MINUTE_S = 60.0

MOST_ARRIVALS = 200_000
"""From counts no more arrivals than these are made to estimate a cv."""


@dataclass(frozen=True)
class Statistics:
    """Figures of a trace; one that its length does not allow is None.

    Attributes:
        cv: standard deviation over mean of the gaps between arrivals.
        peak_to_mean: requests in the busiest minute over those in the mean minute.
    """

    requests: int
    span_s: float
    mean_rate_per_s: float
    cv: float | None
    peak_to_mean: float | None


def of_trace(trace: Trace) -> Statistics:
    """Figures of the requests of a trace; None for those that it is too short for."""
    return Statistics(
        requests=len(trace),
        span_s=trace.span_s,
        mean_rate_per_s=trace.mean_rate_per_s,
        cv=gap_cv(trace.arrival_s),
        peak_to_mean=peak_to_mean(trace.arrival_s),
    )


def of_counts(table: CountTable, rng: np.random.Generator) -> Statistics:
    """Figures of counts per minute; the cv is that of arrivals uniform within each minute.

    It is near 1 by construction, a lower bound. Tables with more than MOST_ARRIVALS calls are
    thinned to about that many.
    """
    total = table.total
    calls = int(total.sum())
    share = min(1.0, MOST_ARRIVALS / max(calls, 1))
    kept = rng.binomial(total, share)
    bins = np.repeat(np.arange(len(kept)), kept)
    times = np.sort((bins + rng.random(len(bins))) * table.bin_s)
    peak = float(total.max() / total.mean()) if calls else None
    return Statistics(calls, table.span_s, calls / table.span_s, gap_cv(times), peak)


def gap_cv(arrival_s: NDArray[np.float64]) -> float | None:
    """Coefficient of variation of the gaps; None for fewer than two gaps or no time at all."""
    gaps = np.diff(arrival_s)
    return float(gaps.std() / gaps.mean()) if len(gaps) > 1 and gaps.mean() > 0 else None


def peak_to_mean(arrival_s: NDArray[np.float64]) -> float | None:
    """Busiest over mean minute, counted from the first arrival, without the last part minute."""
    if len(arrival_s) == 0:
        return None
    minute = np.floor((arrival_s - arrival_s[0]) / MINUTE_S)
    whole = minute[-1]
    # A long silence may hold more minutes than memory, so only those with requests are listed.
    _, requests = np.unique(minute[minute < whole], return_counts=True)
    return float(requests.max() / (requests.sum() / whole)) if whole > 0 else None


def index_of_dispersion(
    arrival_s: NDArray[np.float64], span_s: float, windows_s: Sequence[float]
) -> NDArray[np.float64]:
    """Variance over mean of the number of arrivals per window, for each length of window.

    1 for Poisson at any length; rising with the length where bursts come in clusters. NaN for
    windows of which fewer than two fit.
    """
    return np.array([_dispersion(arrival_s, span_s, window_s) for window_s in windows_s])


def _dispersion(arrival_s: NDArray[np.float64], span_s: float, window_s: float) -> float:
    windows = int(span_s // window_s)
    if windows < 2:
        return float("nan")
    index = np.floor(arrival_s / window_s)
    _, requests = np.unique(index[index < windows], return_counts=True)
    mean = requests.sum() / windows
    square = (requests.astype(np.float64) ** 2).sum() / windows
    return float((square - mean**2) / mean) if mean > 0 else float("nan")
