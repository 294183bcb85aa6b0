"""The leaderboard as Markdown, for docs/leaderboard.md."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.evaluation.intervals import Interval
from benchmarks.leaderboard.board import Board, Numbers, Standing
from benchmarks.report.page import Table, markdown_part
from benchmarks.suites.suite import Suite

BEST = 3
"""Routers that are named of each entry."""

HEAD = """# Leaderboard

One router for everything: {episodes} test episodes on each of {entries} entries, the same for
everybody, on which no router was trained, tuned or chosen. Every row was computed a second time by
`llmroute validate`. This page is made by `llmroute leaderboard`; the figures are in
`benchmarks/results/leaderboard.json`.

"""

HOW = """
## How to submit
A router is a run directory: `config.json` and `weights.safetensors`, as `llmroute train` writes
them.

```
llmroute train generalist --out runs/mine               # or a router of your own kind
llmroute bench leaderboard --agent runs/mine --out runs/mine-bench --rows-only
llmroute validate runs/mine-bench                       # all cells must be confirmed
llmroute leaderboard runs/mine-bench --board board.json --out board.md   # how it will look
```

Open an issue with the form *A router for the leaderboard* and attach `runs/mine-bench`, `given/`
with the weights included. Whoever keeps this page validates the directory again, on another
machine: a `validated.json` that comes with it counts for nothing. Then
`llmroute leaderboard runs/mine-bench` adds it.

Refused, by the name of what is wrong:

- rows that were not confirmed or have changed since, if only of a single cell;
- rows of other episodes, of another version of an entry, or of only some of the entries;
- other bounds than those of the board;
- a name that stands on the board for other rows.

When an environment's behaviour changes, its figures are of another version: the board begins anew.
"""

OF_ALL = """Interquartile mean, over the episodes of all entries, of the utility as a share of the
clairvoyant bound, which no router can exceed, with the 95 % interval of what other arrivals of
these kinds would come to; mean over the entries of the share of requests in time. Places within
each other's intervals are not told apart. There is no interval where the episodes of an entry are
worth fewer than two independent ones, as those of `overload`, nor then for all entries."""
OF_EACH = """Utility as a share of the peak: what it would be if the largest model answered every
request in time."""


def page(board: Board, suite: Suite) -> str:
    """The whole page."""
    head = HEAD.format(episodes=board.episodes, entries=len(suite.entries))
    tables = "\n".join(markdown_part(table, "") for table in (overall(board), by_entry(board)))
    return head + tables + HOW


def overall(board: Board) -> Table:
    """Routers over all entries, best first."""
    rows = tuple(
        (f"{place}", standing.router, kind(standing), text_of(standing.of_bound), in_time(standing))
        for place, standing in enumerate(board.ranked, 1)
    )
    return Table(
        "",
        ("place", "router", "kind", "utility / bound, IQM", "in time"),
        rows,
        OF_ALL,
    )


def kind(standing: Standing) -> str:
    """Whether it was learned."""
    return "learned, one for all" if standing.learned else "rule, tuned on each entry"


def in_time(standing: Standing) -> str:
    """Mean share of requests in time."""
    shares = [entry.deadline_met for entry in standing.entries.values()]
    return f"{100 * sum(shares) / len(shares):.1f} %"


def by_entry(board: Board) -> Table:
    """The best routers of every entry."""
    places = ("first", "second", "third")[:BEST]
    rows = tuple(
        (entry, f"{bound:.3f}", *best_on(board.standings, entry))
        for entry, bound in board.bounds.items()
    )
    return Table("Entry by entry", ("entry", "bound", *places), rows, OF_EACH)


def best_on(standings: Sequence[Standing], entry: str) -> list[str]:
    """The best routers of one entry, with what they came to."""
    scores = [(s.entries[entry].utility_of_peak, s.router) for s in standings]
    best = sorted(scores, key=lambda score: (-(score[0]["mean"] or 0.0), score[1]))[:BEST]
    return [f"{router} {text_of(numbers)}" for numbers, router in best] + [""] * (BEST - len(best))


def text_of(numbers: Numbers) -> str:
    """An interval as a text."""
    return Interval.from_json(numbers).text()
