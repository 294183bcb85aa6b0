"""What a user may name as a trace: a bundled one, a file, or several days of counts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from traces import catalog
from traces.errors import require

if TYPE_CHECKING:
    from traces.readers.read import Reading
    from traces.readers.reports import ReadReport

Sources = Annotated[
    tyro.conf.Positional[tuple[str, ...]],
    tyro.conf.arg(metavar="SOURCE ...", help_behavior_hint="(required)"),
]


def open_sources(sources: tuple[str, ...], strict: bool = False, merge: bool = False) -> Reading:
    """What the names or files hold; several files are days of calls per minute.

    Raises:
        TraceError: neither a bundled name nor a file that can be read.
    """
    from traces.readers.read import read

    require(bool(sources), "trace", "nothing", f"files, or one of {', '.join(catalog.NAMES)}")
    if len(sources) == 1 and sources[0] in catalog.NAMES:
        return catalog.reading(sources[0])
    for source in sources:
        known = f"an existing file, or one of {', '.join(catalog.NAMES)}"
        require(exists(source), "trace", source, known)
    return read(sources, strict=strict, merge=merge)


def exists(source: str) -> bool:
    """Whether there is anything of this name; what it is, the reader judges and says."""
    try:
        return Path(source).exists()
    except (OSError, ValueError):
        return False


def warn_of(report: ReadReport) -> None:
    """Say on standard error what was dropped and what makes the figures doubtful."""
    for reason, times in report.rows_dropped.items():
        first = report.first_dropped.get(reason, "")
        print(f"llmroute: {report.source}: {times:,} dropped: {reason} ({first})", file=sys.stderr)
    for text in report.warnings:
        print(f"llmroute: {report.source}: warning: {text}", file=sys.stderr)


def name_of(source: str) -> str:
    """A source without its folder."""
    return Path(source).name
