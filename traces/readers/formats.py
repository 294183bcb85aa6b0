"""Formats of files with one line a request, recognised by the names of their columns."""

from __future__ import annotations

import dataclasses
import json
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
    def may_be_dated(self) -> bool:
        """Whether dates may stand where the format has numbers: its name for them says no unit."""
        return not self.keep_origin and self.duration is None

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


PROMPT_NAMES, OUTPUT_NAMES = (
    frozenset(
        name.replace(" ", "").replace("_", "")
        for name in (*(getattr(known, column) for known in (*FORMATS, *JSON_FORMATS)), *others)
        if name is not None
    )
    for column, others in (("prompt", ()), ("output", ("completion_tokens",)))
)
"""What the known formats, and the OpenAI API, call the lengths; without blanks and underscores."""


def columns_of(header: bytes) -> list[str]:
    """Names of the columns in a header line, in lower case."""
    text = header.decode("utf-8", "replace")
    names = (name.strip().strip('"').strip().lower() for name in text.split(","))
    # In the place of a comma within quotes (readers.quoting).
    return [name.replace("\x1f", ",") for name in names]


def fields_of(line: bytes) -> list[str]:
    """Names of the fields of a JSON object, even of a damaged one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        named = re.findall(rb'"([^"]*)"\s*:', line)
        return list(dict.fromkeys(name.decode("utf-8", "replace") for name in named))
    return [str(name) for name in record] if isinstance(record, dict) else []


def recognise(names: Sequence[str], formats: Sequence[RequestFormat]) -> RequestFormat | None:
    """The first of `formats` whose required columns are all among `names`, or None.

    Lengths that it does not require are found under every name that some format has for them.

    Raises:
        TraceError: two columns for one thing.
    """
    known = next((known for known in formats if known.required <= set(names)), None)
    if known is None:
        return None
    known = dataclasses.replace(
        known,
        prompt=length_column(names, known.prompt, PROMPT_NAMES),
        output=length_column(names, known.output, OUTPUT_NAMES),
    )
    twice = [name for name in known.columns if names.count(name) > 1]
    if twice:
        raise TraceError(f"column {twice[0]!r}: got {names.count(twice[0])} of it; accepted: one")
    return known


def length_column(names: Sequence[str], usual: str | None, others: frozenset[str]) -> str | None:
    """The column of a length: the format's own, else the one that is called so elsewhere."""
    if usual in names:
        return usual
    found = [name for name in names if name.replace(" ", "").replace("_", "") in others]
    if len(found) > 1:
        accepted = f"one of them, or {usual} beside them" if usual else "one of them"
        raise TraceError(f"columns of one length: got {', '.join(found)}; accepted: {accepted}")
    return found[0] if found else None
