"""What runs say about algorithms: means and intervals that a handful of training seeds support.

After Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice,
NeurIPS 2021. Scores come as one array of runs per scenario; these may differ in length. A scenario
is a stratum, a run is one training seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.specs import require

RESAMPLES = 2000

Floats = NDArray[np.float64]
Strata = Sequence[Floats]
"""One array of scores per scenario, each of shape (runs,)."""


class Interval(NamedTuple):
    """An estimate, mostly a mean, and its 95 % percentile-bootstrap interval."""

    mean: float
    ci_low: float
    ci_high: float


def bootstrap_mean(values: Floats, rng: np.random.Generator) -> Interval:
    """Mean of `values`, shape (N,), with a 95 % percentile bootstrap over them (Efron 1979)."""
    picks = rng.integers(len(values), size=(RESAMPLES, len(values)))
    return _interval(float(values.mean()), values[picks].mean(axis=1))


def _interval(estimate: float, resampled: Floats) -> Interval:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(estimate, float(low), float(high))


def interquartile_mean(values: Floats) -> float:
    """Mean of the middle half of `values`, of any shape.

    Values count by the share of their 1 / N of the distribution that lies between the quartiles,
    so that N need not be a multiple of 4; if it is, this is scipy.stats.trim_mean(values, 0.25).
    """
    ordered = np.sort(values, axis=None)
    rank = np.arange(len(ordered) + 1) / len(ordered)
    weight = np.diff(np.clip(rank, 0.25, 0.75))
    return float(2.0 * (ordered @ weight))


def mean(values: Floats) -> float:
    """Mean of all `values`."""
    return float(values.mean())


def stratified_bootstrap(
    scores: Strata,
    rng: np.random.Generator,
    statistic: Callable[[Floats], float] = interquartile_mean,
) -> Interval:
    """`statistic` of all scores together; runs are resampled within their scenario."""
    strata = _checked(scores, "scores")
    drawn = [statistic(np.concatenate(_resampled(strata, rng))) for _ in range(RESAMPLES)]
    return _interval(statistic(np.concatenate(strata)), np.array(drawn))


def _checked(scores: Strata, name: str) -> list[Floats]:
    strata = [np.asarray(runs, np.float64) for runs in scores]
    accepted = "at least one scenario, each with at least one finite score"
    valid = all(runs.ndim == 1 and len(runs) and np.isfinite(runs).all() for runs in strata)
    require(len(strata) > 0 and valid, name, scores, accepted)
    return strata


def _resampled(strata: list[Floats], rng: np.random.Generator) -> list[Floats]:
    return [rng.choice(runs, len(runs)) for runs in strata]


def paired_difference(ours: Floats, theirs: Floats, rng: np.random.Generator) -> Interval:
    """Mean of ours - theirs over paired episodes, both of shape (N,), with its interval."""
    require(ours.shape == theirs.shape, "theirs", theirs.shape, f"shape {ours.shape}, paired")
    return bootstrap_mean(ours - theirs, rng)


def crossed_bootstrap(
    scores: Strata,
    rng: np.random.Generator,
    statistic: Callable[[Floats], float] = interquartile_mean,
) -> Interval:
    """`statistic` of scores of shape (training seeds, episodes), one array per scenario.

    All seeds of a scenario meet the same episodes, so both are resampled, each as a whole: what
    makes an episode hard, or a training lucky, is not taken for independent evidence.
    """
    strata = [np.asarray(runs, np.float64) for runs in scores]
    accepted = "at least one scenario, each of shape (seeds, episodes), finite"
    valid = all(runs.ndim == 2 and runs.size and np.isfinite(runs).all() for runs in strata)
    require(len(strata) > 0 and valid, "scores", [runs.shape for runs in strata], accepted)

    def together(parts: Sequence[Floats]) -> float:
        return statistic(np.concatenate([part.ravel() for part in parts]))

    drawn = [together([_crossed(runs, rng) for runs in strata]) for _ in range(RESAMPLES)]
    return _interval(together(strata), np.array(drawn))


def _crossed(runs: Floats, rng: np.random.Generator) -> Floats:
    seeds, episodes = (rng.integers(size, size=(size,)) for size in runs.shape)
    drawn: Floats = runs[np.ix_(seeds, episodes)]
    return drawn


def better_probability(ours: Strata, theirs: Strata) -> float:
    """Probability that a run of ours scores above one of theirs, averaged over scenarios.

    In each scenario all pairs of runs are compared and a tie counts half (Mann and Whitney 1947).
    """
    ours, theirs = _checked(ours, "ours"), _checked(theirs, "theirs")
    require(len(ours) == len(theirs), "theirs", len(theirs), f"{len(ours)} scenarios")
    return float(np.mean([_wins(x, y) for x, y in zip(ours, theirs, strict=True)]))


def _wins(ours: Floats, theirs: Floats) -> float:
    above = (ours[:, None] > theirs).mean()
    return float(above + 0.5 * (ours[:, None] == theirs).mean())


def probability_of_improvement(ours: Strata, theirs: Strata, rng: np.random.Generator) -> Interval:
    """`better_probability` with its interval; runs of both are resampled within scenarios."""
    estimate = better_probability(ours, theirs)
    left, right = _checked(ours, "ours"), _checked(theirs, "theirs")
    drawn = [
        better_probability(_resampled(left, rng), _resampled(right, rng)) for _ in range(RESAMPLES)
    ]
    return _interval(estimate, np.array(drawn))


def performance_profile(scores: Strata, thresholds: Floats) -> Floats:
    """Share of runs that score above each threshold, scenarios weighing the same; shape (K,)."""
    shares = [(runs[:, None] > thresholds).mean(axis=0) for runs in _checked(scores, "scores")]
    profile: Floats = np.mean(shares, axis=0)
    return profile
