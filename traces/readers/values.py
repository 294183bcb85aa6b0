"""Cells of text as numbers, with the rows that hold none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from traces.readers.reports import Mask, ReadReport

Numbers = NDArray[np.float64]

LARGEST_TIME_S = 1e12
"""Thirty thousand years; beyond it float64 no longer tells milliseconds apart."""

LARGEST_TOKENS = 2**31 - 1

DATE_ALONE = r"^\d{4}-\d{2}-\d{2}$"

SECONDS = 19
"""Characters of a stamp up to its seconds, such as 2023-11-16 18:15:46."""

FRACTION = r"^(\.\d+)?$"
"""What follows, in the common case: a fraction of any length."""

GROUPED = r"^[1-9]\d{0,2}(\x1f\d{3})+$"
"""A whole number with commas before every three digits, as quoting.COMMA stands for them."""

TAIL = r"^((\.\d+)?\s*(?:(Z|z)|([+-])(\d{2}):?(\d{2}))?)$"
"""What follows, in general: a fraction and an offset from UTC, or either, or nothing."""


def numbers(column: pl.Series) -> Numbers:
    """Cells as float64; NaN where there is no number."""
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    return column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()


def ungrouped(column: pl.Series, report: ReadReport) -> pl.Series:
    """Cells of whole numbers, without the commas between thousands."""
    if column.dtype != pl.String:
        return column
    text = column.str.strip_chars()
    grouped = text.str.contains(GROUPED).fill_null(False)
    if not grouped.any():
        return column
    report.note("cells with commas between thousands", int(grouped.sum()))
    return text.str.replace_all("\x1f", "", literal=True).zip_with(grouped, text)


def bad_times(time_s: Numbers) -> Mask:
    """Times that are no number, infinite, or so large that they must be wrong."""
    with np.errstate(invalid="ignore"):
        return ~(np.abs(time_s) <= LARGEST_TIME_S)


def bad_tokens(tokens: Numbers) -> Mask:
    """Token counts that are not whole numbers from 0 to 2^31 - 1."""
    with np.errstate(invalid="ignore"):
        bad: Mask = ~((tokens >= 0) & (tokens <= LARGEST_TOKENS) & (tokens == np.floor(tokens)))
    return bad


class Tail(NamedTuple):
    """What follows the seconds of N stamps; the offset is NaN where that is unreadable."""

    fraction_s: Numbers
    offset_s: Numbers
    aware: Mask


def tail_of(text: pl.Series) -> Tail:
    """Fractions and offsets; the usual ones, all alike, take a tenth of the time."""
    utc = bool(text.str.ends_with("+00:00").all())
    short = text.str.strip_suffix("+00:00") if utc else text
    if short.str.contains(FRACTION).all():
        fraction = np.nan_to_num(numbers(short), nan=0.0)
        return Tail(fraction, np.zeros(len(text)), np.full(len(text), utc))
    groups = text.str.extract_groups(TAIL).struct.unnest()
    known, fraction_text, zulu, sign, hours, minutes = groups.get_columns()
    offset_s = np.nan_to_num((numbers(hours) * 60 + numbers(minutes)) * 60, nan=0.0)
    offset_s *= np.where((sign == "-").fill_null(False).to_numpy(), -1.0, 1.0)
    offset_s[known.is_null().to_numpy()] = np.nan
    aware = (zulu.is_not_null() | sign.is_not_null()).to_numpy()
    return Tail(np.nan_to_num(numbers(fraction_text), nan=0.0), offset_s, aware)


class Clock:
    """Stamps as seconds since the day of the first; those of the other kind are refused.

    A file's first readable stamp decides whether its times have an offset from UTC: naive times
    are not known to be UTC, so the two cannot be put in order.
    """

    def __init__(self) -> None:
        self.origin_s: int | None = None
        self.has_offset = False

    def read(self, column: pl.Series, report: ReadReport) -> tuple[Numbers, Mask]:
        """Seconds (NaN where unreadable), and which rows are of the other kind."""
        text = column.fill_null("").str.strip_chars()
        text = self._midnights(text, report)
        whole = text.str.slice(0, SECONDS).str.replace("T", " ", literal=True)
        dates = whole.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
        tail = tail_of(text.str.slice(SECONDS))
        seconds = dates.dt.epoch("s").cast(pl.Float64).fill_null(float("nan")).to_numpy()
        seconds = seconds - tail.offset_s
        self._start(seconds, tail.aware, report)
        # Fractions are added after the origin is gone: 1.7e9 s leaves them too few bits.
        times = seconds - float(self.origin_s or 0) + tail.fraction_s
        return times, np.isfinite(times) & (tail.aware != self.has_offset)

    @staticmethod
    def _midnights(text: pl.Series, report: ReadReport) -> pl.Series:
        """Dates alone, as some programs write the first moment of a day, with its time of day."""
        alone = text.str.contains(DATE_ALONE)
        report.note("dates without a time of day, taken for midnight", int(alone.sum()))
        return (text + " 00:00:00").zip_with(alone, text)

    def _start(self, seconds: Numbers, aware: Mask, report: ReadReport) -> None:
        readable = np.flatnonzero(np.isfinite(seconds))
        if self.origin_s is None and len(readable):
            self.origin_s = int(seconds[readable[0]])
            self.has_offset = bool(aware[readable[0]])
            if report.format == "azure-llm":
                report.format = "azure-llm-2024" if self.has_offset else "azure-llm-2023"
