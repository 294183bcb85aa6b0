"""Blocks of lines as data frames of text; a row is never lost on the way."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from traces.readers.blocks import Block
from traces.readers.reports import Mask


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


def json_frame(block: Block, names: Sequence[str]) -> tuple[pl.DataFrame, Mask]:
    """Fields `names` of JSON objects, as numbers, and which lines are not such objects."""
    values = np.full((len(names), len(block.lines)), np.nan)
    broken = np.zeros(len(block.lines), np.bool_)
    for row, text in enumerate(block.rows()):
        try:
            record = json.loads(text)
            values[:, row] = [as_number(record[name]) for name in names]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            broken[row] = True
    return pl.DataFrame({name: values[i] for i, name in enumerate(names)}), broken


def as_number(value: object) -> float:
    """A JSON number; anything else is NaN, and is judged where its column is."""
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if numeric else float("nan")  # type: ignore[arg-type]


def cell_counts_differ(commas: NDArray[np.int64], width: int) -> Mask:
    """(N,) which lines do not have `width` cells, by their number of commas."""
    differ: Mask = commas != width - 1
    return differ
