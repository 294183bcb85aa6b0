"""Fresh days of calls that look like those of a MAF file.

Every function of the file gives four figures: its mean rate (together the skew), the spread of its
rate around the profile that all share, how long a spell of that lasts, and whether it ticks like a
timer. A fresh day draws a new log-normal rate for every function, follows the shared profile, and
draws the calls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traces.counts import CountTable
from traces.errors import require
from traces.trace import Provenance

Array = NDArray[np.float64]

PROFILE_MINUTES = 31
"""Width of the moving average that gives the profile; what is faster counts as burstiness."""

MOST_CELLS = 200_000_000
"""Of fresh counts: some 6 GB while they are drawn."""

EVEN_FROM = 0.1
"""Evenness from which a function ticks; below, its calls are Poisson at its rate."""


@dataclass(frozen=True, eq=False)
class LoadModel:
    """What has been learnt from a table of F functions and B bins.

    Attributes:
        profile: (B,) rate of all functions over its mean, smoothed.
        mean: (F,) calls per bin.
        spread: (F,) variance of the logarithm of a function's rate around the profile.
        persistence: (F,) correlation of that logarithm from one bin to the next.
        evenness: (F,) share of the calls of a ticking clock that are made: 1 for a timer, 0 for
            calls that know nothing of each other.
    """

    profile: Array
    mean: Array
    spread: Array
    persistence: Array
    evenness: Array
    triggers: tuple[str | None, ...]
    bin_s: float
    source: str


def fit(table: CountTable) -> LoadModel:
    """Learn from a table; functions that are never called are left out.

    The variance of a count with rate m * profile * g is m + m^2 var(g), so that its excess over
    Poisson gives var(g); a log-normal g has log-variance log(1 + var(g)).

    Raises:
        TraceError: fewer bins than the profile is smoothed over, or no calls.
    """
    active = np.flatnonzero(table.counts.any(axis=1))
    bins = table.counts.shape[1]
    require(bins > PROFILE_MINUTES, "bins", bins, f"more than {PROFILE_MINUTES}")
    require(len(active) > 0, "functions with calls", 0, "at least one")
    counts = table.counts[active].astype(np.float64)
    profile = smoothed(counts.sum(axis=0))
    mean = counts.mean(axis=1)
    residual = counts - mean[:, None] * profile
    excess = np.maximum((residual**2).mean(axis=1) - mean, 0.0)
    variance = excess / mean**2
    carried = (residual[:, 1:] * residual[:, :-1]).mean(axis=1) / mean**2
    spread = np.log1p(variance)
    carried_log = np.log1p(np.clip(carried, 0.0, variance))
    persistence = np.divide(carried_log, spread, out=np.zeros_like(spread), where=spread > 0)
    return LoadModel(
        profile=profile,
        mean=mean,
        spread=spread,
        persistence=np.minimum(persistence, 0.999),
        evenness=evenness(counts.var(axis=1), mean),
        triggers=tuple(table.triggers[i] for i in active),
        bin_s=table.bin_s,
        source=table.provenance.source,
    )


def evenness(variance: Array, mean: Array) -> Array:
    """How far calls are more even than Poisson, 0 to 1.

    Of a clock's n ticks a bin, each made with probability p, the variance is (1 - p) of the mean;
    of a clock slower than one tick a bin it is 1 - mean of the mean.
    """
    even: Array = np.clip((1 - variance / mean) / np.minimum(mean, 1.0), 0.0, 1.0)
    return even


def smoothed(total: Array) -> Array:
    """Moving average over mean, of the same length; at the ends over what there is."""
    window = np.ones(PROFILE_MINUTES)
    weight = np.convolve(np.ones_like(total), window, "same")
    profile: Array = np.convolve(total, window, "same") / weight
    profile /= profile.mean()
    return profile


def generate(model: LoadModel, days: int, rng: np.random.Generator) -> CountTable:
    """Fresh counts, `days` times as long as the table that the model was fitted to."""
    require(days >= 1, "days", days, ">= 1")
    cells = len(model.mean) * len(model.profile) * days
    accepted = f"at most {MOST_CELLS:,}: fewer days, or functions"
    require(cells <= MOST_CELLS, "functions times bins times days", cells, accepted)
    profile = np.tile(model.profile, days)
    rate = fluctuation(model, len(profile), rng) * profile
    # Spikes are rare, so a sample's own mean may be far off; the skew between functions is not.
    rate *= (model.mean / rate.mean(axis=1))[:, None]
    counts = rng.poisson(rate)
    even = model.evenness > EVEN_FROM
    share = model.evenness[even, None]
    counts[even] = rng.binomial(ticks(rate[even] / share, rng), share)
    functions = tuple(f"synthetic-{i}" for i in rng.permutation(len(model.mean)))
    provenance = Provenance(f"like {model.source}", "", (f"synthesise {days} days",))
    return CountTable(
        counts.astype(np.int64), functions, model.triggers, provenance, bin_s=model.bin_s
    )


def fluctuation(model: LoadModel, bins: int, rng: np.random.Generator) -> Array:
    """(F, bins) log-normal factors of mean 1; their logarithms are autoregressions of order 1."""
    spread = np.where(model.evenness > EVEN_FROM, 0.0, model.spread)
    fresh = np.sqrt(1 - model.persistence**2)
    level = rng.standard_normal(len(spread))
    factors = np.empty((len(spread), bins))
    for i in range(bins):
        factors[:, i] = level
        level = model.persistence * level + fresh * rng.standard_normal(len(spread))
    return np.exp(np.sqrt(spread)[:, None] * factors - spread[:, None] / 2)


def ticks(rate: Array, rng: np.random.Generator) -> NDArray[np.int64]:
    """(F, bins) counts as even as whole numbers can be at `rate`, each from a random phase on."""
    reached = np.floor(np.cumsum(rate, axis=1) + rng.random((len(rate), 1)))
    return np.diff(reached, axis=1, prepend=0.0).astype(np.int64)
