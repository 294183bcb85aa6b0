"""Arrivals whose rate changes over time: regimes, days, steps, spikes and crowds.

Every process maps one stationary unit-rate Gamma renewal process through the inverse of its
cumulative rate, so that its expected number of arrivals is the integral of the rate, at any cv.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from traces.errors import require
from traces.processes.arrivals import Times, check_rate, through_inverse, unit_gamma

GRID = 4096
"""Pieces in which a smooth rate is integrated."""


def piecewise(
    edges_s: Times, rates_per_s: Times, rng: np.random.Generator, cv: float = 1.0
) -> Times:
    """Arrivals at `rates_per_s[i]` between `edges_s[i]` and `edges_s[i + 1]`.

    Raises:
        TraceError: edges that do not rise, or rates that are negative or not finite.
    """
    valid = len(edges_s) == len(rates_per_s) + 1 and bool(np.all(np.diff(edges_s) > 0))
    require(valid, "edges_s", edges_s, "rising seconds, one more than rates")
    fine = bool(np.all(np.isfinite(rates_per_s)) and np.all(np.asarray(rates_per_s) >= 0))
    require(fine, "rates_per_s", rates_per_s, "finite rates >= 0")
    expected = np.asarray(rates_per_s) * np.diff(edges_s)
    cumulative = np.concatenate([[0.0], np.cumsum(expected)])
    if cumulative[-1] <= 0:
        return np.zeros(0)
    return through_inverse(unit_gamma(float(cumulative[-1]), cv, rng), cumulative, edges_s)


def mmpp(
    rates_per_s: Sequence[float],
    sojourn_s: Sequence[float],
    span_s: float,
    rng: np.random.Generator,
) -> Times:
    """Markov-modulated Poisson process: the rate of the current regime holds an exponential time.

    Regime i lasts `sojourn_s[i]` on average; the next is any other, equally likely. The first is
    drawn from the stationary law, so that the mean rate holds from the start.
    """
    rates, sojourn = np.asarray(rates_per_s, np.float64), np.asarray(sojourn_s, np.float64)
    valid = len(rates) == len(sojourn) > 1 and bool(np.all(sojourn > 0))
    require(valid, "sojourn_s", sojourn_s, "seconds > 0, one for each of at least two rates")
    require(0 < span_s < np.inf, "span_s", span_s, "finite seconds > 0")
    state = int(rng.choice(len(rates), p=sojourn / sojourn.sum()))
    edges, states = [0.0], []
    while edges[-1] < span_s:
        states.append(state)
        edges.append(edges[-1] + rng.exponential(sojourn[state]))
        state = (state + int(rng.integers(1, len(rates)))) % len(rates)
    edges[-1] = span_s
    return piecewise(np.array(edges), rates[states], rng)


def diurnal(
    mean_rate_per_s: float,
    swing: float,
    period_s: float,
    span_s: float,
    rng: np.random.Generator,
    cv: float = 1.0,
) -> Times:
    """A rate of mean * (1 - swing * cos(2 pi t / period)): lowest at the start, as at night."""
    check_rate(mean_rate_per_s, span_s)
    require(0 <= swing <= 1, "swing", swing, "0 to 1")
    require(0 < period_s < np.inf, "period_s", period_s, "finite seconds > 0")
    pieces = GRID * max(1, int(span_s / period_s))
    edges = np.linspace(0.0, span_s, pieces + 1)
    turns = 2 * np.pi / period_s
    integral = edges - swing * np.sin(turns * edges) / turns
    rates = mean_rate_per_s * np.maximum(np.diff(integral), 0.0) / np.diff(edges)
    return piecewise(edges, rates, rng, cv)


def steps(
    starts_s: Sequence[float],
    rates_per_s: Sequence[float],
    span_s: float,
    rng: np.random.Generator,
    cv: float = 1.0,
) -> Times:
    """The rate is `rates_per_s[i]` from `starts_s[i]` until the next start; the first is 0."""
    require(len(starts_s) > 0 and starts_s[0] == 0, "starts_s", starts_s, "rising, from 0")
    return piecewise(np.array([*starts_s, span_s]), np.asarray(rates_per_s, np.float64), rng, cv)


def spike(
    rates_per_s: tuple[float, float],
    window_s: tuple[float, float],
    span_s: float,
    rng: np.random.Generator,
    cv: float = 1.0,
) -> Times:
    """The first rate, but the second within the window."""
    base, peak = rates_per_s
    inside = 0 < window_s[0] < window_s[1] < span_s
    require(inside, "window_s", window_s, f"a start below an end, within 0 to {span_s:g} s")
    return steps([0.0, *window_s], [base, peak, base], span_s, rng, cv)


def flash_crowd(
    rates_per_s: tuple[float, float],
    window_s: tuple[float, float],
    span_s: float,
    rng: np.random.Generator,
    decay_s: float = 60.0,
) -> Times:
    """The first rate; within the window it rises linearly to the second, then decays back.

    The decay is exponential with time constant `decay_s`: news spread fast and are forgotten
    slowly.
    """
    base, peak = rates_per_s
    inside = 0 <= window_s[0] < window_s[1] <= span_s
    require(inside, "window_s", window_s, f"a start below an end, within 0 to {span_s:g} s")
    require(0 < decay_s < np.inf, "decay_s", decay_s, "finite seconds > 0")
    edges = np.linspace(0.0, span_s, GRID + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    rising = np.clip((middle - window_s[0]) / (window_s[1] - window_s[0]), 0.0, 1.0)
    fading = np.exp(-np.maximum(middle - window_s[1], 0.0) / decay_s)
    return piecewise(edges, base + (peak - base) * rising * fading, rng)
