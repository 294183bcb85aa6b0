"""Files with one line a request, of any known format, read block by block into a Trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from traces.errors import TraceError
from traces.readers.blocks import Block, separators
from traces.readers.formats import (
    FORMATS,
    JSON_FORMATS,
    RequestFormat,
    columns_of,
    fields_of,
    recognise,
)
from traces.readers.growing import Growing
from traces.readers.reports import Mask, ReadReport
from traces.readers.tables import cell_counts_differ, csv_frame, json_frame
from traces.readers.values import Clock, Numbers, bad_times, bad_tokens, numbers
from traces.tasks import TASKS, task_of_function
from traces.trace import Provenance, Trace


@dataclass
class Columns:
    """The columns of a Trace, as far as they have been read; times are not sorted yet."""

    time_s: Growing = field(default_factory=lambda: Growing(np.float64))
    task: Growing = field(default_factory=lambda: Growing(np.int16))
    prompt: Growing = field(default_factory=lambda: Growing(np.int32))
    output: Growing = field(default_factory=lambda: Growing(np.int32))


class RequestReader:
    """Reads the lines of one file in one format: `take` the blocks, then ask for the `trace`."""

    def __init__(self, known: RequestFormat, names: list[str], report: ReadReport) -> None:
        self.format = known
        self.names = names
        self.wanted = [name for name in dict.fromkeys(known.columns) if name in names]
        self.report = report
        self.clock = Clock()
        self.columns = Columns()

    def take(self, block: Block) -> None:
        """Add the good rows of a block; count the others."""
        if not len(block.lines):
            return
        frame, shape, block = self._frame(block)
        time_s, faults = self._times(frame)
        prompt, output = (self._tokens(frame, name) for name in self._token_names)
        faults += [("prompt tokens", bad_tokens(prompt)), ("output tokens", bad_tokens(output))]
        task, unknown = self._tasks(frame)
        keep = self.report.judge(block.lines, [*shape, *faults, ("unknown task", unknown)])
        self.columns.time_s.append(time_s[keep])
        self.columns.task.append(task[keep])
        self.columns.prompt.append(prompt[keep])
        self.columns.output.append(output[keep])
        zero = (prompt[keep] == 0) | (output[keep] == 0)
        if self.format.prompt in self.wanted:
            self.report.note("requests with zero tokens", int(zero.sum()))

    @property
    def _token_names(self) -> tuple[str | None, str | None]:
        return self.format.prompt, self.format.output

    def _frame(self, block: Block) -> tuple[pl.DataFrame, list[tuple[str, Mask]], Block]:
        if self.format.json_lines:
            frame, broken = json_frame(block, self.wanted)
            return frame, [("not a JSON object with the fields", broken)], block
        ragged = cell_counts_differ(separators(block), len(self.names))
        # Ragged lines would shift or stop the parser, so they are judged before it sees them.
        self.report.judge(block.lines[ragged], [("number of cells", np.ones(ragged.sum(), bool))])
        block = block.take(~ragged)
        indices = [self.names.index(name) for name in self.wanted]
        frame = csv_frame(block, len(self.names), indices)
        return frame.rename(dict(zip(frame.columns, self.wanted, strict=True))), [], block

    def _times(self, frame: pl.DataFrame) -> tuple[Numbers, list[tuple[str, Mask]]]:
        if self.format.unit_s is None:
            time_s, foreign = self.clock.read(frame[self.format.time], self.report)
            return time_s, [("time", bad_times(time_s)), ("naive and offset times mixed", foreign)]
        time_s = numbers(frame[self.format.time]) * self.format.unit_s
        faults = [("time", bad_times(time_s))]
        if self.format.keep_origin:
            faults.append(("time before 0", time_s < 0))
        if self.format.duration is None:
            return time_s, faults
        duration_s = numbers(frame[self.format.duration])
        faults += [("duration", bad_times(duration_s)), ("negative duration", duration_s < 0)]
        with np.errstate(invalid="ignore"):
            return time_s - duration_s, faults

    def _tokens(self, frame: pl.DataFrame, name: str | None) -> Numbers:
        return numbers(frame[name]) if name in self.wanted else np.zeros(len(frame))

    def _tasks(self, frame: pl.DataFrame) -> tuple[NDArray[np.int16], Mask]:
        if self.format.function:
            cells = [pl.col(name).fill_null("") for name in self.format.function]
            names = frame.select(pl.concat_str(cells, separator="/")).to_series()
            look_up = {name: task_of_function(name) for name in names.unique()}
        elif self.format.task in self.wanted:
            names = frame[self.format.task].str.strip_chars()
            look_up = {name: i for i, name in enumerate(TASKS)}
            look_up |= {str(i): i for i in range(len(TASKS))}
        else:
            return np.zeros(len(frame), np.int16), np.zeros(len(frame), np.bool_)
        task = names.replace_strict(look_up, default=-1, return_dtype=pl.Int16).to_numpy()
        return task, task < 0

    def trace(self, sha256: str) -> Trace:
        """The rows that were kept, sorted by time, ties in the order of the file.

        Args:
            sha256: fingerprint of the file, for the provenance.

        Raises:
            TraceError: no row was kept.
        """
        if not self.report.rows_kept:
            found = f"{self.report.rows_read} rows, of which none is usable"
            why = f" ({self.report.rows_dropped})" if self.report.rows_dropped else ""
            raise TraceError(f"{self.report.source}: got {found}{why}; accepted: at least one")
        time_s = self.columns.time_s.take()
        falls = int((time_s[1:] < time_s[:-1]).sum())
        # Sorting costs an index as large as the times; most files are sorted and need none.
        order = np.argsort(time_s, kind="stable") if falls else None
        self.report.note("rows out of order", falls)
        time_s = time_s if order is None else time_s[order]
        time_s -= self._shift(time_s)
        task, prompt, output = (
            in_order(column.take(), order)
            for column in (self.columns.task, self.columns.prompt, self.columns.output)
        )
        provenance = Provenance(self.report.source, sha256, (f"read {self.report.format}",))
        return Trace(time_s, task, prompt, output, span_of(time_s), provenance)

    def _shift(self, time_s: Numbers) -> float:
        """Seconds to subtract, so that the first request or the observation starts at 0."""
        # A first arrival later than the file is long means a foreign origin, such as 1970.
        far_away = time_s[0] > time_s[-1] - time_s[0] and len(time_s) > 1
        return float(time_s[0]) if far_away or not self.format.keep_origin else 0.0


def in_order(column: NDArray[Any], order: NDArray[np.int64] | None) -> NDArray[Any]:
    """A column in the order of the sorted times; None: as it is, the times were sorted."""
    return column if order is None else column[order]


def span_of(arrival_s: Numbers) -> float:
    """Length of an observation that is only known by its N arrivals: one mean gap after the last.

    Requests per second over that span are 1 / mean gap, as they should be.
    """
    count = len(arrival_s)
    extent_s = float(arrival_s[-1] - arrival_s[0])
    gap_s = extent_s / (count - 1) if count > 1 and extent_s > 0 else 1.0
    return float(arrival_s[-1]) + gap_s


def request_reader(header: bytes, report: ReadReport) -> tuple[RequestReader, int] | None:
    """A reader for the file whose first line this is, and the number of lines before its rows."""
    if header.lstrip().startswith(b"{"):
        names, formats, skip = fields_of(header), JSON_FORMATS, 0
    else:
        names, formats, skip = columns_of(header), FORMATS, 1
    known = recognise(names, formats)
    if known is None:
        return None
    report.format = known.name
    return RequestReader(known, names, report), skip
