"""MAF 2019: one row a function, one column a minute, in all variants that are in circulation."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from traces.counts import CountTable
from traces.errors import TraceError
from traces.readers.blocks import Block
from traces.readers.counts_layout import IDS, Layout, layout_of
from traces.readers.reports import Fault, Mask, ReadReport
from traces.readers.tables import csv_frame, well_formed
from traces.readers.values import numbers, ungrouped
from traces.tasks import TASKS, task_of_function
from traces.trace import Provenance

LARGEST_COUNT = 2**40
"""Calls per minute; a larger one is damage, and a million such rows would overflow int64."""


@dataclass
class Rows:
    """Functions read so far; when merged, one row for each task and trigger."""

    counts: list[NDArray[Any]] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    triggers: list[str | None] = field(default_factory=list)


class CountsReader:
    """Reads the rows of one counts file, block by block: `take` them, then ask for the `table`.

    With `merge` only sums by task and trigger are kept, so that memory does not grow with the file.
    """

    def __init__(self, header: bytes, layout: Layout, report: ReadReport, merge: bool) -> None:
        self.header = header + b"\n"
        self.layout, self.report, self.merge = layout, report, merge
        self.rows = Rows()
        self.merged: dict[tuple[int, str | None], NDArray[np.int64]] = {}
        self.seen: set[int] = set()
        report.format = "maf2019"
        report.columns = layout.roles
        report.note("warm-up minutes left out", layout.warm_up)
        if layout.is_bare:
            report.warn("the first line is taken for labels of minutes, as it counts from 1 on")

    def take(self, block: Block) -> None:
        """Add the good rows of a block; count the others.

        Raises:
            TraceError: the header comes again, whose labels would pass for calls.
        """
        if block.text.startswith(self.header) or b"\n" + self.header in block.text:
            found = "the header once more among the rows, as of several files in one"
            raise TraceError(f"{self.report.source}: got {found}; accepted: each file by its name")
        block = well_formed(block, self.layout.width, self.report)
        if not len(block.lines):
            return
        counts, bad, first_bad = self._counts(block)
        functions, triggers, ids = self._names(block)
        whole = "a whole number from 0 to 2^40"
        faults = [
            Fault(f"count is not {whole}", bad, first_bad, f"{whole} in every minute"),
            Fault("duplicate row", self._duplicates(ids, triggers, counts, ~bad), functions),
        ]
        keep = self.report.judge(block.lines, faults)
        kept = np.flatnonzero(keep)
        self._add(counts[keep], [functions[i] for i in kept], [triggers[i] for i in kept])

    def _counts(self, block: Block) -> tuple[NDArray[np.int64], Mask, dict[int, str]]:
        """Counts, bad rows, and the first bad cell, by its row."""
        fast = whole_numbers(block, self.layout)
        if fast is None:
            return self._counts_of_text(block)
        outside: Mask = (fast < 0) | (fast > LARGEST_COUNT)
        bad = np.asarray(outside.any(axis=1))
        row = int(bad.argmax())
        return fast, bad, {row: str(fast[row, outside[row].argmax()])}

    def _counts_of_text(self, block: Block) -> tuple[NDArray[np.int64], Mask, dict[int, str]]:
        """Counts and bad rows of a block where not every cell is a plain integer.

        Cells such as `5.0` are whole numbers, empty ones count as 0, all else makes a row bad.
        """
        frame = csv_frame(block, self.layout.width, self.layout.minutes)
        values = np.empty((len(frame), frame.width))
        empty = 0
        for i, column in enumerate(frame.get_columns()):
            blank = (column.fill_null("").str.strip_chars() == "").to_numpy()
            values[:, i] = np.where(blank, 0.0, numbers(ungrouped(column, self.report)))
            empty += int(blank.sum())
        self.report.note("empty cells taken for 0", empty)
        with np.errstate(invalid="ignore"):
            good = (values >= 0) & (values <= LARGEST_COUNT) & (values == np.floor(values))
        bad = ~good.all(axis=1)
        row = int(bad.argmax())
        first = {row: str(frame[row, int(good[row].argmin())])}
        return np.where(good, values, 0).astype(np.int64), bad, first

    def _names(
        self, block: Block
    ) -> tuple[list[str], list[str | None], list[tuple[str, ...]] | None]:
        """Functions, triggers, and the ids of a function where they name it wholly."""
        trigger = () if self.layout.trigger is None else (self.layout.trigger,)
        functions = [f"line {line}" for line in block.lines]
        triggers: list[str | None] = [None] * len(functions)
        wanted = (*self.layout.ids, *trigger)
        if not wanted:
            return functions, triggers, None
        frame = csv_frame(block, self.layout.width, wanted)
        cells = [column.fill_null("").str.strip_chars().to_list() for column in frame.get_columns()]
        if trigger:
            triggers = [cell or None for cell in cells.pop()]
        ids = list(zip(*cells, strict=True))
        whole = ids if len(self.layout.ids) == len(IDS) else None
        return ["/".join(parts) for parts in ids] or functions, triggers, whole

    def _duplicates(
        self,
        ids: list[tuple[str, ...]] | None,
        triggers: list[str | None],
        counts: NDArray[np.int64],
        good: Mask,
    ) -> Mask:
        """Good rows whose function, trigger and counts have all been read before."""
        again = np.zeros(len(counts), np.bool_)
        # Only owner, app and function together name a function: what lacks one of them, or comes
        # again with other counts, may be another, and is kept.
        if ids is None:
            return again
        for row in np.flatnonzero(good):
            if all(ids[row]):
                content = hash((ids[row], triggers[row], counts[row].tobytes()))
                again[row] = content in self.seen
                self.seen.add(content)
        return again

    def _add(
        self, counts: NDArray[np.int64], functions: list[str], triggers: list[str | None]
    ) -> None:
        if not self.merge:
            # Most counts are small; eight bytes for each would be several times the file.
            largest = int(counts.max(initial=0))
            self.rows.counts.append(counts.astype(np.min_scalar_type(largest)))
            self.rows.functions += functions
            self.rows.triggers += triggers
            return
        keys = [(task_of_function(f), t) for f, t in zip(functions, triggers, strict=True)]
        for key in set(keys):
            sums = counts[[own == key for own in keys]].sum(axis=0)
            self.merged[key] = self.merged.get(key, np.zeros(len(sums), np.int64)) + sums

    def table(self, sha256: str) -> CountTable:
        """The rows that were kept, as counts by function, or by task and trigger if merged.

        Args:
            sha256: fingerprint of the file, for the provenance.

        Raises:
            TraceError: no row was kept.
        """
        report = self.report
        if not report.rows_kept:
            found = f"{report.rows_read} rows, of which none is usable{report.losses()}"
            raise TraceError(f"{report.source}: got {found}; accepted: at least one function")
        provenance = Provenance(report.source, sha256, ("read maf2019",))
        if self.merge:
            return self._merged_table(provenance.then("merged by task and trigger"))
        return CountTable(
            stacked(self.rows.counts, report.rows_kept),
            tuple(self.rows.functions),
            tuple(self.rows.triggers),
            provenance,
            self.layout.first_minute,
        )

    def _merged_table(self, provenance: Provenance) -> CountTable:
        keys = sorted(self.merged, key=str)
        return CountTable(
            np.stack([self.merged[key] for key in keys]),
            tuple(name_with_task(task, trigger) for task, trigger in keys),
            tuple(trigger for _, trigger in keys),
            provenance,
            self.layout.first_minute,
        )


def stacked(pieces: list[NDArray[Any]], rows: int) -> NDArray[np.int64]:
    """All pieces, `rows` rows together, as one array; the list is emptied on the way."""
    whole = np.empty((rows, pieces[0].shape[1]), np.int64)
    # Each piece is forgotten once it is copied: all of them beside the whole take twice the memory.
    while pieces:
        piece = pieces.pop()
        whole[rows - len(piece) : rows] = piece
        rows -= len(piece)
    return whole


def name_with_task(task: int, trigger: str | None) -> str:
    """A name for the merged row of a task and trigger, chosen so that it hashes to that task.

    The task of a row is always that of its name (traces.tasks.task_of_function).
    """
    stem = f"functions of {TASKS[task]} started by {trigger}"
    names = (f"{stem} #{i}" for i in range(1000))
    return next(name for name in names if task_of_function(name) == task)


def whole_numbers(block: Block, layout: Layout) -> NDArray[np.int64] | None:
    """(N, minutes) counts, if every cell is a plain integer; else None."""
    names = [f"column_{i + 1}" for i in range(layout.width)]
    schema: dict[str, Any] = dict.fromkeys(names, pl.String)
    wanted = [names[i] for i in layout.minutes]
    schema |= dict.fromkeys(wanted, pl.Int64)
    try:
        frame = pl.read_csv(
            io.BytesIO(block.text),
            has_header=False,
            schema=schema,
            columns=wanted,
            quote_char=None,
            encoding="utf8-lossy",
        ).select(wanted)
    except pl.exceptions.PolarsError:
        return None
    complete = len(frame) == len(block.lines) and sum(frame.null_count().row(0)) == 0
    return frame.to_numpy().astype(np.int64, copy=False) if complete else None


def counts_reader(
    header: bytes, report: ReadReport, merge: bool
) -> tuple[CountsReader, int] | None:
    """A reader for the file whose first line this is, or None if it is no counts file."""
    layout = layout_of(header, report.source)
    return None if layout is None else (CountsReader(header, layout, report, merge), 1)
