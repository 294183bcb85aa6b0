"""Where the latest steps of many envs wait until what they earn is known, of NumPy or of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Rows:
    """The latest steps of E envs: row t holds the t-th decision of every env.

    Columns are arrays of NumPy or tensors, (R, E, ...), `known` and `reward` among them. Whoever
    takes a row overwrites every column of it.

    Attributes:
        rows: that are there.
        released: rows of each env before this one are not needed any more, (E,).
        episode: row of each env's first decision in its running episode, (E,).
    """

    def __init__(
        self, columns: Mapping[str, Any], counters: Any, zeros: Callable[[Any, int], Any]
    ) -> None:
        """`columns` have room for some rows, `counters`, (2, E), are of zeros.

        `zeros` makes a column for so many rows of the kind of another one.
        """
        self.columns, self.rows, self.zeros = dict(columns), 0, zeros
        self.released, self.episode = counters

    def waiting(self) -> tuple[int, dict[str, Any]]:
        """(first, columns) of the rows from the first that some env still needs."""
        start = int(self.released.min())
        return start, {name: column[start : self.rows] for name, column in self.columns.items()}

    def credit(self, envs: Any, decisions: Any, utilities: Any) -> None:
        """N requests have ended: give each utility to the decision, counted by episode."""
        at = self.episode[envs] + decisions, envs
        self.columns["reward"][at], self.columns["known"][at] = utilities, True

    def next_row(self) -> int:
        """A row to be written to."""
        capacity = len(self.columns["known"])
        if self.rows == capacity:
            self._make_room(capacity)
        self.rows += 1
        return self.rows - 1

    def _make_room(self, capacity: int) -> None:
        """Forget rows that nobody needs; twice the room if these are less than half."""
        start, waiting = self.waiting()
        kept = self.rows - start
        size = capacity if kept <= capacity // 2 else 2 * capacity
        for name, rows in waiting.items():
            moved = self.zeros(rows, size)
            moved[:kept] = rows
            self.columns[name] = moved
        self.rows, self.released, self.episode = kept, self.released - start, self.episode - start
