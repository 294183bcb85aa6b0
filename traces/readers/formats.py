"""Formats of files with one line a request, recognised by the names of their columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from traces.errors import TraceError


@dataclass(frozen=True)
class RequestFormat:
    """Where a format keeps what a request needs; names of columns in lower case.

    Attributes:
        name: what `trace info` calls it.
        time: column of the arrival, or of the end if there is a `duration`.
        prompt, output: columns of the tokens; None: the format has none, and they read as 0.
        duration: seconds to subtract from `time`.
        function: columns that together name a function; they give a request its task.
        task: column with the name of the task.
        unit_s: seconds in a unit of `time`; None: it is a date and time of day.
        keep_origin: time 0 is the start of the observation; other formats start at the first
            request, because their offsets say nothing.
        json_lines: a JSON object a line instead of comma-separated values.
    """

    name: str
    time: str
    prompt: str | None = None
    output: str | None = None
    duration: str | None = None
    function: tuple[str, ...] = ()
    task: str | None = None
    unit_s: float | None = 1.0
    keep_origin: bool = False
    json_lines: bool = False

    @property
    def required(self) -> frozenset[str]:
        """Columns without which a file is not of this format."""
        optional = {self.prompt, self.output} if self.keep_origin else set()
        named = {self.time, self.prompt, self.output, self.duration, *self.function}
        return frozenset(name for name in named - optional if name is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read, required or not."""
        named = (self.time, self.prompt, self.output, self.duration, self.task, *self.function)
        return tuple(name for name in named if name is not None)


OWN = RequestFormat(
    "llmroute",
    time="arrival_s",
    prompt="prompt_tokens",
    output="output_tokens",
    task="task",
    keep_origin=True,
)
"""The project's own plain CSV; everything but the arrival may be left out."""

FORMATS: tuple[RequestFormat, ...] = (
    OWN,
    RequestFormat("azure-llm", "timestamp", "contexttokens", "generatedtokens", unit_s=None),
    RequestFormat("burstgpt", "timestamp", "request tokens", "response tokens"),
    RequestFormat("vidur", "arrived_at", "num_prefill_tokens", "num_decode_tokens"),
    RequestFormat("servegen", "timestamp", "input_tokens", "output_tokens"),
    RequestFormat("maf2021", "end_timestamp", duration="duration", function=("app", "func")),
)
"""Comma-separated formats. ServeGen's is what its `save_requests_to_csv` writes."""

JSON_FORMATS: tuple[RequestFormat, ...] = (
    RequestFormat(
        "mooncake", "timestamp", "input_length", "output_length", unit_s=1e-3, json_lines=True
    ),
)


def columns_of(header: bytes) -> list[str]:
    """Names of the columns in a header line, in lower case."""
    text = header.decode("utf-8", "replace").replace("\x00", "")
    return [name.strip().strip('"').strip().lower() for name in text.split(",")]


def fields_of(line: bytes) -> list[str]:
    """Names of the fields of a JSON object, even of a damaged one."""
    return [name.decode("utf-8", "replace") for name in re.findall(rb'"([^"]*)"\s*:', line)]


def recognise(names: Sequence[str], formats: Sequence[RequestFormat]) -> RequestFormat | None:
    """The first of `formats` whose required columns are all among `names`, or None."""
    return next((known for known in formats if known.required <= set(names)), None)


def refuse(source: str, header: bytes) -> TraceError:
    """The error for a file that nobody knows; says what was found and what would be accepted."""
    names = columns_of(header)
    if header.startswith(b"version https://git-lfs"):
        found = "a Git LFS pointer instead of the data (`git lfs pull` fetches them)"
    elif any(name.startswith("percentile_average") for name in names):
        found = "durations of functions, which hold no arrivals"
    else:
        found = repr(header[:120].decode("utf-8", "replace"))
    known = [
        f"{known.name}{' JSON lines' * known.json_lines} ({', '.join(sorted(known.required))})"
        for known in (*FORMATS, *JSON_FORMATS)
    ]
    counts = "maf2019 (calls per minute, columns 1, minute_1 or 1_minute)"
    accepted = "; ".join([counts, *known, "an npz that this package wrote"])
    return TraceError(f"format of {source}: got {found}; accepted columns: {accepted}")
