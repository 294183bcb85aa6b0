"""Result (c) of the paper, utility per GPU, at the arrivals of the unpredictable workloads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.report.data import SCORE, Results, ratio
from benchmarks.report.page import Part, Table
from benchmarks.report.paper.static.grid import (
    RECIPE,
    SETTINGS,
    SHEDDING,
    STATIC,
    Setting,
    Spot,
    chosen,
    router,
)
from benchmarks.report.paper.windows import LARGEST
from benchmarks.report.text import listed, number
from benchmarks.suites.entries.static import GPUS, LENGTHS_S, LOADS, WORKLOADS

PAPER_PER_GPU, FOUR, EIGHT = 3.9, 4, 8


@dataclass(frozen=True)
class Match:
    """Utility of peak at one arrival rate: a router's on four GPUs, and the largest model's alone.

    Attributes:
        spot: workload and load of four GPUs.
        router: utility of peak; None without rows.
        alone: that of the largest model alone, by rising number of GPUs.
    """

    spot: Spot
    router: float | None
    alone: Mapping[int, float]

    @property
    def per_gpu(self) -> float | None:
        """Utility per GPU of four with the router, as a multiple of that of eight without."""
        whole = ratio(self.router, self.alone.get(EIGHT))
        return None if whole is None else whole * EIGHT / FOUR

    @property
    def gpus(self) -> float | None:
        """GPUs on which the largest model alone earns as much; None if all that were run are less.

        Linear between the numbers that were run; at most the first of these.
        """
        points = list(self.alone.items())
        wanted = self.router or 0.0
        if points and points[0][1] >= wanted:
            return float(points[0][0])
        for (few, less), (many, more) in pairwise(points):
            if more >= wanted:
                return few + (many - few) * (wanted - less) / (more - less)
        return None

    @property
    def gpus_text(self) -> str:
        """The number of GPUs, or its limit if it lies outside of what was run."""
        if self.router is None or len(self.alone) < 2:
            return "-"
        if self.gpus is None:
            return f"> {max(self.alone)}"
        return f"{'<= ' if self.gpus == min(self.alone) else ''}{self.gpus:.1f}"


def match(results: Results, spot: Spot, who: str | None) -> Match:
    """What there is of a router and of the largest model alone at the arrivals of a spot."""
    ids = {FOUR: spot.entry}
    ids |= {n: f"{spot.setting.alone}{spot.workload}-load-{spot.load:g}-on-{n}" for n in GPUS}
    alone = {
        gpus: results.cells[entry, LARGEST].mean(SCORE)
        for gpus, entry in ids.items()
        if (entry, LARGEST) in results.cells
    }
    agent = router(results, spot.entry, who)
    own = results.cells[spot.entry, agent].mean(SCORE) if agent else None
    return Match(spot, own, alone)


def matches(results: Results, setting: Setting, who: str | None) -> list[Match]:
    """Every workload and load of a setting at which a router and eight GPUs have rows."""
    spots = [Spot(setting, w, load, LENGTHS_S[0]) for w in WORKLOADS for load in LOADS]
    found = [match(results, spot, who) for spot in spots]
    return [m for m in found if m.per_gpu is not None]


def table(results: Results) -> list[Part]:
    """Per GPU, and the number of GPUs that four with a router do the work of."""
    who = chosen(results)
    rows = [
        line(pair, match(results, pair.spot, RECIPE))
        for setting in SETTINGS
        for pair in matches(results, setting, who)
    ]
    head = (
        *("setting", "workload", "load", f"{who}, {FOUR} GPUs"),
        *(f"{LARGEST}, {gpus}" for gpus in (FOUR, *GPUS)),
        *("per GPU", f"{FOUR} do the work of", f"{RECIPE}: per GPU", f"{FOUR} do the work of"),
    )
    note = (
        f"Utility of peak at the same arrivals, by number of GPUs; loads are those of {FOUR}. Per "
        f"GPU: utility per GPU of {FOUR} with the router as a multiple of that of {EIGHT} with "
        f"{LARGEST} alone; the paper: {PAPER_PER_GPU}. The work of: the number of GPUs at which "
        f"{LARGEST} alone earns as much, linear between the numbers that were run."
    )
    title = "(c) Performance per GPU, unpredictable workloads"
    return [Table(title, head, tuple(rows), note)] if rows else []


def line(learned: Match, recipe: Match) -> tuple[str, ...]:
    """A row of the table."""
    spot = learned.spot
    scores = (learned.router, *(learned.alone.get(gpus) for gpus in (FOUR, *GPUS)))
    found = [(number(m.per_gpu, 2), m.gpus_text) for m in (learned, recipe)]
    where = (spot.setting.name, spot.workload, f"{spot.load:g}")
    return (*where, *map(number, scores), *found[0], *found[1])


def words(results: Results) -> Iterator[str]:
    """Where the paper's multiple is reached, and what four GPUs with a router stand for."""
    who = chosen(results)
    wanted = [(STATIC, who), (STATIC, RECIPE), *((setting, who) for setting in SETTINGS[1:])]
    pairs = {key: matches(results, *key) for key in wanted}
    found = {key: known for key, known in pairs.items() if known}
    if any(setting != SHEDDING for setting, _ in found):
        yield (
            f"(c) Utility per GPU of {FOUR} GPUs with a router, as a multiple of that of {LARGEST} "
            f"alone on {EIGHT} at the same arrivals; {PAPER_PER_GPU} in the paper. "
            + " ".join(sentence(*key, known) for key, known in found.items())
            + f" Where {EIGHT} GPUs answer everything with the largest model it cannot exceed 2."
        )


def sentence(setting: Setting, who: str | None, found: list[Match]) -> str:
    """One router in one setting."""
    known = [m for m in found if m.per_gpu is not None]
    hits = sum(m.per_gpu >= PAPER_PER_GPU for m in known if m.per_gpu is not None)
    verdict = f"reproduced in {hits} of {len(known)} cases" if hits else "not reproduced"
    return (
        f"{setting.words[0].upper()}{setting.words[1:]}, {who}: {verdict}, "
        f"{listed([of_workload(name, known) for name in workloads(known)])}."
    )


def workloads(found: list[Match]) -> list[str]:
    """Names of the workloads of the matches, in order."""
    return list(dict.fromkeys(m.spot.workload for m in found))


def of_workload(name: str, found: list[Match]) -> str:
    """Multiples on one workload by load, and the GPUs that four do the work of."""
    own = [m for m in found if m.spot.workload == name]
    each = [f"{number(m.per_gpu, 2)} at load {m.spot.load:g}" for m in own]
    gpus = [m.gpus_text for m in own]
    return f"{name} {', '.join(each)} ({FOUR} GPUs with the router do the work of {listed(gpus)})"


def short(results: Results, setting: Setting, who: str | None) -> list[str]:
    """For the summary: the range of the multiples, workload by workload."""
    found = matches(results, setting, who)
    texts = []
    for name in workloads(found):
        values = [m.per_gpu for m in found if m.spot.workload == name and m.per_gpu is not None]
        texts.append(f"{name} {span(values)} x")
    return texts


def span(values: list[float]) -> str:
    """The least and the largest of the values as text."""
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"
