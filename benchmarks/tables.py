"""Evaluations as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.evaluation.intervals import Interval, worth_text

Row = Mapping[str, Any]

COLUMNS = (
    "utility of peak",
    "in time",
    "windows\n>= 99 %",
    "dropped",
    "p50 / p99\nms",
    "share of models\n%",
)
NARROWEST = 112
"""Columns of text that the table takes; piped output has no width of its own."""


def show(rows: Sequence[Row], title: str | None = None) -> None:
    """Print reports (runner.summarise), in their order, as a table."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("router", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row["agent"], *cells(row))
    console = Console()
    Console(width=max(console.width, NARROWEST)).print(table)
    models = ", ".join(rows[0]["share"])
    episodes = worth_text(rows[0]["episodes"], rows[0]["independent_episodes"])
    print(
        f"utility of peak: mean over {episodes};\n"
        "in brackets the 95 % interval of what other arrivals of this kind would come to;\n"
        "windows: seconds with at least 99 % of peak; dropped: rejected by a full queue, or shed\n"
        f"because hopelessly late; models: {models}"
    )


def cells(row: Row) -> tuple[str, ...]:
    """One report as the texts of COLUMNS."""
    return (
        Interval.from_json(row["utility_of_peak"]).text(),
        percent(row["deadline_met"]),
        percent(row["windows_at_least"]["0.99"]),
        percent(row["rejected"] + row["shed"]),
        f"{milliseconds(row['p50_s'])} / {milliseconds(row['p99_s'])}",
        " / ".join(f"{100 * share:.0f}" for share in row["share"].values()),
    )


def percent(share: float) -> str:
    """A share in per cent."""
    return f"{100 * share:.1f} %"


def milliseconds(seconds: float | None) -> str:
    """A latency, or a dash where nothing was served."""
    return "-" if seconds is None else f"{1e3 * seconds:.0f}"
