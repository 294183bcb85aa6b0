"""Several files of calls per minute, one after the other."""

from __future__ import annotations

import numpy as np

from traces.counts import CountTable
from traces.errors import require


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
