"""What runs say about algorithms: means and intervals that a handful of training seeds support.

After Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice,
NeurIPS 2021. Scores come as one array per scenario, of shape (training seeds, episodes); these may
differ in shape. A scenario is a stratum; a run is one training seed in one episode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.evaluation.intervals import Floats, Interval, Origin, Sample, interval
from llmroute_env.specs import require

Strata = Sequence[Floats]
"""One array of scores per scenario."""


class Statistic(NamedTuple):
    """A number that sums up scores of any shape, and what each of them adds to it."""

    value: Callable[[Floats], float]
    influence: Callable[[Floats], Floats]


def bootstrap_mean(
    values: Floats, rng: np.random.Generator, windows_s: Floats | None = None
) -> Interval:
    """Mean of one value per episode, shape (N,), with its interval (intervals.py)."""
    return crossed_bootstrap([values[None, :]], rng, MEAN, [Origin(windows_s=windows_s)])


def mean(values: Floats) -> float:
    """Mean of all `values`."""
    return float(values.mean())


def interquartile_mean(values: Floats) -> float:
    """Mean of the middle half of `values`, of any shape.

    Values count by the share of their 1 / N of the distribution that lies between the quartiles,
    so that N need not be a multiple of 4; if it is, this is scipy.stats.trim_mean(values, 0.25).
    """
    ordered = np.sort(values, axis=None)
    rank = np.arange(len(ordered) + 1) / len(ordered)
    weight = np.diff(np.clip(rank, 0.25, 0.75))
    return float(2.0 * (ordered @ weight))


def winsorised(values: Floats) -> Floats:
    """What each of `values` adds to their interquartile mean (Tukey and McLaughlin 1963)."""
    kept = np.clip(values, *np.quantile(values, [0.25, 0.75]))
    influence: Floats = 2.0 * (kept - kept.mean())
    return influence


MEAN = Statistic(mean, lambda values: values - values.mean())
IQM = Statistic(interquartile_mean, winsorised)


def paired_difference(
    ours: Floats, theirs: Floats, rng: np.random.Generator, windows_s: Floats | None = None
) -> Interval:
    """Mean of ours - theirs over paired episodes, both of shape (N,), with its interval."""
    require(ours.shape == theirs.shape, "theirs", theirs.shape, f"shape {ours.shape}, paired")
    return bootstrap_mean(ours - theirs, rng, windows_s)


def crossed_bootstrap(
    scores: Strata,
    rng: np.random.Generator,
    statistic: Statistic = IQM,
    origins: Sequence[Origin] | None = None,
) -> Interval:
    """`statistic` of scores of shape (training seeds, episodes), one array per scenario.

    All seeds of a scenario meet the same episodes, so both are taken as wholes: what makes an
    episode hard, or a training lucky, is not taken for independent evidence. Scenarios are
    independent of each other, but for those that `origins` gives the same names.
    """
    strata = _checked(scores, "scores")
    together = np.concatenate([runs.ravel() for runs in strata])
    influence = statistic.influence(together) / len(together)
    each = np.split(influence, np.cumsum([runs.size for runs in strata])[:-1])
    parts = [part.reshape(runs.shape) * runs.size for part, runs in zip(each, strata, strict=True)]
    return interval(statistic.value(together), _samples(parts, origins), rng)


def _samples(parts: Sequence[Floats], origins: Sequence[Origin] | None) -> list[Sample]:
    known = origins or [Origin(k, k) for k in range(len(parts))]
    return [Sample(part, origin) for part, origin in zip(parts, known, strict=True)]


def _checked(scores: Strata, name: str) -> list[Floats]:
    strata = [np.asarray(runs, np.float64) for runs in scores]
    accepted = "at least one scenario, each of shape (seeds, episodes), finite"
    valid = all(runs.ndim == 2 and runs.size and np.isfinite(runs).all() for runs in strata)
    require(len(strata) > 0 and valid, name, [runs.shape for runs in strata], accepted)
    return strata


def better_probability(ours: Strata, theirs: Strata) -> float:
    """Probability that a run of ours scores above one of theirs, averaged over scenarios.

    In each scenario all pairs of runs are compared and a tie counts half (Mann and Whitney 1947).
    """
    left, right = _checked(ours, "ours"), _checked(theirs, "theirs")
    require(len(left) == len(right), "theirs", len(right), f"{len(left)} scenarios")
    return float(np.mean([_wins(x, y) for x, y in zip(left, right, strict=True)]))


def _wins(ours: Floats, theirs: Floats) -> float:
    one, other = ours.ravel()[:, None], theirs.ravel()
    return float((one > other).mean() + 0.5 * (one == other).mean())


def beats(ours: Floats, theirs: Floats) -> Floats:
    """Share of all of theirs that each of ours is above, a tie counting half; shaped like ours."""
    ordered = np.sort(theirs, axis=None)
    below = np.searchsorted(ordered, ours, "left") + np.searchsorted(ordered, ours, "right")
    shares: Floats = below / (2.0 * theirs.size)
    return shares


def probability_of_improvement(
    ours: Strata,
    theirs: Strata,
    rng: np.random.Generator,
    origins: tuple[Sequence[Origin], Sequence[Origin]] | None = None,
) -> Interval:
    """`better_probability` with its interval; `origins` are those of ours and of theirs.

    Both met the same episodes where their origins say so; without origins nothing is shared.
    """
    estimate = better_probability(ours, theirs)
    left, right = _checked(ours, "ours"), _checked(theirs, "theirs")
    mine = [beats(x, y) for x, y in zip(left, right, strict=True)]
    other = [1.0 - beats(y, x) for x, y in zip(left, right, strict=True)]
    parts = [(part - part.mean()) / len(left) for part in (*mine, *other)]
    found = interval(estimate, _samples(parts, origins and [*origins[0], *origins[1]]), rng)
    # No probability lies outside; the bounds of none stay NaN.
    return Interval(estimate, *np.clip(found[1:], 0.0, 1.0).tolist())


def performance_profile(scores: Strata, thresholds: Floats) -> Floats:
    """Share of runs that score above each threshold, scenarios weighing the same; shape (K,)."""
    shares = [
        (runs.ravel()[:, None] > thresholds).mean(axis=0) for runs in _checked(scores, "scores")
    ]
    profile: Floats = np.mean(shares, axis=0)
    return profile
