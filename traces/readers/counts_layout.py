"""Which column of a MAF 2019 file is what: labels of minutes and names of ids vary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from traces.errors import TraceError, require
from traces.readers.formats import columns_of
from traces.readers.refusals import found_in

PLAIN = re.compile(r"-?\d{1,9}")
NAMED = re.compile(r"minute_(-?\d{1,9})|(-?\d{1,9})_minute")

IDS = ("hashowner", "hashapp", "hashfunction")

TRIGGER = "trigger"

LAST_MINUTE = 14 * 1440
"""MAF 2019 has two weeks; larger numbers are no minutes of it, but dates."""

YEARS, MOST_YEARS = (1900, 2100), 60
"""So few labels within these are taken for years, which no cut of a day looks like."""

DAYS_OF_A_YEAR = 366
"""More columns than these count no days, weeks or quarters, whatever is beside them."""

FEW_MINUTES = 10
"""So many numbers from 1 on, and no other column, may be a row of a file without a header."""


@dataclass(frozen=True)
class Layout:
    """Where the columns of a counts file are.

    Attributes:
        names: of all columns, in lower case.
        ids: columns that name a function, in the order owner, app, function; may be empty.
        trigger: column of the trigger, if any.
        minutes: columns of the minutes in the order of their labels.
        first_minute: label of the first.
        warm_up: number of columns with a label below 1, which are left out.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...]
    trigger: int | None
    minutes: tuple[int, ...]
    first_minute: int
    warm_up: int

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.names)

    @property
    def is_bare(self) -> bool:
        """Whether nothing but a few numbers says that this is a header, and not a row."""
        return len(self.names) == len(self.minutes) <= FEW_MINUTES

    @property
    def roles(self) -> dict[str, str]:
        """What every column is taken for; the minutes are one entry."""
        roles = {self.names[i]: "id of the function" for i in self.ids}
        if self.trigger is not None:
            roles[self.names[self.trigger]] = "trigger"
        last = self.first_minute + len(self.minutes) - 1
        roles[f"{self.first_minute} to {last}"] = f"calls in each of {len(self.minutes)} minutes"
        if self.warm_up:
            roles["labels below 1"] = "warm-up, left out"
        unread = [n for n in self.names if n not in roles and label_of(n) is None]
        return roles | dict.fromkeys(unread, "not read")


def layout_of(header: bytes, source: str) -> Layout | None:
    """The layout of a counts file, or None if the header is none of MAF 2019.

    Its own are the id columns, names such as minute_1, or numbers from 1 on beside nothing but a
    trigger, or more of them than a year has days; other numbers may be anything: years, dates, or
    a row of a file without a header.

    Raises:
        TraceError: minutes that are missing, repeated or no minutes of a day.
    """
    names = columns_of(header)
    for name in (*IDS, TRIGGER):
        require(names.count(name) < 2, f"{source}:1: column {name!r}", names.count(name), "one")
    labels = {i: minute for i, name in enumerate(names) if (minute := label_of(name)) is not None}
    if not labels or header.lstrip().startswith((b"{", b"[")) or not is_own(names, labels):
        return None
    # Numbers that begin at 0 count from there; below 0 they are the warm-up of a simulation.
    start = 0 if min(labels.values()) == 0 else 1
    used = sorted((minute, i) for i, minute in labels.items() if minute >= start)
    if not used:
        return None
    check_minutes([minute for minute, _ in used], f"format of {source}: got {found_in(header)}")
    return Layout(
        names=tuple(names),
        ids=tuple(names.index(name) for name in IDS if name in names),
        trigger=names.index(TRIGGER) if TRIGGER in names else None,
        minutes=tuple(i for _, i in used),
        first_minute=used[0][0],
        warm_up=len(labels) - len(used),
    )


def is_own(names: Sequence[str], labels: Mapping[int, int]) -> bool:
    """Whether a header with these labels is one of MAF 2019."""
    if any(name in names for name in IDS) or any(NAMED.fullmatch(names[i]) for i in labels):
        return True
    # One number alone, or numbers that begin elsewhere, are as likely a row as a header.
    others = {name for i, name in enumerate(names) if i not in labels}
    minutes = list(labels.values())
    begins = min(minutes) < 0 or min(minutes) == 1
    alone = others <= {TRIGGER} or len(minutes) > DAYS_OF_A_YEAR
    return begins and minutes == sorted(minutes) and alone and len(names) > 1


def check_minutes(minutes: Sequence[int], found: str) -> None:
    """Raise a TraceError unless sorted labels are every minute of a range within a day, once."""
    first, last = minutes[0], minutes[-1]
    whole = len(set(minutes)) == len(minutes) == last - first + 1
    if not whole:
        said = f"{found}; as labels of minutes {len(minutes)} minutes from {first} to {last}"
        raise TraceError(f"{said}; accepted: every minute of a range, once")
    years = first >= YEARS[0] and last <= YEARS[1] and len(minutes) < MOST_YEARS
    if years or last > LAST_MINUTE:
        said = f"{found}; as labels of minutes {first} to {last}"
        raise TraceError(f"{said}; accepted: minutes of the 14 days, 1 to {LAST_MINUTE}, no years")


def label_of(name: str) -> int | None:
    """The minute that a column is labelled with: `7`, `minute_7` or `7_minute`."""
    if PLAIN.fullmatch(name):
        return int(name)
    match = NAMED.fullmatch(name)
    return int(match.group(1) or match.group(2)) if match else None
