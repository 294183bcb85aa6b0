"""Arrival processes: sorted times within a span, drawn from a Generator.

A coefficient of variation (cv) is the standard deviation of the gaps between arrivals over their
mean: 1 for Poisson, above for bursts, below for regularity.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from traces.errors import require

Times = NDArray[np.float64]

MOST_ARRIVALS = 100_000_000
"""Expected arrivals of one process: some 3 GB while they are drawn and sorted."""


def poisson(rate_per_s: float, span_s: float, rng: np.random.Generator) -> Times:
    """Independent arrivals at a constant rate; their number is Poisson too."""
    check_rate(rate_per_s, span_s)
    return poisson_exact(int(rng.poisson(rate_per_s * span_s)), span_s, rng)


def poisson_exact(count: int, span_s: float, rng: np.random.Generator) -> Times:
    """A Poisson process given that there are exactly `count` arrivals."""
    require(count >= 0, "count", count, ">= 0")
    require(0 < span_s < np.inf, "span_s", span_s, "finite seconds > 0")
    # Given their number, the times of a Poisson process are independent and uniform.
    return np.sort(rng.uniform(0.0, span_s, count))


def gamma(rate_per_s: float, cv: float, span_s: float, rng: np.random.Generator) -> Times:
    """Renewal arrivals whose gaps are Gamma distributed, stationary from the first moment."""
    check_rate(rate_per_s, span_s)
    return unit_gamma(rate_per_s * span_s, cv, rng) / rate_per_s


def weibull(rate_per_s: float, cv: float, span_s: float, rng: np.random.Generator) -> Times:
    """Renewal arrivals whose gaps are Weibull distributed, stationary from the first moment."""
    check_rate(rate_per_s, span_s)
    return unit_weibull(rate_per_s * span_s, cv, rng) / rate_per_s


def check_rate(rate_per_s: float, span_s: float) -> None:
    """Raise a TraceError unless both are finite and positive, and their product no monster."""
    require(0 < rate_per_s < np.inf, "rate_per_s", rate_per_s, "finite, > 0")
    require(0 < span_s < np.inf, "span_s", span_s, "finite seconds > 0")
    check_expected(rate_per_s * span_s)


def check_expected(arrivals: float) -> None:
    """Raise a TraceError if there would be more than MOST_ARRIVALS."""
    accepted = f"at most {MOST_ARRIVALS:,}: a lower rate or load, or a shorter span"
    require(arrivals <= MOST_ARRIVALS, "expected arrivals", round(min(arrivals, 1e18)), accepted)


def unit_gamma(end: float, cv: float, rng: np.random.Generator) -> Times:
    """A stationary Gamma renewal process of rate 1 on [0, end).

    The first gap follows the residual-life law, U * Gamma(shape + 1): somebody who starts to look
    at a running process is more likely to fall into a long gap (Cox, Renewal Theory, 1962). With a
    full gap instead the count would be biased by about (cv^2 - 1) / 2.
    """
    require(0 < cv < np.inf, "cv", cv, "finite, > 0")
    shape = 1.0 / cv**2
    first = rng.uniform() * rng.gamma(shape + 1.0, cv**2)
    return renewal(first, end, cv, lambda size: rng.gamma(shape, cv**2, size))


def unit_weibull(end: float, cv: float, rng: np.random.Generator) -> Times:
    """A stationary Weibull renewal process of rate 1 on [0, end); see unit_gamma.

    A gap is scale * E^(1/shape) with an exponential E; in the gap that an observer falls into, E is
    Gamma(1 + 1/shape) instead.
    """
    shape = weibull_shape(cv)
    scale = 1.0 / math.gamma(1.0 + 1.0 / shape)
    first = rng.uniform() * scale * rng.gamma(1.0 + 1.0 / shape) ** (1.0 / shape)
    return renewal(first, end, cv, lambda size: scale * rng.weibull(shape, size))


def weibull_shape(cv: float) -> float:
    """The shape at which a Weibull distribution has this coefficient of variation."""
    require(0.01 <= cv <= 100, "cv of a Weibull distribution", cv, "0.01 to 100")
    # Halving the range of its logarithm: the cv falls as the shape grows.
    low, high = 0.05, 200.0
    for _ in range(100):
        shape = math.sqrt(low * high)
        spread = math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape)
        low, high = (shape, high) if spread > math.log1p(cv**2) else (low, shape)
    return shape


def renewal(first: float, end: float, cv: float, gaps: Callable[[int], Times]) -> Times:
    """Times below `end` that start at `first` and go on in unit-mean `gaps(how many)`."""
    times = [np.array([first])]
    while times[-1][-1] < end:
        # Their number varies by cv * sqrt(mean), so that one draw is nearly always enough.
        missing = end - times[-1][-1]
        size = int(missing + 4 * cv * np.sqrt(missing)) + 16
        times.append(times[-1][-1] + np.cumsum(gaps(size)))
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

    Returns:
        (N,) sorted times, seconds, within B * bin_s.

    Raises:
        TraceError: counts that are negative or not finite, or more than MOST_ARRIVALS of them.
    """
    require(0 < bin_s < np.inf, "bin_s", bin_s, "finite seconds > 0")
    valid = bool(np.all(np.isfinite(counts)) and np.all(np.asarray(counts) >= 0))
    require(valid, "counts", counts, "finite counts >= 0")
    cumulative = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    check_expected(float(cumulative[-1]))
    if cumulative[-1] <= 0:
        return np.zeros(0)
    operational = unit_gamma(float(cumulative[-1]), cv, rng)
    return through_inverse(
        operational, cumulative, np.arange(len(cumulative), dtype=np.float64) * bin_s
    )


def through_inverse(operational: Times, cumulative: Times, edges_s: Times) -> Times:
    """Clock times at which a cumulative count, linear between `edges_s`, reaches `operational`."""
    # `right` passes over empty bins, in which the count stands still and has no inverse.
    bins = np.searchsorted(cumulative, operational, side="right") - 1
    share = (operational - cumulative[bins]) / np.diff(cumulative)[bins]
    times: Times = edges_s[bins] + share * np.diff(edges_s)[bins]
    return times
