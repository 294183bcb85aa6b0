"""The paper's setting, in which nothing is shed, beside ours: words and tables, from rows."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report.data import SCORE, Results
from benchmarks.report.page import Part, Table
from benchmarks.report.paper.claims import available
from benchmarks.report.paper.static import choices, figures, gpus
from benchmarks.report.paper.static.grid import (
    BEST_TUNED,
    H100,
    PAPER_WINDOWS,
    RECIPE,
    SHEDDING,
    STATIC,
    Setting,
    Spot,
    chosen,
    multiples,
    router,
    spots,
    text,
)
from benchmarks.report.paper.static.sensitivity import sensitivity
from benchmarks.report.paper.static.words import LEVELS, STEEP, TAG, of_availability, of_windows
from benchmarks.report.paper.windows import LARGEST
from benchmarks.report.text import number
from benchmarks.tables import percent

TITLE = "The paper's setting: nothing is shed"
IN_TABLES_S = (1.0, 5.0, 10.0)
"""Lengths of windows that tables show; the figure shows all."""


def parts(results: Results) -> list[Part]:
    """The chapter, if there are rows of the setting."""
    if not any(spots(results, setting) for setting in (STATIC, H100)) and not results.tagged(TAG):
        return []
    return [
        *words(results),
        *figures.windows(results),
        *choices.where(results),
        *figures.gpus(results),
        *gpus.table(results),
        *sensitivity(results),
        *available(results, TAG),
        *grid(results, STATIC, (chosen(results), RECIPE, BEST_TUNED)),
        *grid(results, SHEDDING, (chosen(results), STEEP)),
        *grid(results, H100, (chosen(results), RECIPE, STEEP)),
    ]


def words(results: Results) -> Iterator[str]:
    """A paragraph on the setting, one on each of the headline figures, one on what matters."""
    yield introduction(results)
    yield from of_availability(results)
    yield from of_windows(results)
    yield from gpus.words(results)
    yield from choices.words(results)


def introduction(results: Results) -> str:
    """What the setting is, and whether its queues are ever full."""
    setting = (
        "The paper does not say that a request is ever dropped, and static serving drops none. "
        "Here nothing is dropped either: a request that can no longer be in time is still served, "
        "and holds up those behind it. The default of this environment sheds such requests; those "
        "figures are marked as with shedding."
    )
    found = [
        results.cells[s.entry, a] for s in spots(results, STATIC) for a in results.agents(s.entry)
    ]
    if not found:
        return setting
    most = max(cell.of_requests("rejected") for cell in found)
    queues = "no queue was ever full" if most == 0 else f"at most {percent(most)} met a full queue"
    return f"{setting} On the grid of workloads, loads and lengths of episodes {queues}."


def grid(results: Results, setting: Setting, whose: tuple[str | None, ...]) -> list[Part]:
    """Every workload, load and length of episodes of a setting, router by router."""
    lengths = [w for w in IN_TABLES_S if w in results.windows_s]
    rows = []
    for spot in spots(results, setting):
        alone = number(results.cells[spot.entry, LARGEST].mean(SCORE))
        for who in dict.fromkeys(whose):
            agent = router(results, spot.entry, who)
            if agent is None:
                continue
            name = f"{who}: {agent}" if who == BEST_TUNED else agent
            score = number(results.cells[spot.entry, agent].mean(SCORE))
            each = [text(multiples(results, spot.entry, agent, w)) for w in lengths]
            rows.append((spot.workload, episode(spot), name, *each, score, alone))
    head = (
        *("workload", "load, episodes", "router"),
        *(f"windows of {w:g} s" for w in lengths),
        *("utility of peak", f"{LARGEST} alone"),
    )
    note = (
        f"Windows at >= {' / '.join(LEVELS)} % of peak as multiples of those of {LARGEST} alone; "
        f"the paper: {' / '.join(f'{value:g}' for value in PAPER_WINDOWS)}. A dash: it has no such "
        "window."
    )
    return [Table(f"(b) The grid, {setting.name}", head, tuple(rows), note)] if rows else []


def episode(spot: Spot) -> str:
    """Load and length of the episodes."""
    return f"{spot.load:g}, {spot.length_s:g} s"
