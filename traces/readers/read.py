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
from traces.readers.blocks import ZIP, Block, LineFile, magic
from traces.readers.counts import CountsReader, counts_reader
from traces.readers.days import append_day
from traces.readers.formats import refuse
from traces.readers.reports import ReadReport
from traces.readers.requests import RequestReader, request_reader
from traces.storage import load
from traces.trace import Trace

Content = Trace | CountTable

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
        paths: one file, plain, gz or xz; several only of MAF 2019, in order or numbered `.dNN`.
        strict: raise on the first row that would be dropped.
        merge: keep only sums by task and trigger of per-minute counts, not every function.

    Raises:
        TraceError: an unknown format, no usable row, a damaged file; names what was found.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    require(bool(files), "paths", paths, "at least one file")
    readings = [read_file(path, strict, merge) for path in by_day(files)]
    if len(readings) == 1:
        return readings[0]
    tables = [reading.content for reading in readings]
    for reading in readings:
        several = "one file, or several of calls per minute"
        require(isinstance(reading.content, CountTable), "paths", reading.report.format, several)
    whole = reduce(append_day, [table for table in tables if isinstance(table, CountTable)])
    return Reading(whole, total_report(readings, files))


def read_file(path: Path, strict: bool, merge: bool) -> Reading:
    """What one file of any known format holds; `strict` and `merge` as in `read`.

    Raises:
        TraceError: an unknown format, no usable row, a damaged file.
    """
    report = ReadReport(str(path), strict)
    if magic(path).startswith(ZIP):
        trace = load(path)
        report.format, report.sha256 = "llmroute-npz", sha256_of(path)
        report.rows_read = report.rows_kept = len(trace)
        return Reading(trace, report)
    file = LineFile(path)
    reader: CountsReader | RequestReader | None = None
    for block in file.blocks():
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
        raise refuse(report.source, header)
    return known


def finish(reader: CountsReader | RequestReader | None, report: ReadReport) -> Reading:
    """What `reader` has read, with its report; no reader means that the file had no line.

    Raises:
        TraceError: an empty file, or one without a usable row.
    """
    if reader is None:
        raise TraceError(f"{report.source}: got an empty file; accepted: a header and rows")
    if isinstance(reader, CountsReader):
        return Reading(reader.table(report.sha256), report)
    return Reading(reader.trace(report.sha256), report)


DAY = re.compile(r"\.d(\d{2})\.")


def by_day(files: list[Path]) -> list[Path]:
    """Files in the order of the days in their names, if all have one; else as given."""
    days = [DAY.search(path.name) for path in files]
    if not all(days):
        return files
    return sorted(files, key=lambda path: int(DAY.findall(path.name)[0]))


def total_report(readings: Sequence[Reading], files: list[Path]) -> ReadReport:
    """The rows of several days together; days that are missing between them are noted."""
    first = readings[0].report
    total = ReadReport(first.source, first.strict, first.format)
    for reading in readings:
        total.include(reading.report)
    total.sha256 = " ".join(reading.report.sha256 for reading in readings)
    days = sorted(int(found) for path in files for found in DAY.findall(path.name)[:1])
    if days:
        total.note("missing days left out", days[-1] - days[0] + 1 - len(set(days)))
    return total
