"""The results of Learned Best-Effort LLM Serving (arXiv 2401.07886) in full, from rows."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.report.data import AVAILABLE, SCORE, Results, ratio
from benchmarks.report.page import Part, Table
from benchmarks.report.paper import windows
from benchmarks.report.paper.windows import LARGEST
from benchmarks.report.shifts import Cells, matrix
from benchmarks.report.text import load_text, number
from benchmarks.suites.entries.every import ARRIVALS, MIXES

DEADLINES = ("unpredictable-1", "soft", "soft-steep", "deadline-tight", "deadline-loose")
LEVELS = (AVAILABLE, 0.95, 0.9)
"""Shares in time: availability, and what a router that gives up a few requests reaches."""

WITH_SHEDDING = ("availability", "availability-8gpu")
"""Tags of the entries of constant rate, on four and on eight GPUs."""

MATRICES: dict[str, Cells] = {
    "task mixes": {(a, b): f"mix-{a}-to-{b}" for a in MIXES for b in MIXES},
    "arrivals": {
        (a, b): a if a == b else f"arrivals-{a}-to-{b}" for a in ARRIVALS for b in ARRIVALS
    },
}
"""Entries by (trained on, tested on)."""


def parts(results: Results) -> list[Part]:
    """Results (a) to (e) in full, where there are rows for them."""
    return [
        *available(results, *WITH_SHEDDING),
        *per_gpu(results),
        *windows.parts(results),
        *matrices(results),
        *deadlines(results),
    ]


def available(results: Results, tag: str, tag_of_eight: str | None = None) -> list[Part]:
    """(a) highest available rate, and (c) the same per GPU against eight GPUs, if that was run."""
    entries = results.tagged(tag)
    if not entries:
        return []
    # Load 1 of eight GPUs is twice that of four, so per GPU loads compare as they are.
    against = {f"/ {LARGEST} alone": results.highest_available(tag, LARGEST)}
    if tag_of_eight:
        eight = results.highest_available(tag_of_eight, LARGEST)
        against[f"per GPU / {LARGEST} alone on 8 GPUs"] = eight
    rows = []
    for agent in results.agents(entries[0]):
        load = results.highest_available(tag, agent)
        loads = [load_text(results, agent, level, tag) for level in LEVELS]
        rows.append((agent, *loads, *(number(ratio(load, o), 2) for o in against.values())))
    highest = max(results.cells[e, results.agents(e)[0]].first["load"] for e in entries)
    what = "with shedding, and (c) per GPU" if tag_of_eight else "nothing shed"
    return [
        Table(
            f"(a) Highest available arrival rate, stable workload, {what}",
            ("router", *(f"load, {100 * level:.0f} % in time" for level in LEVELS), *against),
            tuple(rows),
            "Available: at least 99 % of the requests in time; ratios are of these. The paper: "
            "above 10 times OPT-6.7B alone. Highest load tried: "
            f"{highest:g}. How far a router can go is set by the smallest model, that is by the "
            "latency profile and the deadline, both ours.",
        )
    ]


class SameRate(NamedTuple):
    """Utility of peak at one arrival rate, given in units of load 1 of four GPUs."""

    rate: float
    four: float
    eight: float

    @property
    def per_gpu(self) -> float:
        """Utility per GPU of four as a multiple of that of eight."""
        return 2 * self.four / max(self.eight, 1e-12)


def same_rates(results: Results, agent: str) -> list[SameRate]:
    """A router on four GPUs and the largest model alone on eight, by rising rate."""
    eight = dict(zip(*map(list, results.curve("availability-8gpu", LARGEST, SCORE)), strict=True))
    four = zip(*results.curve("availability", agent, SCORE), strict=True)
    return [SameRate(load, score, eight[load / 2]) for load, score in four if load / 2 in eight]


def per_gpu(results: Results) -> list[Part]:
    """(c) utility per GPU at the same arrival rate."""
    rows = [
        (f"{pair.rate:g}", number(pair.four), number(pair.eight), number(pair.per_gpu, 2))
        for pair in same_rates(results, str(results.headline))
    ]
    head = ("load of 4 GPUs", f"{results.headline}, 4 GPUs", f"{LARGEST}, 8 GPUs", "per GPU")
    note = (
        "Utility of peak at the same arrival rate, and utility per GPU as a multiple. The paper: "
        "about 3.9 times. The multiple is at most 2 where eight GPUs answer everything with the "
        "largest model, and grows without bound where these fail: it is a matter of the rate."
    )
    return (
        [Table("(c) Performance per GPU, stable workload, with shedding", head, tuple(rows), note)]
        if rows
        else []
    )


def matrices(results: Results) -> list[Part]:
    """(d) robustness: trained here, tested there."""
    found: list[Part] = []
    for what, cells in MATRICES.items():
        if set(cells.values()) <= set(results.entries):
            agents = [agent for agent in (results.headline, "largest-feasible") if agent]
            found += [matrix(results, f"(d) Robustness to other {what}", cells, a) for a in agents]
    return found


def deadlines(results: Results) -> list[Part]:
    """(e) hard and soft deadlines."""
    entries = [entry for entry in DEADLINES if entry in results.entries]
    if len(entries) < 2:
        return []
    rows = []
    for entry in entries:
        learned = results.learned(entry)
        names = (learned[0] if learned else None, results.best_tuned(entry), LARGEST)
        texts = [scored(results, entry, name) for name in names]
        bound = results.cells[entry, results.agents(entry)[0]].mean("bound_of_peak")
        rows.append((entry, *texts, number(bound)))
    head = ("entry", "best learned", "best tuned", "largest alone", "bound")
    return [Table("(e) Deadlines: hard, soft, tight and loose", head, tuple(rows))]


def scored(results: Results, entry: str, agent: str | None) -> str:
    """A router's name and utility of peak, or a dash."""
    if agent is None or (entry, agent) not in results.cells:
        return "-"
    return f"{agent} {results.cells[entry, agent].mean('utility_of_peak'):.3f}"
