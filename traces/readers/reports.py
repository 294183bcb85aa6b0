"""What became of every row of a file: kept, or dropped for a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError

Mask = NDArray[np.bool_]


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
        notes: oddities that cost no row, with how often they occurred.
        sha256: of the file as it lies on disk.
    """

    source: str
    strict: bool = False
    format: str = ""
    rows_read: int = 0
    rows_kept: int = 0
    rows_dropped: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    sha256: str = ""

    def judge(self, lines: NDArray[np.int64], faults: Sequence[tuple[str, Mask]]) -> Mask:
        """Which rows to keep: those with no fault; a row with several counts for the first one.

        Args:
            lines: (N,) line number of each row.
            faults: a reason and the (N,) rows that it concerns, in order of precedence.

        Raises:
            TraceError: a row has a fault and reading is strict; names file, line and reason.
        """
        keep = np.ones(len(lines), np.bool_)
        losses = []
        for reason, bad in faults:
            fresh = keep & bad
            losses.append((reason, fresh))
            keep &= ~bad
        self._refuse(lines, keep, losses)
        for reason, fresh in losses:
            self.add(self.rows_dropped, reason, int(fresh.sum()))
        self.rows_read += len(lines)
        self.rows_kept += int(keep.sum())
        return keep

    def _refuse(
        self, lines: NDArray[np.int64], keep: Mask, losses: Sequence[tuple[str, Mask]]
    ) -> None:
        if not self.strict or keep.all():
            return
        row = int(np.argmin(np.where(keep, np.iinfo(np.int64).max, lines)))
        reason = next(reason for reason, fresh in losses if fresh[row])
        raise TraceError(f"{self.source}:{lines[row]}: {reason}; accepted: no such row when strict")

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
