"""What each choice that the paper leaves open does to result (b), from rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.evaluation.metrics import THRESHOLDS, WINDOW_S
from benchmarks.report.data import Results
from benchmarks.report.page import Part, Table
from benchmarks.report.paper.static.grid import (
    H100,
    RECIPE,
    SHEDDING,
    STATIC,
    Case,
    Multiples,
    Setting,
    cases,
    chosen,
    counts,
    text,
)
from benchmarks.report.paper.static.sensitivity import BASE, Move, from_the_base

Found = Mapping[Case, Multiples]
EPISODES, WINDOWS = "length of episodes", "length of windows"
DIMENSIONS: dict[str, Callable[[Case], Any]] = {
    "workload": lambda case: case.spot.workload,
    "load": lambda case: case.spot.load,
    EPISODES: lambda case: case.spot.length_s,
    WINDOWS: lambda case: case.window_s,
}
"""What the cases of a setting differ in."""
SETTINGS_DIFFER: dict[str, dict[Setting, str]] = {
    "shedding": {STATIC: "off", SHEDDING: "on"},
    "GPU profile": {STATIC: "A100", H100: "H100"},
}
"""What settings differ in."""


def said(dimension: str, value: Any) -> str:
    """A choice's value in words."""
    beginning = {"load": "load ", EPISODES: "episodes of ", WINDOWS: "windows of "}
    return f"{beginning.get(dimension, '')}{short(dimension, value)}"


def short(dimension: str, value: Any) -> str:
    """A choice's value where its name stands beside it."""
    if dimension in (EPISODES, WINDOWS):
        return f"{value:g} s"
    return f"{value:g}" if dimension == "load" else str(value)


def by_value(found: Found, of: Callable[[Case], Any]) -> dict[Any, dict[Case, Multiples]]:
    """Cases by the value of a choice."""
    groups: dict[Any, dict[Case, Multiples]] = {}
    for case, values in found.items():
        groups.setdefault(of(case), {})[case] = values
    return groups


def nowhere(found: Found) -> list[str]:
    """By threshold, the values of choices with which no case reaches the paper's multiple."""
    texts = []
    for i, (threshold, hits) in enumerate(zip(THRESHOLDS, counts(found.values()), strict=True)):
        missed = [
            said(dimension, value)
            for dimension, of in DIMENSIONS.items()
            for value, group in by_value(found, of).items()
            if not counts(group.values())[i]
        ]
        if hits and missed:
            texts.append(f"with {' or '.join(missed)} at {100 * threshold:.0f} %")
    return texts


def where(results: Results) -> list[Part]:
    """With which choices the paper's multiples are reached, router by router."""
    wanted = [(STATIC, chosen(results)), (STATIC, RECIPE), (SHEDDING, chosen(results))]
    columns = {key: cases(results, *key) for key in dict.fromkeys(wanted)}
    columns = {key: found for key, found in columns.items() if found}
    rows = []
    for dimension, of in DIMENSIONS.items():
        groups = [by_value(found, of) for found in columns.values()]
        for value in sorted({value for group in groups for value in group}):
            texts = [reached_text(group.get(value, {})) for group in groups]
            rows.append((said(dimension, value), *(t for pair in texts for t in pair)))
    head = [(f"{who}, {setting.name}: cases", "median") for setting, who in columns]
    note = (
        "In how many cases a router has at least the paper's multiple of windows at >= 96 / 98 / "
        "99 % of peak, and the median of its multiples. Where OPT-6.7B alone has no such window "
        "there is no multiple, and none is reached."
    )
    title = "(b) Where the paper's multiples are reached"
    return [Table(title, ("cases with", *sum(head, ())), tuple(rows), note)] if rows else []


def reached_text(found: Found) -> tuple[str, str]:
    """In how many of the cases, and the medians."""
    if not found:
        return "-", "-"
    hits = " / ".join(map(str, counts(found.values())))
    return f"{hits} of {len(found)}", text(medians(found))


def medians(found: Mapping[Any, Multiples]) -> Multiples:
    """Median multiple by threshold, of the cases that have one."""
    columns = [[v for v in column if v is not None] for column in zip(*found.values(), strict=True)]
    return tuple(float(np.median(column)) if column else None for column in columns)


def words(results: Results) -> Iterator[str]:
    """What each choice does, when only it changes; the one that moves the multiples most first."""
    moved = [*over_the_grid(results), *from_the_base(results)]
    ordered = sorted(moved, key=lambda move: -spread(move[1]))
    if ordered:
        each = [f"{name} ({', '.join(f'{v} {text(m)}' for v, m in ms)})" for name, ms in ordered]
        yield (
            f"(b) What each choice does to the multiples of {chosen(results)} at >= 96 / 98 / "
            "99 % of peak when only it changes, the one that moves them most first: "
            f"{'; '.join(each)}. {SOURCE}"
        )


SOURCE = (
    "Of shedding, GPU profile, workload, load and lengths it is the median over the cases that "
    f"differ in nothing else; of the others the value at load {BASE.load:g} on {BASE.workload}, "
    f"episodes of {BASE.length_s:g} s, windows of {WINDOW_S:g} s."
)


def over_the_grid(results: Results) -> Iterator[Move]:
    """Choices that the grid changes, and those that make its settings."""
    who = chosen(results)
    static = cases(results, STATIC, who)
    for choice, values in SETTINGS_DIFFER.items():
        (other,) = (setting for setting in values if setting != STATIC)
        found = {**static, **cases(results, other, who)}
        yield from matched(choice, found, lambda case, names=values: names[case.spot.setting])  # type: ignore[misc]
    for dimension, of in DIMENSIONS.items():
        yield from matched(dimension, static, of)


def matched(choice: str, found: Found, of: Callable[[Case], Any]) -> Iterator[Move]:
    """Medians by value of a choice, over the cases that there are for each of its values."""
    groups = {
        value: {others(case, choice): values for case, values in group.items()}
        for value, group in by_value(found, of).items()
    }
    if len(groups) > 1:
        found_of = paired_medians(list(groups.values()))
        if any(value is not None for values in found_of for value in values):
            yield choice, [(short(choice, v), m) for v, m in zip(groups, found_of, strict=True)]


def paired_medians(groups: Sequence[Mapping[Any, Multiples]]) -> list[Multiples]:
    """Median multiples of each group, by threshold over the cases that have one in all groups."""
    common = set.intersection(*map(set, groups))
    columns = []
    for i in range(len(THRESHOLDS)):
        known = [key for key in common if all(group[key][i] is not None for group in groups)]
        # Of what is known nothing is None.
        values = [[float(group[key][i] or 0.0) for key in known] for group in groups]
        columns.append([float(np.median(v)) if v else None for v in values])
    return list(zip(*columns, strict=True))


def others(case: Case, choice: str) -> tuple[Any, ...]:
    """All that a case is within its setting, but for one choice."""
    return tuple(of(case) for dimension, of in DIMENSIONS.items() if dimension != choice)


def spread(values: list[tuple[str, Multiples]]) -> float:
    """Largest over smallest multiple, at the threshold where that is most."""
    columns = zip(*(multiples for _, multiples in values), strict=True)
    known = [[v for v in column if v] for column in columns]
    return max((max(column) / min(column) for column in known if column), default=0.0)
