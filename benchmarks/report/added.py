"""The chapter on guarded routers: how often networks overrule their guards, and what for."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report.data import Results
from benchmarks.report.guards import gain_over_guard, overruled, verdict
from benchmarks.report.page import Section, Table
from benchmarks.report.text import OF_INTERVALS
from benchmarks.tables import percent

TITLE, HOW = "What networks add to their guards", "How often each overrules its guard, and what for"


def sections(results: Results) -> list[Section]:
    """The chapter, where rows tell of guards."""
    rows = [row for entry in judged(results) for row in rows_of(results, entry)]
    head = ("entry", "router", "guard", "training seeds", "overruled", "gain over the guard", "")
    note = (
        "A guarded router is a heuristic that its network may overrule. Overruled: share of the "
        "decisions in which it did. Gain: utility of peak minus that of the guard alone in the "
        "same episodes, mean over training seeds and episodes. A router whose network never "
        f"overruled is its guard, whatever it earns: nothing was learned. {OF_INTERVALS}"
    )
    return [Section(TITLE, (Table(HOW, head, tuple(rows), note),))] if rows else []


def judged(results: Results) -> Sequence[str]:
    """Entries on which learned routers are judged."""
    return list(dict.fromkeys([*results.main, *results.unseen])) or results.entries


def rows_of(results: Results, entry: str) -> list[tuple[str, ...]]:
    """Every guarded router of one entry, best first."""
    rows: list[tuple[str, ...]] = []
    for agent in results.learned(entry):
        cell = results.cells[entry, agent]
        shares = overruled(cell)
        if shares is None:
            continue
        guards = " or ".join(sorted({row["guard"]["heuristic"] for row in cell.rows}))
        gained = gain_over_guard(cell).text(4, sign="+")
        share = percent(float(shares.mean()))
        rows.append((entry, agent, guards, f"{len(shares)}", share, gained, verdict(cell)))
    return rows
