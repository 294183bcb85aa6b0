"""Intervals that cover: a studentised bootstrap over episodes, trainings and stretches of a tape.

An estimate is taken apart into what every score adds to it (its influence), which makes any smooth
statistic a mean. Episodes are resampled and every resample is divided by its own standard error
(bootstrap-t, Efron 1979; Hall 1988), so that skewness widens the side that it should. Coverage on
known distributions: docs/benchmarks.md.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 2000
TAKEN = 0.97
"""Share of the resamples that an interval of 95 % holds: at 32 log-normal values a bootstrap-t of
95 % covers 93 %, this one 95 %."""
FEW = 8
"""Below so many independent values too few resamples differ: Student's t is taken for them."""

LEAST = 0.25
"""Of the standard error: what a resample is divided by at least. One without any of a few bad
episodes has next to none of its own, and would make an interval as long as one likes."""


class Interval(NamedTuple):
    """An estimate, mostly a mean, and its 95 % interval: NaN where nothing supports one."""

    mean: float
    ci_low: float
    ci_high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not np.isnan(self.ci_low)

    def text(self, digits: int = 3, sign: str = "") -> str:
        """The estimate and its interval; where there is none, as of one episode, it says so."""
        if not self.known:
            return f"{self.mean:{sign}.{digits}f} (no interval)"
        mean, low, high = (f"{value:{sign}.{digits}f}" for value in self)
        return f"{mean} [{low}, {high}]"

    @classmethod
    def from_json(cls, numbers: Mapping[str, float | None]) -> Interval:
        """The interval that `to_json` told of."""
        return cls(**{name: np.nan if v is None else v for name, v in numbers.items()})

    def to_json(self) -> dict[str, float | None]:
        """The three numbers, those that are not there as None."""
        return {name: None if np.isnan(v) else v for name, v in self._asdict().items()}


@dataclass(frozen=True)
class Origin:
    """Where the scores of an entry are from: what has the same name is resampled together.

    Attributes:
        episodes, trainings: names of the episodes and of the trainings.
        windows_s: begin and end of every episode on the tape, shape (episodes, 2), if known:
            windows that overlap share arrivals.
    """

    episodes: Hashable = ""
    trainings: Hashable = ""
    windows_s: Floats | None = None


class Sample(NamedTuple):
    """What the scores of one entry add to an estimate, shape (training seeds, episodes)."""

    influence: Floats
    origin: Origin


class Part(NamedTuple):
    """One source of chance: its variance, and for every resample its deviation and variance."""

    variance: float
    deviations: Floats
    variances: Floats


def interval(estimate: float, samples: Sequence[Sample], rng: np.random.Generator) -> Interval:
    """The 95 % interval of an estimate; none where all there is are fewer than two episodes.

    A single training adds nothing: the interval is then of that training.
    """
    groups = grouped(samples, lambda sample: sample.origin.episodes)
    if any(independent(group) < 2.0 for group in groups):
        return Interval(estimate, np.nan, np.nan)
    parts = [episodes_part(group, rng) for group in groups]
    for group in grouped(samples, lambda sample: sample.origin.trainings):
        if len(group[0].influence) > 1:
            parts.append(trainings_part(group, rng))
    error = np.sqrt(sum(part.variance for part in parts))
    deviation = np.sum([part.deviations for part in parts], axis=0)
    errors = np.sqrt(np.sum([part.variances for part in parts], axis=0))
    # A resample of equal values has no error to be divided by: it is as far off as any.
    ratio = deviation / np.maximum(errors, 1e-9 * error + 1e-300)
    low, high = estimate - error * np.quantile(ratio, [(1 + TAKEN) / 2, (1 - TAKEN) / 2])
    return Interval(estimate, float(low), float(high))


def grouped(samples: Sequence[Sample], key: Callable[[Sample], Hashable]) -> list[list[Sample]]:
    """Samples that share their episodes, or their trainings."""
    groups: dict[Hashable, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(key(sample), []).append(sample)
    return list(groups.values())


def independent(group: Sequence[Sample]) -> float:
    """How many independent episodes those of the group are worth."""
    windows_s = group[0].origin.windows_s
    if windows_s is None:
        return float(group[0].influence.shape[1])
    return independent_windows(windows_s)


def episodes_part(group: Sequence[Sample], rng: np.random.Generator) -> Part:
    """What the choice of the episodes does."""
    values = np.sum([sample.influence.mean(axis=0) for sample in group], axis=0)
    apart, count, worth = values - values.mean(), len(values), independent(group)
    # Windows that share arrivals differ less from each other than from other windows.
    variance = (apart**2).sum() / (count - count / worth)
    size = round(worth)
    if size < FEW:
        drawn, least = normal(np.sqrt(variance), size, rng), 0.0
    else:
        drawn, least = apart[rng.integers(count, size=(RESAMPLES, size))], LEAST**2 * variance
    variances = np.maximum(drawn.var(axis=1, ddof=1), least) / size
    return Part(variance / worth, drawn.mean(axis=1), variances)


def normal(scale: float, size: int, rng: np.random.Generator) -> Floats:
    """Normal numbers of mean 0, shape (RESAMPLES, size): half of them and their mirror images."""
    drawn = rng.normal(scale=scale, size=(RESAMPLES // 2, size))
    return np.concatenate([drawn, -drawn])


def worth_text(episodes: int, independent: float) -> str:
    """How many episodes there are, and how many independent ones they are worth."""
    counted = f"{episodes} episode{'s' if episodes > 1 else ''}"
    # Sums of overlaps are exact only to the last bits.
    if independent > episodes - 0.05:
        return counted
    return f"{counted}, worth {independent:.1f} independent ones, as their windows overlap"


def independent_windows(windows_s: Floats) -> float:
    """How many windows side by side would say as much as these, shape (N, 2), of one tape.

    Two windows are as correlated as they overlap, as sums over independent moments are.
    """
    start_s, end_s = windows_s.T
    shared_s = np.minimum.outer(end_s, end_s) - np.maximum.outer(start_s, start_s)
    length_s = end_s - start_s
    correlation = np.maximum(shared_s, 0.0) / np.sqrt(np.outer(length_s, length_s))
    return float(len(windows_s) ** 2 / correlation.sum())


def trainings_part(group: Sequence[Sample], rng: np.random.Generator) -> Part:
    """What the choice of the trainings does, of which there are too few to be resampled."""
    values = np.sum([sample.influence.mean(axis=1) for sample in group], axis=0)
    # Means over few episodes differ also if all trainings are alike.
    noise = sum(interaction(sample.influence) for sample in group)
    variance = max(float(values.var(ddof=1)) - noise, 0.0)
    count = len(values)
    own = normal(np.sqrt(variance), count, rng)
    seen = own + normal(np.sqrt(noise), count, rng)
    variances = np.maximum(seen.var(axis=1, ddof=1) - noise, 0.0)
    return Part(variance / count, own.mean(axis=1), variances / count)


def interaction(influence: Floats) -> float:
    """Variance of a training's mean that is due to its episodes alone."""
    seeds, episodes = influence.shape
    if episodes == 1:
        return 0.0
    rows, columns = influence.mean(axis=1, keepdims=True), influence.mean(axis=0, keepdims=True)
    rest = influence - rows - columns + influence.mean()
    return float((rest**2).sum() / ((seeds - 1) * (episodes - 1)) / episodes)
