"""Files with one line a request, of any known format, read block by block into a Trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from traces.errors import TraceError
from traces.readers.blocks import Block
from traces.readers.falls import Falls
from traces.readers.formats import (
    FORMATS,
    JSON_FORMATS,
    RequestFormat,
    columns_of,
    fields_of,
    recognise,
)
from traces.readers.growing import Growing
from traces.readers.reports import Fault, ReadReport
from traces.readers.stamps import Stamps
from traces.readers.tables import csv_frame, json_frame, well_formed
from traces.readers.values import Numbers, bad_times, bad_tokens, numbers, ungrouped
from traces.tasks import TASKS, task_of_function
from traces.trace import Provenance, Trace


@dataclass
class Columns:
    """The columns of a Trace as read so far; times in the unit of the file, not sorted yet."""

    time: Growing = field(default_factory=lambda: Growing(np.float64))
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
        self.stamps, self.falls = Stamps(known, report), Falls()
        self.columns = Columns()
        report.columns = {name: role_of(name, known) for name in dict.fromkeys(names)}
        missing = known.prompt is None or known.output is None
        for name, role in report.columns.items():
            if missing and role == UNREAD and may_be_length(name):
                report.warn(f"column {name!r} is not read: no known format calls a length so")

    def take(self, block: Block) -> None:
        """Add the good rows of a block; count the others."""
        if not len(block.lines):
            return
        frame, shape, block = self._frame(block)
        rows = block.rows() if self.format.json_lines else []
        time, faults = self._times(frame, rows)
        prompt, faults_of_prompt = self._tokens(frame, self.format.prompt, "prompt", rows)
        output, faults_of_output = self._tokens(frame, self.format.output, "output", rows)
        task, faults_of_task = self._tasks(frame)
        faults = [*shape, *faults, *faults_of_prompt, *faults_of_output, *faults_of_task]
        keep = self.report.judge(block.lines, faults)
        self.falls.see(time[keep], block.lines[keep])
        self.columns.time.append(time[keep])
        self.columns.task.append(task[keep])
        self.columns.prompt.append(prompt[keep])
        self.columns.output.append(output[keep])
        zero = (prompt[keep] == 0) | (output[keep] == 0)
        if self.format.prompt in self.wanted and self.format.output in self.wanted:
            self.report.note("requests with zero tokens", int(zero.sum()))

    def _frame(self, block: Block) -> tuple[pl.DataFrame, list[Fault], Block]:
        if self.format.json_lines:
            frame, broken = json_frame(block, self.wanted, self.format.time, self.report.source)
            said = f"an object with {', '.join(self.wanted)}"
            wrong = Fault("not a JSON object with the fields", broken, block.rows(), said)
            return frame, [wrong], block
        block = well_formed(block, len(self.names), self.report)
        indices = [self.names.index(name) for name in self.wanted]
        frame = csv_frame(block, len(self.names), indices)
        return frame.rename(dict(zip(frame.columns, self.wanted, strict=True))), [], block

    def _times(self, frame: pl.DataFrame, rows: list[bytes]) -> tuple[Numbers, list[Fault]]:
        column = frame[self.format.time]
        time, faults = self.stamps.read(column, rows)
        if self.format.keep_origin:
            faults.append(Fault("time before 0", time < 0, column, "seconds since the start"))
        if self.format.duration is None:
            return time, faults
        cells = frame[self.format.duration]
        duration_s = numbers(cells)
        faults.append(Fault("duration", bad_times(duration_s), cells, "a number of seconds"))
        faults.append(Fault("negative duration", duration_s < 0, cells, "seconds >= 0"))
        with np.errstate(invalid="ignore"):
            return time - duration_s, faults

    def _tokens(
        self, frame: pl.DataFrame, name: str | None, kind: str, rows: list[bytes]
    ) -> tuple[Numbers, list[Fault]]:
        if name is None or name not in self.wanted:
            return np.zeros(len(frame)), []
        cells = frame[name]
        tokens = numbers(ungrouped(cells, self.report))
        shown = cells if cells.dtype == pl.String else rows
        expected = f"a whole number of tokens in {name!r}"
        return tokens, [Fault(f"{kind} tokens", bad_tokens(tokens), shown, expected)]

    def _tasks(self, frame: pl.DataFrame) -> tuple[NDArray[np.int16], list[Fault]]:
        if self.format.function:
            cells = [pl.col(name).fill_null("") for name in self.format.function]
            names = frame.select(pl.concat_str(cells, separator="/")).to_series()
            look_up = {name: task_of_function(name) for name in names.unique()}
        elif self.format.task in self.wanted:
            names = frame[self.format.task].str.strip_chars()
            look_up = {name: i for i, name in enumerate(TASKS)}
            look_up |= {str(i): i for i in range(len(TASKS))}
        else:
            return np.zeros(len(frame), np.int16), []
        task = names.replace_strict(look_up, default=-1, return_dtype=pl.Int16).to_numpy()
        return task, [Fault("unknown task", task < 0, names, f"one of {', '.join(TASKS)}")]

    def trace(self, sha256: str) -> Trace:
        """The rows that were kept, sorted by time, ties in the order of the file.

        Args:
            sha256: fingerprint of the file, for the provenance.

        Raises:
            TraceError: no row was kept.
        """
        report = self.report
        if not report.rows_kept:
            found = f"{report.rows_read} rows, of which none is usable"
            raise TraceError(
                f"{report.source}: got {found}{report.losses()}; accepted: one or more"
            )
        time = self.columns.time.take()
        # Sorting costs an index as large as the times; most files are sorted and need none.
        order = np.argsort(time, kind="stable") if self.falls.number else None
        time = in_order(time, order)
        unit_s = self.stamps.unit_s(time)
        report.note("rows out of order", self.falls.number)
        if jump := self.falls.told(unit_s, self.stamps.is_local):
            report.warn(jump)
        time_s = self.stamps.since_start(time, unit_s)
        task, prompt, output = (
            in_order(column.take(), order)
            for column in (self.columns.task, self.columns.prompt, self.columns.output)
        )
        provenance = Provenance(report.source, sha256, (f"read {report.format}",))
        tasked = bool(self.format.function) or self.format.task in self.wanted
        return Trace(time_s, task, prompt, output, span_of(time_s), provenance, has_tasks=tasked)


UNREAD = "not read"


def may_be_length(name: str) -> bool:
    """Whether a column may be one of lengths, by its name."""
    return any(word in name for word in ("token", "length", "_len"))


def role_of(name: str, known: RequestFormat) -> str:
    """What a column is taken for; that of the time is said once its unit is known."""
    roles = {
        known.prompt: "prompt tokens",
        known.output: "output tokens",
        known.duration: "duration, seconds: the arrival is that much earlier",
        known.task: "task",
    }
    if name in known.function:
        return "function, which gives the task"
    return roles.get(name, UNREAD)


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
