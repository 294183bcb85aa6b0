"""Intervals for means of episodes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000


class Interval(NamedTuple):
    """A mean and its 95 % percentile-bootstrap interval."""

    mean: float
    ci_low: float
    ci_high: float


def bootstrap_mean(values: NDArray[np.float64], rng: np.random.Generator) -> Interval:
    """Mean of `values`, shape (N,), with a 95 % percentile bootstrap over them (Efron 1979)."""
    picks = rng.integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))
