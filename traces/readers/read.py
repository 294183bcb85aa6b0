"""Any public trace file, recognised by its content, as requests or as counts per minute."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np

from traces.counts import CountTable
from traces.errors import TraceError, require
from traces.readers.blocks import Block, LineFile
from traces.readers.counts import CountsReader, counts_reader
from traces.readers.days import Part, append_day, in_order
from traces.readers.packing import ZIP, magic, refuse_foreign_zip
from traces.readers.quoting import whole_records
from traces.readers.refusals import refuse
from traces.readers.reports import ReadReport
from traces.readers.requests import RequestReader, request_reader
from traces.storage import load
from traces.trace import Trace

Content = Trace | CountTable

BEGIN_BYTES = 4096
"""Of a file that nobody knows; what it is shows in its first lines."""

UNIFORM_SEED = 0
"""Seed of the times within minutes where a file has counts only and the user names no seed."""


@dataclass(frozen=True)
class Reading:
    """What a file holds, and what became of its rows."""

    content: Content
    report: ReadReport

    def trace(self, cv: float | None = None, seed: int = UNIFORM_SEED) -> Trace:
        """The requests; those of a counts file are placed within their minutes.

        Args:
            cv: coefficient of variation of the gaps of a counts file; None: the calls of a minute
                are spread over it uniformly.
            seed: of those times and of the tasks.

        Raises:
            TraceError: a counts file without calls, or with more than fit into memory.
        """
        if isinstance(self.content, Trace):
            return self.content
        return self.content.to_trace(cv, np.random.default_rng(seed))


def read(
    paths: str | Path | Sequence[str | Path], *, strict: bool = False, merge: bool = False
) -> Reading:
    """Read a trace file, or several days of per-minute counts.

    Args:
        paths: one file, plain, gz, xz or bz2; several only of MAF 2019: parts of a day, by their
            labels of minutes, or days, numbered `.dNN` or in order.
        strict: raise on the first row that would be dropped.
        merge: keep only sums by task and trigger of per-minute counts, not every function.

    Raises:
        TraceError: an unknown format, no usable row, a damaged file; names what was found.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    require(bool(files), "paths", paths, "at least one file")
    readings = [read_file(path, strict, merge) for path in files]
    if len(readings) == 1:
        return readings[0]
    several = "one file, or several of calls per minute"
    parts = []
    for path, reading in zip(files, readings, strict=True):
        if not isinstance(reading.content, CountTable):
            raise TraceError(f"paths: got {reading.report.format!r}; accepted: {several}")
        parts.append(Part(path.name, day_of(path), reading.content, reading.report))
    parts, total = in_order(parts)
    return Reading(reduce(append_day, [part.table for part in parts]), total)


def read_file(path: Path, strict: bool, merge: bool) -> Reading:
    """What one file of any known format holds; `strict` and `merge` as in `read`.

    Raises:
        TraceError: an unknown format, no usable row, a damaged file.
    """
    report = ReadReport(str(path), strict)
    if magic(path).startswith(ZIP):
        refuse_foreign_zip(path)
        trace = load(path)
        report.format, report.sha256 = "llmroute-npz", sha256_of(path)
        report.rows_read = report.rows_kept = len(trace)
        report.columns = columns_of_npz(trace)
        return Reading(trace, report)
    file = LineFile(path)
    reader: CountsReader | RequestReader | None = None
    for block in whole_records(file.blocks()):
        rows = block
        if reader is None and len(block.lines):
            reader, skip = choose(block, report, merge)
            rows = block.take(np.arange(len(block.lines)) >= skip)
        if reader is not None and len(rows.lines):
            reader.take(rows)
    report.sha256 = file.sha256
    report.note("blank lines", file.blank_lines)
    return finish(reader, report)


def sha256_of(path: Path) -> str:
    """Fingerprint of a file as it lies on disk, as hex.

    Raises:
        TraceError: it cannot be opened.
    """
    # For its error, which names the file and what is accepted.
    magic(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def choose(
    block: Block, report: ReadReport, merge: bool
) -> tuple[CountsReader | RequestReader, int]:
    """The reader for a file that starts with `block`, and how many of its lines are no rows.

    Raises:
        TraceError: no known format; says what was found.
    """
    header = block.rows()[0]
    known = request_reader(header, report) or counts_reader(header, report, merge)
    if known is None:
        raise refuse(report.source, block.text[:BEGIN_BYTES])
    return known


def finish(reader: CountsReader | RequestReader | None, report: ReadReport) -> Reading:
    """What `reader` has read, with its report; no reader means that the file had no line.

    Raises:
        TraceError: an empty file, or one without a usable row.
    """
    if reader is None:
        raise TraceError(f"{report.source}: got an empty file; accepted: a header and rows")
    report.warn_of_losses()
    if isinstance(reader, CountsReader):
        return Reading(reader.table(report.sha256), report)
    return Reading(reader.trace(report.sha256), report)


DAY = re.compile(r"\.d(\d{2})\.")


def day_of(path: Path) -> int | None:
    """The number of the day in a file's name, as MAF 2019 has it: `....d03.csv`."""
    found = DAY.search(path.name)
    return int(found.group(1)) if found else None


def columns_of_npz(trace: Trace) -> dict[str, str]:
    """What the arrays of an npz of ours are; lengths that are all 0 are none."""
    lengths = {
        name: f"{name.split('_')[0]} tokens" if getattr(trace, name).any() else "no lengths"
        for name in ("prompt_tokens", "output_tokens")
    }
    task = "task" if trace.has_tasks else "no tasks"
    return {"arrival_s": "arrival, seconds", "task": task, **lengths}
