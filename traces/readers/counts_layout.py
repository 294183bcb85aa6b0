"""Which column of a MAF 2019 file is what: labels of minutes and names of ids vary."""

from __future__ import annotations

import re
from dataclasses import dataclass

from traces.errors import TraceError
from traces.readers.formats import columns_of

LABEL = re.compile(r"(?:minute_)?(-?\d{1,9})|(-?\d{1,9})_minute")

IDS = ("hashowner", "hashapp", "hashfunction")


@dataclass(frozen=True)
class Layout:
    """Where the columns of a counts file are.

    Attributes:
        width: number of columns.
        ids: columns that name a function, in the order owner, app, function; may be empty.
        trigger: column of the trigger, if any.
        minutes: columns of the minutes 1, 2, ... in that order.
        first_minute: label of the first.
        warm_up: number of columns with a label below 1, which are left out.
    """

    width: int
    ids: tuple[int, ...]
    trigger: int | None
    minutes: tuple[int, ...]
    first_minute: int
    warm_up: int


def layout_of(header: bytes, source: str) -> Layout | None:
    """The layout of a counts file, or None if the header has no labels of minutes.

    Raises:
        TraceError: minutes that are missing or repeated.
    """
    names = columns_of(header)
    labels = {i: minute for i, name in enumerate(names) if (minute := minute_of(name)) is not None}
    used = sorted((minute, i) for i, minute in labels.items() if minute >= 1)
    if not used:
        return None
    first, last = used[0][0], used[-1][0]
    if len({minute for minute, _ in used}) != len(used) or last - first + 1 != len(used):
        found = f"{len(used)} minutes from {first} to {last}"
        raise TraceError(f"{source}:1: got {found}; accepted: every minute of a range, once")
    return Layout(
        width=len(names),
        ids=tuple(names.index(name) for name in IDS if name in names),
        trigger=names.index("trigger") if "trigger" in names else None,
        minutes=tuple(i for _, i in used),
        first_minute=first,
        warm_up=len(labels) - len(used),
    )


def minute_of(name: str) -> int | None:
    """The minute that a column is labelled with: `7`, `minute_7` or `7_minute`."""
    match = LABEL.fullmatch(name)
    return int(match.group(1) or match.group(2)) if match else None
