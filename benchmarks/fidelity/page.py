"""The comparison as tables in Markdown, for people and for docs/fidelity.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from benchmarks.fidelity.comparison import (
    Compared,
    TpotPair,
    of_runs,
    of_tables,
    of_variants,
    reached,
)
from benchmarks.fidelity.measured import Measured, OpenLoop


class Findings(NamedTuple):
    """All that is compared."""

    runs: list[Compared]
    variants: list[tuple[str, list[Compared]]]
    tables: list[TpotPair]


def findings() -> Findings:
    """Simulate and compare everything; takes some ten seconds."""
    return Findings(of_runs(), list(of_variants()), of_tables())


def text(found: Findings) -> str:
    """Every table, one after the other."""
    parts = (*run_tables(found.runs), *variant_table(found.variants), *tpot_tables(found.tables))
    return "\n".join(parts)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def percent(error: float) -> str:
    """An error with its sign."""
    return f"{100 * error:+.1f} %"


def run_tables(rows: Sequence[Compared]) -> list[str]:
    """A table for every run."""
    lines: list[str] = []
    for where, own in groupby(rows, lambda row: row.where):
        columns = (f"{where}, Llama-3.1-8B", "measured", "predicted", "error", "target")
        lines += ["", *table(columns, (run_row(row) for row in own))]
    return lines[1:]


def run_row(row: Compared) -> tuple[str, ...]:
    """One figure of a run, and whether it is within its target, if it has one."""
    scale, unit = (1e3, "ms") if row.figure == "TPOT" else (1.0, "s")
    said = [f"{scale * value:.2f} {unit}" for value in (row.measured_s, row.predicted_s)]
    named = row.statistic in ("mean", "p99")
    mark = ("reached" if reached(row) else "missed") if named else ""
    return f"{row.figure} {row.statistic}", *said, percent(row.error), mark


def variant_table(variants: Sequence[tuple[str, list[Compared]]]) -> list[str]:
    """What each choice does to the errors of the means, and of the p99 of E2E."""
    runs = list(dict.fromkeys(row.where for row in variants[0][1]))
    columns = [f"{run} {figure}" for run in runs for figure in ("TTFT", "TPOT", "E2E", "E2E p99")]
    return ["", *table(["error of the mean", *columns], map(variant_row, variants))]


def variant_row(variant: tuple[str, list[Compared]]) -> list[str]:
    """The errors of one variant."""
    name, rows = variant
    shown = [r for r in rows if r.statistic == "mean" or (r.figure, r.statistic) == ("E2E", "p99")]
    return [name, *(percent(row.error) for row in shown)]


def tpot_tables(pairs: Sequence[TpotPair]) -> list[str]:
    """A table for every source, and how far off it is in all."""
    lines: list[str] = []
    for source, group in groupby(pairs, lambda pair: pair.row.source):
        own = list(group)
        columns = (
            source,
            "prompt + answer",
            "in flight",
            "TPOT measured",
            "predicted",
            "error",
            "operators alone",
        )
        lines += ["", *table(columns, map(tpot_row, own)), "", summary(source, own)]
    return lines


def tpot_row(pair: TpotPair) -> tuple[str, ...]:
    """One row of a table of TPOT."""
    row = pair.row
    return (
        f"{row.model}, {row.setup.step_times.partition('-')[0].upper()} x {row.gpus}",
        f"{row.prompt_tokens} + {row.output_tokens}",
        str(row.concurrency),
        f"{1e3 * row.tpot_s:.2f} ms",
        f"{1e3 * pair.predicted_s:.2f} ms",
        percent(pair.error),
        percent(pair.bare_s / row.tpot_s - 1),
    )


def summary(source: str, pairs: Sequence[TpotPair]) -> str:
    """How far off the predictions of a table are in all."""
    errors = np.array([pair.error for pair in pairs])
    return (
        f"{source}: mean absolute error {100 * np.abs(errors).mean():.1f} %, mean error "
        f"{percent(float(errors.mean()))}, from {percent(float(errors.min()))} to "
        f"{percent(float(errors.max()))}."
    )


def as_json(found: Findings) -> dict[str, Any]:
    """The same as numbers."""
    return {
        "runs": [row._asdict() | {"error": row.error} for row in found.runs],
        "variants": {
            name: [row._asdict() | {"error": row.error} for row in rows]
            for name, rows in found.variants
        },
        "tpot": [
            {
                "source": pair.row.source,
                "step_times": pair.row.setup.step_times,
                "prompt_tokens": pair.row.prompt_tokens,
                "output_tokens": pair.row.output_tokens,
                "concurrency": pair.row.concurrency,
                "measured_s": pair.row.tpot_s,
                "predicted_s": pair.predicted_s,
                "operators_alone_s": pair.bare_s,
                "error": pair.error,
            }
            for pair in found.tables
        ],
    }


def measured_text(found: Measured) -> str:
    """A table for every open loop of a machine of one's own, and what could not be compared."""
    quick = ", tiny networks, which say nothing about a GPU" if found.quick else ""
    lines = [f"Measured on {found.device}{quick}."] if found.device else []
    for loop in found.loops:
        some = f"{loop.answered} of {loop.requests} requests ({loop.steps})"
        head = f"{loop.pair.run.name}, {some}", "measured", "predicted", "error"
        lines += ["", *table(head, map(measured_row, loop.rows))]
    lines += ["", *(f"Left out: {name}, {why}." for name, why in found.left_out.items())]
    return "\n".join(lines).strip()


def measured_row(row: Compared) -> tuple[str, ...]:
    """One figure of an open loop, in milliseconds."""
    said = [f"{1e3 * value:.2f} ms" for value in (row.measured_s, row.predicted_s)]
    return f"{row.figure} {row.statistic}", *said, percent(row.error)


def measured_json(found: Measured) -> dict[str, Any]:
    """The same as numbers."""
    loops = [loop_json(loop) for loop in found.loops]
    told = {"device": found.device, "quick": found.quick, "left_out": found.left_out}
    return {"measured": loops, **told}


def loop_json(loop: OpenLoop) -> dict[str, Any]:
    """An open loop as numbers."""
    told = {"model": loop.model, "load": loop.load, "engine": loop.engine, "steps": loop.steps}
    counts = {"requests": loop.requests, "answered": loop.answered}
    rows = [row._asdict() | {"error": row.error} for row in loop.rows]
    return {**told, **counts, "figures": rows}
