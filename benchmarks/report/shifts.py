"""Routers that meet what they were not trained or tuned on."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.report.data import SCORE, Results
from benchmarks.report.page import Table
from benchmarks.report.text import number

Cells = Mapping[tuple[str, str], str]
"""Entries by (trained on, tested on)."""


def worst_transfer(results: Results, cells: Cells, agent: str) -> float | None:
    """Least of: utility of peak trained elsewhere, minus that trained on the test's own kind."""
    scores = {
        pair: results.cells[entry, agent].mean(SCORE)
        for pair, entry in cells.items()
        if (entry, agent) in results.cells
    }
    own = {test: score for (train, test), score in scores.items() if train == test}
    losses = [score - own[test] for (_, test), score in scores.items() if test in own]
    return min(losses) if len(losses) > len(own) else None


def matrix(results: Results, title: str, entries: Cells, agent: str) -> Table:
    """Utility of peak by what a router was trained, or tuned, and tested on."""
    names = list(dict.fromkeys(train for train, _ in entries))
    rows = [
        (
            train,
            *(
                number(results.cells[entries[train, test], agent].mean(SCORE))
                if (entries[train, test], agent) in results.cells
                else "-"
                for test in names
            ),
        )
        for train in names
    ]
    return Table(
        f"{title}: {agent}",
        ("trained or tuned on", *(f"on {name}" for name in names)),
        tuple(rows),
        "Utility of peak. Read columns: the same episodes. At worst "
        f"{number(worst_transfer(results, entries, agent))} against the diagonal.",
    )
