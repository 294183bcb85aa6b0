"""Regimes of a count series: a hidden Markov model with Poisson counts, by maximum likelihood.

Baum-Welch (Rabiner 1989), started from equal slices of the sorted counts: a series has one fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traces.errors import require

ITERATIONS = 60
STAYING = 0.8
"""Probability of staying in a regime for one more bin, at the start of the fit."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Regimes:
    """What a fit found.

    Attributes:
        rates: mean count of a bin in each regime, rising.
        sojourn_bins: mean number of bins that each lasts.
    """

    rates: tuple[float, ...]
    sojourn_bins: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Long-run mean count of a bin when every other regime is equally likely to follow."""
        return float(np.average(self.rates, weights=self.sojourn_bins))


def fit(counts: NDArray[np.int64], regimes: int) -> Regimes:
    """The regimes of `counts`, shape (B,).

    Raises:
        TraceError: fewer than two regimes, or too few different counts to tell them apart.
    """
    require(regimes >= 2, "regimes", regimes, ">= 2")
    enough = len(np.unique(counts)) >= 2 * regimes
    require(enough, "different counts", np.unique(counts).tolist(), f"at least {2 * regimes}")
    rates = np.array([part.mean() for part in np.array_split(np.sort(counts), regimes)])
    rates = np.maximum(rates, 0.1) + 1e-3 * np.arange(regimes)
    moves = np.full((regimes, regimes), (1 - STAYING) / (regimes - 1))
    np.fill_diagonal(moves, STAYING)
    start = np.full(regimes, 1 / regimes)
    for _ in range(ITERATIONS):
        likelihood = poisson_likelihood(counts, rates)
        here, pairs = smooth(likelihood, moves, start)
        rates = (here * counts[:, None]).sum(axis=0) / here.sum(axis=0)
        moves = pairs / pairs.sum(axis=1, keepdims=True)
        start = here[0]
    order = np.argsort(rates)
    leaving = np.maximum(1 - np.diag(moves), 1 / len(counts))
    return Regimes(tuple(rates[order].tolist()), tuple((1 / leaving)[order].tolist()))


def poisson_likelihood(counts: NDArray[np.int64], rates: Array) -> Array:
    """Likelihood of each count in each regime, shape (B, K), up to a factor per count."""
    log = counts[:, None] * np.log(rates) - rates
    likelihood: Array = np.exp(log - log.max(axis=1, keepdims=True))
    return likelihood


def smooth(likelihood: Array, moves: Array, start: Array) -> tuple[Array, Array]:
    """Probability of each regime in each bin, (B, K), and expected moves between them, (K, K)."""
    bins = len(likelihood)
    forward, backward = np.empty_like(likelihood), np.ones_like(likelihood)
    belief = start
    for b in range(bins):
        forward[b] = belief * likelihood[b]
        forward[b] /= forward[b].sum()
        belief = forward[b] @ moves
    for b in range(bins - 2, -1, -1):
        backward[b] = moves @ (likelihood[b + 1] * backward[b + 1])
        backward[b] /= backward[b].sum()
    here = forward * backward
    here /= here.sum(axis=1, keepdims=True)
    joint = forward[:-1, :, None] * moves * (likelihood * backward)[1:, None, :]
    joint /= joint.sum(axis=(1, 2), keepdims=True)
    return here, joint.sum(axis=0)
