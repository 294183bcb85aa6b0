"""What became of every row of a file: kept, or dropped for a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError

Mask = NDArray[np.bool_]

LONGEST_SHOWN = 60
"""Characters of a cell that a message shows."""

LARGEST_SHARE_LOST = 0.01
"""Of the rows; when more are dropped, rates are so much too low that it is said."""


class Cells(Protocol):
    """What stands in the file, by row."""

    def __getitem__(self, row: int, /) -> object: ...


@dataclass(frozen=True)
class Fault:
    """Why rows cannot be used.

    Attributes:
        reason: what is wrong with them.
        bad: (N,) the rows that it concerns.
        cells: (N,) what stands there, for the message about the first one.
        expected: what should stand there.
    """

    reason: str
    bad: Mask
    cells: Cells | None = None
    expected: str = ""

    def told(self, row: int, line: int) -> str:
        """The line, what stands there, and what was expected."""
        cell = None if self.cells is None else shown(self.cells[row])
        got = f"line {line}" if cell is None else f"line {line}: got {cell}"
        return f"{got}, expected {self.expected}" if self.expected else got


def shown(cell: object) -> str:
    """A cell for a message, short and on one line."""
    text = cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell or "")
    # In the place of a comma within quotes (readers.quoting).
    text = text.replace("\x1f", ",")
    return repr(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}...")


@dataclass
class ReadReport:
    """Counts of rows; `rows_read == rows_kept + sum(rows_dropped.values())` always holds.

    Attributes:
        source: the file.
        strict: raise on the first row that would be dropped.
        format: the format that was recognised.
        rows_read: rows after the header, without blank lines.
        rows_kept: rows that are in the result.
        rows_dropped: the others, by reason.
        first_dropped: of each reason the first row: its line, what stood there, what was expected.
        notes: oddities that cost no row, with how often they occurred.
        warnings: what makes the figures doubtful, in words.
        columns: what every column was taken for.
        sha256: of the file as it lies on disk.
    """

    source: str
    strict: bool = False
    format: str = ""
    rows_read: int = 0
    rows_kept: int = 0
    rows_dropped: dict[str, int] = field(default_factory=dict)
    first_dropped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    sha256: str = ""

    def judge(self, lines: NDArray[np.int64], faults: Sequence[Fault]) -> Mask:
        """Which rows to keep: those with no fault; a row with several counts for the first one.

        Args:
            lines: (N,) line number of each row.
            faults: what is wrong with which rows, in order of precedence.

        Raises:
            TraceError: a row has a fault and reading is strict; names file, line and reason.
        """
        keep = np.ones(len(lines), np.bool_)
        losses = []
        for fault in faults:
            losses.append((fault, keep & fault.bad))
            keep &= ~fault.bad
        self._refuse(lines, keep, losses)
        for fault, fresh in losses:
            self.add(self.rows_dropped, fault.reason, int(fresh.sum()))
            if fresh.any():
                row = int(fresh.argmax())
                self.first_dropped.setdefault(fault.reason, fault.told(row, int(lines[row])))
        self.rows_read += len(lines)
        self.rows_kept += int(keep.sum())
        return keep

    def _refuse(
        self, lines: NDArray[np.int64], keep: Mask, losses: Sequence[tuple[Fault, Mask]]
    ) -> None:
        if not self.strict or keep.all():
            return
        row = int(np.argmin(np.where(keep, np.iinfo(np.int64).max, lines)))
        fault = next(fault for fault, fresh in losses if fresh[row])
        line = int(lines[row])
        found = f"{self.source}:{line}: {fault.reason}: {fault.told(row, line)}"
        raise TraceError(f"{found}; accepted: no such row when strict")

    def losses(self) -> str:
        """Dropped rows by reason and the first of each, for a message; empty if there are none."""
        if not self.rows_dropped:
            return ""
        first = "; ".join(f"{why}: {told}" for why, told in self.first_dropped.items())
        return f" ({self.rows_dropped}; {first})"

    def warn(self, text: str) -> None:
        """Remember what makes the figures doubtful."""
        self.warnings.append(text)

    def warn_of_losses(self) -> None:
        """Warn if so many rows were dropped that the rate is visibly too low."""
        lost = self.rows_read - self.rows_kept
        if self.rows_kept and lost > LARGEST_SHARE_LOST * self.rows_read:
            share = f"{lost / self.rows_read:.0%}"
            self.warn(f"{lost} of {self.rows_read} rows ({share}) dropped: rates are too low")

    def note(self, what: str, times: int = 1) -> None:
        """Remember an oddity that costs no row."""
        self.add(self.notes, what, times)

    @staticmethod
    def add(counter: dict[str, int], key: str, times: int) -> None:
        """Count `key` up by `times`; 0 leaves no entry, so that a clean file has none."""
        if times:
            counter[key] = counter.get(key, 0) + times

    def include(self, other: ReadReport) -> None:
        """Add the rows of another file of the same data set."""
        self.rows_read += other.rows_read
        self.rows_kept += other.rows_kept
        for reason, times in other.rows_dropped.items():
            self.add(self.rows_dropped, reason, times)
        for what, times in other.notes.items():
            self.add(self.notes, what, times)
        for reason, told in other.first_dropped.items():
            self.first_dropped.setdefault(reason, f"{other.source}: {told}")
        self.warnings += [f"{other.source}: {text}" for text in other.warnings]
        self.columns |= other.columns
