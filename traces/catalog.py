"""Bundled samples of real traces, by name."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from traces.counts import CountTable
from traces.errors import TraceError, require
from traces.trace import Trace

if TYPE_CHECKING:
    from traces.readers.read import Reading

NAMES = {
    "maf2019-500fn": "Azure Functions 2019: calls per minute of 500 functions, 8 hours of a day",
    "maf2021-998": "Azure Functions 2021: the first 998 calls",
    "azure-conv": "Azure LLM inference 2023: 19,366 conversation requests in 58 minutes",
    "azure-code": "Azure LLM inference 2023: 8,819 coding requests in 57 minutes",
}
"""What is bundled; licences and origin are in `data/README.md`."""


@lru_cache
def reading(name: str) -> Reading:
    """A bundled file as read; kept in memory.

    Raises:
        TraceError: an unknown name.
    """
    # Importing polars takes half a second, which most users of a catalogue never need.
    from traces.readers.read import Reading, read

    require(name in NAMES, "trace name", name, ", ".join(NAMES))
    with resources.as_file(resources.files("traces") / "data" / f"{name}.csv.xz") as path:
        found = read(Path(path))
    found.report.source = name
    provenance = dataclasses.replace(found.content.provenance, source=name)
    return Reading(dataclasses.replace(found.content, provenance=provenance), found.report)


def load(name: str) -> Trace:
    """The requests of a bundled trace that has times.

    Raises:
        TraceError: an unknown name, or counts per minute only.
    """
    content = reading(name).content
    if isinstance(content, Trace):
        return content
    timed = [other for other in NAMES if other != name and not other.startswith("maf2019")]
    accepted = f"{', '.join(timed)}; load_counts for counts"
    raise TraceError(f"trace with times: got {name!r}; accepted: {accepted}")


def load_counts(name: str) -> CountTable:
    """The calls per minute of a bundled trace.

    Raises:
        TraceError: an unknown name, or a trace with times.
    """
    content = reading(name).content
    if isinstance(content, CountTable):
        return content
    counted = [other for other in NAMES if other.startswith("maf2019")]
    accepted = f"{', '.join(counted)}; load for requests"
    raise TraceError(f"trace of counts: got {name!r}; accepted: {accepted}")
