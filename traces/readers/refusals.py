"""What a file of no known format is, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from traces.errors import TraceError
from traces.readers.formats import FORMATS, JSON_FORMATS, columns_of, fields_of

SERVEGEN_PATTERNS = ("gamma", "weibull")
"""Arrivals in the windows of a ServeGen client, `data/*/*/chunk-N-trace.csv`.

Source of this and the next: github.com/alibaba/ServeGen, commit f891d1189eb3.
"""

SERVEGEN_LENGTHS = re.compile(rb'\s*{\s*"\d+"\s*:\s*{\s*"\w+_tokens"\s*:\s*"{')
"""How its lengths begin, `chunk-N-dataset.json`: distributions by window and kind of token."""


def refuse(source: str, begin: bytes) -> TraceError:
    """The error for a file that nobody knows; says what was found and what would be accepted.

    Args:
        source: the file.
        begin: its first lines.
    """
    known = [
        f"{known.name}{' JSON lines' * known.json_lines} ({', '.join(sorted(known.required))})"
        for known in (*FORMATS, *JSON_FORMATS)
    ]
    counts = "maf2019 (calls per minute, HashOwner, ..., columns 1, minute_1 or 1_minute)"
    accepted = "; ".join([counts, *known, "an npz that this package wrote"])
    return TraceError(f"format of {source}: got {found_in(begin)}; accepted columns: {accepted}")


def found_in(begin: bytes) -> str:
    """What first lines that no format begins with are, in words."""
    header = begin.split(b"\n", 1)[0]
    text, names = header.decode("utf-8", "replace"), columns_of(header)
    begins = repr(text[:120].replace("\x1f", ","))
    if header.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer instead of the data (`git lfs pull` fetches them)"
    if any(name.startswith("percentile_average") for name in names):
        return "durations of functions, which hold no arrivals"
    if header.lstrip().startswith(b"["):
        return f"{begins}, a JSON array (`jq -c '.[]'` makes JSON lines of it)"
    if header.lstrip().startswith(b"{"):
        return found_in_json(header, begin)
    if is_servegen_profile(names):
        made = "ServeGen's generate_workload makes requests of it"
        return f"{begins}, a profile of a ServeGen client, rates of windows: {made}"
    if any(map(is_value, names)):
        return f"{begins}, which looks like a row: no header, or one that is not known"
    other = next((mark for mark in ";\t|" if mark in text), None)
    return begins if other is None else f"{begins}, separated by {other!r} instead of commas"


def found_in_json(line: bytes, begin: bytes) -> str:
    """What a first line that begins like a JSON object is, in words."""
    fields = fields_of(line)
    if SERVEGEN_LENGTHS.match(begin):
        return "a profile of a ServeGen client: distributions of lengths, no requests"
    begins = repr(line[:120].decode("utf-8", "replace"))
    if not fields:
        return f"{begins}, no JSON object on one line (`jq -c .` makes JSON lines of it)"
    return f"JSON whose fields are unknown: {', '.join(fields[:12])}"


def is_servegen_profile(names: Sequence[str]) -> bool:
    """Whether this is a row of a ServeGen client: time, rate, cv, pattern and its figures."""
    if len(names) != 6 or names[3] not in ("", *SERVEGEN_PATTERNS):
        return False
    return all(is_value(name) for i, name in enumerate(names) if i != 3)


def is_value(name: str) -> bool:
    """Whether the name of a column is a number or begins like a date: a cell, not a name."""
    try:
        float(name)
    except ValueError:
        return re.match(r"\d{4}-\d{2}-\d{2}", name) is not None
    return True
