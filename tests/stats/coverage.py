"""How often intervals called 95 % hold what they estimate, on distributions that are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation.intervals import Interval, Origin
from benchmarks.evaluation.stats import IQM, MEAN, Statistic, crossed_bootstrap

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]

DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "log-normal": lambda rng, shape: rng.lognormal(size=shape),
    "log-normal, sigma 1.5": lambda rng, shape: rng.lognormal(0.0, 1.5, size=shape),
    "Student's t, 3 degrees": lambda rng, shape: rng.standard_t(3, size=shape),
}
SEEDS, EPISODES = 5, 32
# Standard deviations of seeds, and scales of episodes and of what both do together.
CROSSED = {
    "seeds dominate": (1.0, 0.1, 0.03),
    "episodes dominate": (0.02, 1.0, 0.3),
    "both": (0.2, 1.0, 0.3),
}
WINDOW_S = 30
TAPES_S = (172, 240, 960)
"""Spans of the test splits of `azure-code`, `stable` and `unpredictable-1`."""


@dataclass(frozen=True)
class Case:
    """Scores, and where they are from."""

    name: str
    statistic: Statistic
    long_run: Callable[[], float]
    draw: Callable[[np.random.Generator], tuple[Floats, Floats | None]]

    @cached_property
    def truth(self) -> float:
        """What they would come to without end."""
        return self.long_run()

    @property
    def row(self) -> str:
        return f"{self.name}, {'mean' if self.statistic is MEAN else 'IQM'}"


def cases() -> Iterator[Case]:
    for statistic in (MEAN, IQM):
        for name, draw in DISTRIBUTIONS.items():
            yield from one_training(name, draw, statistic)
        for name in ("normal", "log-normal"):
            yield from crossed(name, DISTRIBUTIONS[name], statistic)
    for name in ("normal", "log-normal"):
        yield from tapes(name, DISTRIBUTIONS[name])


def one_training(name: str, draw: Draw, statistic: Statistic) -> Iterator[Case]:
    means = {"log-normal": np.exp(0.5), "log-normal, sigma 1.5": np.exp(1.125)}

    @cache
    def truth() -> float:
        if statistic is MEAN:
            return means.get(name, 0.0)
        return statistic.value(draw(np.random.default_rng(0), (4_000_000,)))

    for n in (8, 16, 32):
        yield Case(f"{name}, n = {n}", statistic, truth, lambda rng, n=n: (draw(rng, (1, n)), None))


def crossed(name: str, draw: Draw, statistic: Statistic) -> Iterator[Case]:
    for what, (luck, scale, rest) in CROSSED.items():

        def scores(
            rng: np.random.Generator, seeds: int, episodes: int, sizes: tuple[float, float, float]
        ) -> Floats:
            trainings = sizes[0] * rng.normal(size=(seeds, 1))
            both = sizes[2] * rng.normal(size=(seeds, episodes))
            return trainings + sizes[1] * draw(rng, (1, episodes)) + both

        sizes = luck, scale, rest

        def truth(scale: float = scale, sizes: tuple[float, float, float] = sizes) -> float:
            if statistic is MEAN:
                return scale * (np.exp(0.5) if name == "log-normal" else 0.0)
            return statistic.value(scores(np.random.default_rng(0), 2000, 2000, sizes))

        yield Case(
            f"{SEEDS} training seeds x {EPISODES} episodes, {what}, {name}",
            statistic,
            truth,
            lambda rng, sizes=sizes: (scores(rng, SEEDS, EPISODES, sizes), None),
        )


def tapes(name: str, draw: Draw) -> Iterator[Case]:
    """Means over windows of one tape of independent seconds; the truth is that of all tapes."""
    truth = float(np.exp(0.5)) if name == "log-normal" else 0.0
    for span_s in TAPES_S:

        def scores(rng: np.random.Generator, span_s: int = span_s) -> tuple[Floats, Floats]:
            earned = np.concatenate([[0.0], np.cumsum(draw(rng, (span_s,)))])
            start_s = rng.uniform(0, span_s - WINDOW_S, size=EPISODES)
            windows_s = np.stack([start_s, start_s + WINDOW_S], axis=1)
            low, high = np.interp(windows_s, np.arange(span_s + 1), earned).T
            return (high - low)[None, :] / WINDOW_S, windows_s

        yield Case(
            f"{EPISODES} windows of {WINDOW_S} s of {span_s} s, {name}", MEAN, lambda: truth, scores
        )


def ours(case: Case, rng: np.random.Generator) -> Interval:
    scores, windows_s = case.draw(rng)
    return crossed_bootstrap([scores], rng, case.statistic, [Origin(windows_s=windows_s)])


def percentile(case: Case, rng: np.random.Generator) -> Interval:
    """The usual percentile bootstrap of seeds and episodes, which knows no windows."""
    scores, _ = case.draw(rng)
    rows, columns = (rng.integers(n, size=(500, n)) for n in scores.shape)
    drawn = [case.statistic.value(scores[np.ix_(r, c)]) for r, c in zip(rows, columns, strict=True)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(case.statistic.value(scores), float(low), float(high))


def coverage(
    case: Case, method: Callable[[Case, np.random.Generator], Interval], repetitions: int
) -> float:
    """Share of the intervals that hold the truth."""
    rng = np.random.default_rng(7)
    found = [method(case, rng) for _ in range(repetitions)]
    return float(np.mean([i.ci_low <= case.truth <= i.ci_high for i in found]))
