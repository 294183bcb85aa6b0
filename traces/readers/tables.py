"""Blocks of lines as data frames of text; a row is never lost on the way."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import numpy as np
import polars as pl

from traces.errors import TraceError
from traces.readers.blocks import Block, separators
from traces.readers.reports import Fault, Mask, ReadReport


def csv_frame(block: Block, width: int, wanted: Sequence[int]) -> pl.DataFrame:
    """Columns number `wanted` of lines with `width` cells each, as text."""
    names = [f"column_{i + 1}" for i in range(width)]
    # A quote that is never closed would swallow the lines up to the next one; no format needs any.
    text = block.text.replace(b'"', b"")
    try:
        frame = pl.read_csv(
            io.BytesIO(text),
            has_header=False,
            schema=dict.fromkeys(names, pl.String),
            columns=[names[i] for i in wanted],
            quote_char=None,
            encoding="utf8-lossy",
            raise_if_empty=False,
        ).select([names[i] for i in wanted])
    except pl.exceptions.PolarsError:
        frame = pl.DataFrame()
    return frame if len(frame) == len(block.lines) else _cell_by_cell(block, names, wanted)


def _cell_by_cell(block: Block, names: list[str], wanted: Sequence[int]) -> pl.DataFrame:
    """As csv_frame, line by line: slow, but no byte makes it lose a row."""
    rows = [row.replace(b'"', b"").decode("utf-8", "replace").split(",") for row in block.rows()]
    columns = {names[i]: [row[i] for row in rows] for i in wanted}
    return pl.DataFrame(columns, schema={names[i]: pl.String for i in wanted})


def json_frame(
    block: Block, names: Sequence[str], time: str, source: str
) -> tuple[pl.DataFrame, Mask]:
    """Fields `names` of JSON objects, as numbers, and which lines are not such objects.

    Raises:
        TraceError: a request without the field `time`, but with a delay after the one before it,
            which no file of arrivals can say.
    """
    values = np.full((len(names), len(block.lines)), np.nan)
    broken = np.zeros(len(block.lines), np.bool_)
    for row, text in enumerate(block.rows()):
        try:
            record = json.loads(text)
            if isinstance(record, dict) and time not in record and "delay" in record:
                raise TraceError(
                    f"{source}:{block.lines[row]}: got a request with a `delay` after the answer "
                    f"before it, and no `{time}`; accepted: `{time}` in every request"
                )
            values[:, row] = [as_number(record[name]) for name in names]
        except TraceError:
            raise
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            broken[row] = True
    return pl.DataFrame({name: values[i] for i, name in enumerate(names)}), broken


def as_number(value: object) -> float:
    """A JSON number; anything else is NaN, and is judged where its column is."""
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if numeric else float("nan")  # type: ignore[arg-type]


def well_formed(block: Block, width: int, report: ReadReport) -> Block:
    """The rows that have `width` cells and close their quotes; the others are counted.

    Ragged lines would shift or stop the parser, so they are judged before it sees them.
    """
    commas = separators(block)
    broken = np.zeros(len(commas), np.bool_) if block.broken is None else block.broken
    bad = broken | (commas != width - 1)
    if not bad.any():
        return block
    rows = [row for row, wrong in zip(block.rows(), bad, strict=True) if wrong]
    cells = f"{width} cells"
    faults = [
        Fault("quote that is not closed", broken[bad], rows, cells),
        Fault("number of cells", np.ones(len(rows), np.bool_), rows, cells),
    ]
    report.judge(block.lines[bad], faults)
    return block.take(~bad)
