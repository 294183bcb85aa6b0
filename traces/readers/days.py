"""Several files of calls per minute, one after the other: parts of a day, or days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from traces.counts import CountTable
from traces.errors import TraceError, require
from traces.readers.reports import ReadReport

DAY_MINUTES = 1440


@dataclass(frozen=True)
class Part:
    """One of several files.

    Attributes:
        day: number of the day in its name, if there is one.
    """

    name: str
    day: int | None
    table: CountTable
    report: ReadReport

    @property
    def first(self) -> int:
        """Label of its first minute."""
        return self.table.first_bin

    @property
    def last(self) -> int:
        """Label of its last minute."""
        return self.first + len(self.table.total) - 1

    @property
    def said(self) -> str:
        """Its name and its minutes, for messages."""
        return f"{self.name} (minutes {self.first} to {self.last})"

    def repeats(self, other: Part) -> bool:
        """Whether both hold the same calls of the same functions; files without calls do not."""
        ours, theirs = self.table, other.table
        same = ours.functions == theirs.functions and bool(ours.counts.any())
        return same and np.array_equal(ours.counts, theirs.counts)


def in_order(parts: Sequence[Part]) -> tuple[list[Part], ReadReport]:
    """Files in the order of their days and minutes, and the rows of all of them together.

    Parts of a day have labels that go on from file to file. Whole days have the same labels; they
    are in the order of the numbers in their names, or as given.

    Raises:
        TraceError: the same calls twice, minutes that overlap, or that are missing within a day.
    """
    numbered = all(part.day is not None for part in parts)
    alike = len({(part.first, part.last) for part in parts}) == 1
    ordered = list(parts)
    if numbered or not alike:
        ordered.sort(key=lambda part: (part.day if numbered and part.day else 0, part.first))
    first = ordered[0].report
    total = ReadReport(first.source, first.strict, first.format)
    for part in ordered:
        total.include(part.report)
    for i, part in enumerate(ordered):
        check_twice(part, ordered[:i], numbered, total)
    if not numbered and alike:
        total.warn("the same minutes in every file: taken for days, one after the other as given")
    else:
        for before, after in pairwise(ordered):
            check_neighbours(before, after, numbered, total)
    if ordered != list(parts):
        total.warn(f"files put in the order of their labels: {', '.join(p.name for p in ordered)}")
    if numbered:
        days = [part.day for part in ordered if part.day is not None]
        total.note("missing days left out", days[-1] - days[0] + 1 - len(set(days)))
    total.sha256 = " ".join(part.report.sha256 for part in ordered)
    return ordered, total


def check_twice(part: Part, others: Sequence[Part], numbered: bool, total: ReadReport) -> None:
    """Refuse a file that holds what another one holds; days by name alike are doubted only."""
    for other in others:
        if not part.repeats(other):
            continue
        if numbered and part.day != other.day:
            total.warn(f"{other.name} and {part.name} hold the same calls")
            continue
        found = f"the same calls twice, {other.said} and {part.said}"
        raise TraceError(f"paths: got {found}; accepted: every file once")


def check_neighbours(before: Part, after: Part, numbered: bool, total: ReadReport) -> None:
    """Refuse parts of a day that overlap or leave minutes out; between days say what is missing."""
    if not numbered or before.day == after.day:
        goes_on = after.first == before.last + 1
        accepted = "parts of a day whose minutes go on from file to file, or days of equal minutes"
        require(goes_on, "paths", f"{before.said}, then {after.said}", accepted)
        return
    if after.first > 1 or before.last < DAY_MINUTES - 1:
        missing = f"minutes between {before.said} and {after.said}"
        total.warn(f"{missing} are left out: one follows the other at once")


def append_day(first: CountTable, day: CountTable) -> CountTable:
    """Two tables one after the other; a function that is absent in one has no calls there.

    Raises:
        TraceError: bins of different length.
    """
    require(first.bin_s == day.bin_s, "bin_s", day.bin_s, f"{first.bin_s:g}, as in the first file")
    keys: dict[tuple[str, int], int] = {}
    rows = [occurrences(table) for table in (first, day)]
    for key in (*rows[0], *rows[1]):
        keys.setdefault(key, len(keys))
    widths = first.counts.shape[1], day.counts.shape[1]
    counts = np.zeros((len(keys), sum(widths)), np.int64)
    triggers: list[str | None] = [None] * len(keys)
    for table, own, start in ((first, rows[0], 0), (day, rows[1], widths[0])):
        index = [keys[key] for key in own]
        counts[index, start : start + table.counts.shape[1]] = table.counts
        for i, trigger in zip(index, table.triggers, strict=True):
            triggers[i] = triggers[i] or trigger
    functions = tuple(name for name, _ in keys)
    provenance = first.provenance.then(f"append {day.provenance.source}")
    return CountTable(counts, functions, tuple(triggers), provenance, first.first_bin, first.bin_s)


def occurrences(table: CountTable) -> list[tuple[str, int]]:
    """Every function with how often its name has occurred before, so that rows stay apart."""
    seen: dict[str, int] = {}
    keys = []
    for name in table.functions:
        keys.append((name, seen.get(name, 0)))
        seen[name] = seen.get(name, 0) + 1
    return keys
