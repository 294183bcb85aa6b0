"""Evaluations as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]

COLUMNS = (
    ("router", "left"),
    ("utility of peak", "right"),
    ("95 % interval", "right"),
    ("in time", "right"),
    ("windows >= 99 %", "right"),
    ("dropped", "right"),
    ("p50 / p99", "right"),
    ("share of the models", "right"),
)


def show(rows: Sequence[Row], title: str | None = None) -> None:
    """Print reports (runner.report), in their order, as a table."""
    table = Table(title=title, title_justify="left")
    for name, justify in COLUMNS:
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*cells(row))
    # Piped output has no width of its own: give it what the table needs.
    console = Console()
    Console(width=max(console.width, 130) if not console.is_terminal else None).print(table)
    models = ", ".join(rows[0]["share"])
    print(f"share of the models: {models}; dropped: rejected by a full queue or shed as hopeless")


def cells(row: Row) -> tuple[str, ...]:
    """One report as the texts of COLUMNS."""
    utility = row["utility_of_peak"]
    return (
        row["agent"],
        f"{utility['mean']:.4f}",
        f"{utility['ci_low']:.4f} - {utility['ci_high']:.4f}",
        percent(row["deadline_met"]),
        percent(row["windows_at_least"]["0.99"]),
        percent(row["rejected"] + row["shed"]),
        f"{milliseconds(row['p50_s'])} / {milliseconds(row['p99_s'])} ms",
        " / ".join(f"{100 * share:3.0f}" for share in row["share"].values()) + " %",
    )


def percent(share: float) -> str:
    """A share in per cent."""
    return f"{100 * share:.1f} %"


def milliseconds(seconds: float | None) -> str:
    """A latency, or a dash where nothing was served."""
    return "-" if seconds is None else f"{1e3 * seconds:.0f}"
