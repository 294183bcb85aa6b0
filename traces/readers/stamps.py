"""Times of requests: which unit or clock a column holds is judged by its cells, and said."""

from __future__ import annotations

import numpy as np
import polars as pl

from traces.readers.formats import RequestFormat
from traces.readers.reports import Fault, ReadReport
from traces.readers.values import Clock, Numbers, bad_times, numbers

DATE = r"^\s*\d{4}-\d{2}-\d{2}"

EPOCHS = ((1e9, 1e11, 1.0), (1e12, 1e14, 1e-3), (1e15, 1e17, 1e-6), (1e18, 1e20, 1e-9))
"""From, below, seconds of the unit: what stamps from 2001 to 5138 are when counted from 1970."""

UNITS = {1.0: "seconds", 1e-3: "milliseconds", 1e-6: "microseconds", 1e-9: "nanoseconds"}

FASTEST_PER_S, SLOWEST_PER_S = {1.0: 1000.0, 1e-3: 20.0}, 1 / 120
"""Rates of requests, by the unit that a format has, beyond which that is doubted: those of the
public traces lie between. Seconds read as milliseconds are a thousand times too fast."""

MOST_MS_PER_S = 100.0
"""Stamps with fractions of a millisecond at a higher rate are taken for seconds."""

FEWEST_JUDGED = 5
"""Requests below which a rate says nothing about the unit."""

STARTS_LATE = 0.1
"""Share of the observation without a request at its start from which it is said."""

FOREIGN_S = 86_400.0
"""A first arrival from here on is counted from elsewhere than the start of an observation."""


class Stamps:
    """The column of times of one file; `read` its blocks, then ask for `unit_s`."""

    def __init__(self, known: RequestFormat, report: ReadReport) -> None:
        self.format, self.report = known, report
        self.clock = Clock()
        self.dates: bool | None = None
        self.epoch_unit_s: float | None = None
        self.fractions = False

    def read(self, column: pl.Series, rows: list[bytes]) -> tuple[Numbers, list[Fault]]:
        """Times in the unit of the file (NaN where unreadable), and which rows have none.

        Args:
            column: the cells.
            rows: the whole lines, for messages about cells that are no text any more.
        """
        cells = column if column.dtype == pl.String else rows
        if self.dates is None:
            self._judge(column)
        if self.dates:
            time_s, foreign = self.clock.read(column, self.report)
            expected = "a date and time such as 2024-05-10 00:00:00.5, or with +00:00"
            mixed = "naive and offset times mixed"
            return time_s, [
                Fault("time", bad_times(time_s), cells, expected),
                Fault(mixed, foreign, cells, "an offset in all rows or in none"),
            ]
        time = numbers(column)
        if self.declared_s < 1:
            self.fractions |= bool((np.isfinite(time) & (time != np.floor(time))).any())
        bad = bad_times(time * self.declared_s)
        return time, [Fault("time", bad, cells, f"a number of {UNITS[self.declared_s]}")]

    @property
    def is_local(self) -> bool:
        """Whether these are dates of a clock that may be put back, as nothing says from where."""
        return bool(self.dates) and not self.clock.has_offset

    @property
    def declared_s(self) -> float:
        """Seconds of the unit that the format or the size of the first stamps says."""
        usual = 1.0 if self.format.unit_s is None else self.format.unit_s
        return usual if self.epoch_unit_s is None else self.epoch_unit_s

    def _judge(self, column: pl.Series) -> None:
        """Decide by the first block whether there are dates or numbers, and since when."""
        time = numbers(column)
        found = time[np.isfinite(time)]
        dated = int(column.str.contains(DATE).sum()) if column.dtype == pl.String else 0
        usual = self.format.unit_s is None
        self.dates = usual if dated == len(found) else dated > len(found)
        self.dates &= usual or self.format.may_be_dated
        if not self.dates and len(found) and self.format.duration is None:
            middle = float(np.median(np.abs(found)))
            units = (unit_s for low, high, unit_s in EPOCHS if low <= middle < high)
            self.epoch_unit_s = next(units, None)

    def unit_s(self, time: Numbers) -> float:
        """Seconds in the unit of `time`, all the sorted times that `read` gave; says it."""
        unit_s = 1.0 if self.dates else self.declared_s
        name, format_name = self.format.time, self.report.format
        if self.epoch_unit_s is not None:
            since = f"{name}: numbers from {time[0]:.16g} on"
            self.report.warn(f"{since}, taken for {UNITS[unit_s]} since 1970, moved to 0")
        elif self.format.unit_s is None and not self.dates:
            self.report.warn(f"{name}: numbers where {format_name} has dates, taken for seconds")
        elif self.format.unit_s is not None and self.dates:
            self.report.warn(f"{name}: dates where {format_name} has numbers")
        elif unit_s == 1e-3 and self.fractions:
            unit_s = self._with_fractions(time)
        kind = "a date and time of day" if self.dates else UNITS[unit_s]
        self.report.columns[name] = f"{'end' if self.format.duration else 'arrival'}, {kind}"
        self._doubt(time, unit_s)
        return unit_s

    def _with_fractions(self, time: Numbers) -> float:
        """The unit of stamps that the format counts in whole milliseconds, but have fractions."""
        per_s = rate(time) * 1000
        said = f"{self.format.time}: {self.report.format} counts whole milliseconds"
        taken = 1e-3 if per_s <= MOST_MS_PER_S else 1.0
        why = f"there are fractions, and {per_s:,.4g} requests per second if it were so"
        self.report.warn(f"{said}; {why}: taken for {UNITS[taken]}")
        return taken

    def _doubt(self, time: Numbers, unit_s: float) -> None:
        """Warn of a rate that another unit would make likelier."""
        per_s = rate(time) / unit_s
        certain = self.dates or self.epoch_unit_s is not None or self.format.keep_origin
        if certain or not per_s or len(time) < FEWEST_JUDGED:
            return
        if SLOWEST_PER_S <= per_s <= FASTEST_PER_S[unit_s]:
            return
        said = f"{self.format.time}: {per_s:,.3g} requests per second when taken for"
        self.report.warn(f"{said} {UNITS[unit_s]}; is that the unit of the file?")

    def since_start(self, time: Numbers, unit_s: float) -> Numbers:
        """Seconds since the start of the observation, from sorted times that are lost by it."""
        if self.epoch_unit_s is not None:
            # Before the unit: seconds since 1970 leave fractions too few bits.
            time -= time[0]
        if unit_s != 1:
            time *= unit_s
        if self.epoch_unit_s is None:
            time -= self._origin_s(time)
        return time

    def _origin_s(self, time_s: Numbers) -> float:
        """Seconds to subtract from sorted times, so that the observation starts at 0; says it.

        A format that says when the observation starts keeps its clock, unless that is another's: it
        has counted a day or more already, as uptimes do.
        """
        first_s = float(time_s[0])
        if not self.format.keep_origin:
            return first_s
        if first_s >= FOREIGN_S:
            self.report.warn(f"{self.format.time} starts at {first_s:.16g} s: moved to 0")
            return first_s
        if first_s > STARTS_LATE * float(time_s[-1]) and len(time_s) > 1:
            silence = f"{first_s:g} s before the first request"
            self.report.warn(f"{silence} are part of the observation: cut them with --start")
        return 0.0


def rate(time: Numbers) -> float:
    """Requests per unit of sorted times; 0 where they are all at once."""
    extent = float(time[-1] - time[0])
    return (len(time) - 1) / extent if extent > 0 else 0.0
