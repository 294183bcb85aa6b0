"""Evaluations as a table for people."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from agents.compiled.guards import Overruling
from benchmarks.evaluation.intervals import Interval, worth_text

Row = Mapping[str, Any]

COLUMNS = (
    "utility of peak",
    "in time",
    "goodput\n1/s",
    "windows\n>= 99 %",
    "dropped",
    "p50 / p99\nms",
    "share of\nmodels, %",
)
OF_FAILURES = ("lost", "retries")
"""Columns more where machines fail, after what was dropped."""
WIDEST = 10_000
"""Columns of text where the output is no terminal, which has a width: as many as it takes."""

BLOCK = 20
"""Columns of text of a figure's name."""


def show(rows: Sequence[Row], title: str | None = None) -> None:
    """Print reports (runner.summarise), in their order: a table, or where it is too wide blocks."""
    console, whole = Console(), table(rows, title)
    # With both given, they hold for a terminal that cannot say its own as well.
    wide = Console(width=WIDEST, height=console.height)
    if not console.is_terminal or wide.measure(whole).maximum <= console.width:
        wide.print(whole)
    else:
        print(blocks(rows, title))
    models = ", ".join(rows[0]["share"])
    episodes = worth_text(rows[0]["episodes"], rows[0]["independent_episodes"])
    print(
        f"utility of peak: mean over {episodes};\n"
        "in brackets the 95 % interval of what other arrivals of this kind would come to;\n"
        "goodput: requests in time per second; windows: seconds with at least 99 % of peak;\n"
        "dropped: rejected by a full queue, or shed because hopelessly late;\n"
        f"{words_of_failures(rows)}models: {models}"
    )
    print(textwrap.fill(environment_words(rows[0]), console.width))
    for line in guard_words(rows):
        print(line)


def can_lose(rows: Sequence[Row]) -> bool:
    """Whether requests can be lost, as where machines fail."""
    return "lost" in rows[0]


def words_of_failures(rows: Sequence[Row]) -> str:
    """What OF_FAILURES are; nothing where machines do not fail."""
    if not can_lose(rows):
        return ""
    return "lost: failed with machines, and not sent again; retries: those sent again, in all;\n"


def columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """The columns of a table of `rows`, but for the router."""
    after = COLUMNS.index("dropped") + 1
    more = OF_FAILURES if can_lose(rows) else ()
    return (*COLUMNS[:after], *more, *COLUMNS[after:])


def environment_words(row: Row) -> str:
    """On what routers were evaluated."""
    load = row["load"]
    of_load = "its own load" if load is None else f"load {load}"
    if isinstance(load, (list, tuple)):
        of_load = f"load {load[0]} to {load[1]}"
    names = {"deadline_s": "the answer", "ttft_s": "the first token", "tpot_s": "each after it"}
    due = ", ".join(f"{row[name]:g} s for {what}" for name, what in names.items() if name in row)
    deadline = f"{row['deadline']} deadline: {due or 'none'}"
    return f"{row['scenario']}, {row['split']} split, {of_load}, {row['profile']}, {deadline}"


def guard_words(rows: Sequence[Row]) -> list[str]:
    """What the networks of guarded routers add to their heuristics, a line for each."""
    found = [(row["agent"], row["guard"]) for row in rows if "guard" in row]
    return [
        f"{agent}, guarded by {guard['heuristic']}: "
        f"{Overruling(guard['overruled'], guard['gain']['mean']).words()}"
        for agent, guard in found
    ]


def table(rows: Sequence[Row], title: str | None) -> Table:
    """Reports as a table: a row for each."""
    found = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    found.add_column("router", no_wrap=True)
    for name in columns(rows):
        found.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        found.add_row(row["agent"], *cells(row))
    return found


def blocks(rows: Sequence[Row], title: str | None) -> str:
    """Reports one under the other, a line for each figure."""
    names = [name.replace("\n", " ") for name in columns(rows)]
    lines = [] if title is None else [title]
    for row in rows:
        lines.append(row["agent"])
        lines += [f"  {name:{BLOCK}} {text}" for name, text in zip(names, cells(row), strict=True)]
    return "\n".join([*lines, ""])


def cells(row: Row) -> tuple[str, ...]:
    """One report as the texts of `columns`."""
    of_failures = (percent(row["lost"]), f"{row['retried']:,}") if can_lose([row]) else ()
    return (
        Interval.from_json(row["utility_of_peak"]).text(),
        percent(row["deadline_met"]),
        f"{row['goodput_per_s']:.1f}",
        percent(row["windows_at_least"]["0.99"]),
        percent(row["rejected"] + row["shed"]),
        *of_failures,
        f"{milliseconds(row['p50_s'])} / {milliseconds(row['p99_s'])}",
        " / ".join(f"{100 * share:.0f}" for share in row["share"].values()),
    )


def percent(share: float) -> str:
    """A share in per cent."""
    return f"{100 * share:.1f} %"


def milliseconds(seconds: float | None) -> str:
    """A latency, or a dash where nothing was served."""
    return "-" if seconds is None else f"{1e3 * seconds:.0f}"
