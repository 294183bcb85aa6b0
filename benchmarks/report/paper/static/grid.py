"""The grid of the paper's setting and ours: its cells, their multiples, and the paper's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.evaluation.metrics import THRESHOLDS
from benchmarks.report.data import Results, ratio
from benchmarks.report.paper.windows import LARGEST, PAPER
from benchmarks.report.text import number
from benchmarks.suites.entries.static import LENGTHS_S, LOADS, WORKLOADS

PAPER_WINDOWS = tuple(PAPER[threshold] for threshold in THRESHOLDS)
RECIPE, BEST_TUNED = "ddqn-paper", "best tuned"
"""The paper's own recipe for learning; the heuristic with the best validation score."""

Multiples = tuple[float | None, ...]
"""Windows at each of THRESHOLDS as multiples of those of the largest model alone."""


@dataclass(frozen=True)
class Setting:
    """What happens to hopeless requests, and on which GPUs.

    Attributes:
        name: as tables say it; words: as sentences do.
        grid: beginning of the ids of its grid; alone: of those with more GPUs and no router.
    """

    name: str
    words: str
    grid: str
    alone: str


STATIC = Setting("nothing shed", "with nothing shed", "static-", "static-")
SHEDDING = Setting("shedding", "with shedding", "", "shedding-")
H100 = Setting("nothing shed, H100", "with nothing shed on H100", "static-h100-", "static-h100-")
SETTINGS = (STATIC, SHEDDING, H100)


class Spot(NamedTuple):
    """One workload at one load, in episodes of one length, in one setting."""

    setting: Setting
    workload: str
    load: float
    length_s: float

    @property
    def entry(self) -> str:
        """Id of the entry at this spot."""
        length = f"-{self.length_s:g}s" if self.length_s > LENGTHS_S[0] else ""
        return f"{self.setting.grid}{self.workload}-load-{self.load:g}{length}"


class Case(NamedTuple):
    """A spot and the length of the windows that are counted there."""

    spot: Spot
    window_s: float

    def __str__(self) -> str:
        """As a sentence says it."""
        spot = self.spot
        return (
            f"{spot.workload} at load {spot.load:g}, episodes of {spot.length_s:g} s, "
            f"windows of {self.window_s:g} s"
        )


def chosen(results: Results) -> str | None:
    """The learned router that the chapter is on: the headline one, unless others met more of it.

    On what is shed, and where one choice is changed, not every router is run.
    """
    looked_at = [*results.tagged("grid"), *results.tagged("static-sensitivity")]
    met = {
        agent: sum((entry, agent) in results.cells for entry in looked_at)
        for agent in sorted({agent for entry in looked_at for agent in results.learned(entry)})
    }
    return max(met, key=lambda a: (met[a], a == results.headline), default=results.headline)


def spots(results: Results, setting: Setting) -> list[Spot]:
    """Those of a setting on which the largest model alone has rows."""
    every = [
        Spot(setting, workload, load, length_s)
        for workload in WORKLOADS
        for load in LOADS
        for length_s in LENGTHS_S
    ]
    return [spot for spot in every if (spot.entry, LARGEST) in results.cells]


def router(results: Results, entry: str, who: str | None) -> str | None:
    """The router of that name, or the best tuned one, if it has rows there."""
    agent = results.best_tuned(entry) if who == BEST_TUNED else who
    return agent if (entry, agent) in results.cells else None


def multiples(results: Results, entry: str, who: str | None, window_s: float) -> Multiples | None:
    """Multiples of a router on an entry; None without its rows or the largest model's alone."""
    agent = router(results, entry, who)
    if agent is None or (entry, LARGEST) not in results.cells:
        return None
    ours, theirs = results.cells[entry, agent], results.cells[entry, LARGEST]
    return tuple(ratio(ours.windows(t, window_s), theirs.windows(t, window_s)) for t in THRESHOLDS)


def cases(results: Results, setting: Setting, who: str | None) -> dict[Case, Multiples]:
    """Multiples of a router in every case that has rows."""
    every = [Case(s, w) for s in spots(results, setting) for w in results.windows_s]
    found = {case: multiples(results, case.spot.entry, who, case.window_s) for case in every}
    return {case: values for case, values in found.items() if values is not None}


def reached(values: Multiples) -> tuple[bool, ...]:
    """At which thresholds a case has at least the paper's multiple."""
    pairs = zip(values, PAPER_WINDOWS, strict=True)
    return tuple(value is not None and value >= paper for value, paper in pairs)


def counts(found: Iterable[Multiples]) -> tuple[int, ...]:
    """In how many cases the paper's multiple is reached, by threshold."""
    hits = [reached(values) for values in found]
    return tuple(sum(hit[i] for hit in hits) for i in range(len(THRESHOLDS)))


def distance(values: Multiples) -> float:
    """Sum of the squared log ratios to the paper's three multiples; infinite without all three."""
    if not all(values):
        return math.inf
    pairs = zip(values, PAPER_WINDOWS, strict=True)
    return sum(math.log(value / paper) ** 2 for value, paper in pairs if value)


def nearest(found: Mapping[Case, Multiples]) -> Case | None:
    """The case nearest to the paper's three multiples together."""
    known = [case for case in found if math.isfinite(distance(found[case]))]
    return min(known, key=lambda case: distance(found[case]), default=None)


def text(values: Multiples | None) -> str:
    """Multiples by threshold, or a dash."""
    return "-" if values is None else " / ".join(number(value, 2) for value in values)
