"""Arrival processes: sorted times within a span, drawn from a Generator.

A coefficient of variation (cv) is the standard deviation of the gaps between arrivals over their
mean: 1 for Poisson, above for bursts, below for regularity.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from traces.trace import TraceError

Times = NDArray[np.float64]


def require(condition: bool, field: str, value: object, accepted: str) -> None:
    """Raise a TraceError that names field, value and what is accepted, unless `condition`."""
    if not condition:
        raise TraceError(f"{field}: got {value!r}; accepted: {accepted}")


def poisson(rate_per_s: float, span_s: float, rng: np.random.Generator) -> Times:
    """Independent arrivals at a constant rate; their number is Poisson too."""
    check_rate(rate_per_s, span_s)
    count = rng.poisson(rate_per_s * span_s)
    return np.sort(rng.uniform(0.0, span_s, count))


def gamma(rate_per_s: float, cv: float, span_s: float, rng: np.random.Generator) -> Times:
    """Renewal arrivals whose gaps are Gamma distributed, stationary from the first moment."""
    check_rate(rate_per_s, span_s)
    return unit_gamma(rate_per_s * span_s, cv, rng) / rate_per_s


def check_rate(rate_per_s: float, span_s: float) -> None:
    """Raise a TraceError unless both are finite and positive."""
    require(0 < rate_per_s < np.inf, "rate_per_s", rate_per_s, "finite, > 0")
    require(0 < span_s < np.inf, "span_s", span_s, "finite seconds > 0")


def unit_gamma(end: float, cv: float, rng: np.random.Generator) -> Times:
    """A stationary Gamma renewal process of rate 1 on [0, end).

    The first gap follows the residual-life law, U * Gamma(shape + 1): somebody who starts to look
    at a running process is more likely to fall into a long gap (Cox, Renewal Theory, 1962). With a
    full gap instead the count would be biased by about (cv^2 - 1) / 2.
    """
    require(0 < cv < np.inf, "cv", cv, "finite, > 0")
    shape = 1.0 / cv**2
    times = [np.array([rng.uniform() * rng.gamma(shape + 1.0, cv**2)])]
    while times[-1][-1] < end:
        missing = end - times[-1][-1]
        size = int(missing + 4 * cv * np.sqrt(missing)) + 16
        times.append(times[-1][-1] + np.cumsum(rng.gamma(shape, cv**2, size)))
    every = np.concatenate(times)
    return every[every < end]


def counts_to_arrivals(
    counts: NDArray[np.float64] | NDArray[np.int64],
    bin_s: float,
    cv: float,
    rng: np.random.Generator,
) -> Times:
    """Arrivals whose expected number in every bin is its count, at any cv and bin length.

    One stationary unit-rate Gamma renewal process is mapped through the inverse of the cumulative
    count ("operational time"; Cinlar, Introduction to Stochastic Processes, 1975). Restarting a
    process in every bin, as is common, inflates the count by about (cv^2 - 1) / 2 a bin.

    Args:
        counts: (B,) expected arrivals per bin, finite and >= 0.
        bin_s: length of a bin.
        cv: coefficient of variation of the gaps in operational time.
        rng: source of randomness.
    """
    require(0 < bin_s < np.inf, "bin_s", bin_s, "finite seconds > 0")
    valid = bool(np.all(np.isfinite(counts)) and np.all(np.asarray(counts) >= 0))
    require(valid, "counts", counts, "finite counts >= 0")
    cumulative = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    if cumulative[-1] <= 0:
        return np.zeros(0)
    operational = unit_gamma(float(cumulative[-1]), cv, rng)
    return through_inverse(operational, cumulative, bin_s)


def through_inverse(operational: Times, cumulative: Times, bin_s: float) -> Times:
    """Clock times at which a cumulative count, linear within bins, reaches `operational`."""
    bins = np.searchsorted(cumulative, operational, side="right") - 1
    counts = np.diff(cumulative)[bins]
    times: Times = (bins + (operational - cumulative[bins]) / counts) * bin_s
    return times
