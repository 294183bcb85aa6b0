"""Where times go back from one row to the next, and what makes clocks do that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from traces.readers.values import Numbers

SHORTEST_TOLD_S = 1.0
"""Shorter ones are what rows of several writers have anyway."""

TEN_MINUTES_S, HOUR_S, HALF_DAY_S, DAY_S = 600.0, 3600.0, 43_200.0, 86_400.0


class Fall(NamedTuple):
    """How much a time lies before that of the row before it, in the unit of the file."""

    by: float = 0.0
    line: int = 0
    before: float = 0.0


@dataclass
class Falls:
    """Where times go back, row by row."""

    number: int = 0
    largest: Fall = field(default_factory=Fall)
    last: float | None = None

    def see(self, time: Numbers, lines: NDArray[np.int64]) -> None:
        """Compare the times of more rows with those before them."""
        if not len(time):
            return
        before = np.concatenate([[time[0] if self.last is None else self.last], time[:-1]])
        fall = before - time
        row = int(fall.argmax())
        if fall[row] > self.largest.by:
            self.largest = Fall(float(fall[row]), int(lines[row]), float(before[row]))
        self.number += int((fall > 0).sum())
        self.last = float(time[-1])

    def told(self, unit_s: float, is_local: bool) -> str | None:
        """How far back, where, and why perhaps; None: nowhere, or next to nothing.

        Args:
            unit_s: seconds in the unit of the times.
            is_local: they are dates of a clock that is put back at the end of daylight saving.
        """
        fall_s, before_s = self.largest.by * unit_s, self.largest.before * unit_s
        if fall_s < SHORTEST_TOLD_S:
            return None
        why = "parts whose clock starts again lie on top of each other"
        if is_local and TEN_MINUTES_S < fall_s <= HOUR_S:
            why = "an hour that comes twice at the end of daylight saving would be one"
        elif HALF_DAY_S < fall_s <= before_s <= DAY_S:
            why = "days whose clock starts again at midnight lie on top of each other"
        said = f"jump back of {fall_s:g} s in line {self.largest.line}, of {self.number} such rows"
        return f"{said}: sorted by time, so that {why}"
