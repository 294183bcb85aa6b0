"""Tables of measured steps: the CSV file, plain or compressed with xz, that `step_times` names.

A row is one time in microseconds, `table,gpu,model,row,column,us`, on a kind of GPU and of a model
of the profile. Four tables make the step times of a model on a kind of GPU, or up to six, each with
all pairs of its rows and columns:

    linear   by the tokens of the step; no column
    decode   attention, by the requests that decode and their mean context
    prefill  attention, by the tokens of a piece of a prompt and those computed before it
    head     by the requests that get a token; no column
    mixed    as decode, in steps that also compute prompts; may be left out
    beside   what these take longer, by the requests that decode and the tokens of prompts; likewise

Lines that start with `#` say where it is from.
"""

from __future__ import annotations

import lzma
from collections import defaultdict
from collections.abc import Collection, Iterator
from importlib.resources.abc import Traversable
from typing import NamedTuple

from llmroute_env.engine_specs import Line, Surface
from llmroute_env.specs import ConfigError, require
from traces.typed import nearest

COLUMNS = ("table", "gpu", "model", "row", "column", "us")

TABLES = ("linear", "decode", "prefill", "head", "mixed", "beside")

OPTIONAL = ("mixed", "beside")
"""Tables that may be left out."""

SURFACES = ("decode", "prefill", *OPTIONAL)
"""Tables that have columns."""

LARGEST_KNOT = 2**24
"""Most tokens or requests that a row or column may stand for."""

Points = dict[tuple[int, int], float]
"""Microseconds by row and column; the column of a line is 0."""

Tables = dict[str, Points]


class Parts(NamedTuple):
    """The times of a step's parts, as StepTimes has them."""

    linear: Line
    decode: Surface
    prefill: Surface
    head: Line
    mixed: Surface | None
    beside: Surface | None


class Known(NamedTuple):
    """What the rows of a file may be of."""

    gpus: Collection[str]
    models: Collection[str]


def read(folder: Traversable, name: str, known: Known) -> dict[tuple[str, str], Parts]:
    """The parts by kind of GPU and model, as far as the file called `name` has them.

    Raises:
        ConfigError: no such file, a row that is none, or a table with a hole.
    """
    where = f"step_times {name!r}"
    require(name.endswith((".csv", ".csv.xz")), "step_times", name, "a .csv or .csv.xz file")
    try:
        content = folder.joinpath(name).read_bytes()
        text = (lzma.decompress(content) if name.endswith(".xz") else content).decode("utf-8-sig")
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise ConfigError(f"{where}: {error}; accepted: a .csv or .csv.xz file") from error
    found: dict[tuple[str, str], Tables] = defaultdict(lambda: {table: {} for table in TABLES})
    for line, cells in cells_of(text, where):
        add(found, cells, known, f"{where} line {line}")
    return {pair: parts(tables, pair, where) for pair, tables in found.items()}


def cells_of(text: str, where: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows by their line in the file, each by column."""
    lines = [
        (number, [cell.strip().strip('"') for cell in line.split(",")])
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.startswith("#")
    ]
    header = tuple(lines[0][1]) if lines else ()
    require(header == COLUMNS, f"{where} columns", ",".join(header), ",".join(COLUMNS))
    for number, cells in lines[1:]:
        accepted = f"{len(COLUMNS)}: {', '.join(COLUMNS)}"
        require(len(cells) == len(COLUMNS), f"{where} line {number} cells", len(cells), accepted)
        yield number, dict(zip(COLUMNS, cells, strict=True))


def add(
    found: dict[tuple[str, str], Tables], cells: dict[str, str], known: Known, where: str
) -> None:
    """Take one row in."""
    table = named(cells["table"], TABLES, f"{where} table")
    gpu = named(cells["gpu"], known.gpus, f"{where} gpu")
    model = named(cells["model"], known.models, f"{where} model")
    row = knot(cells["row"], f"{where} row")
    if table in SURFACES:
        column = knot(cells["column"], f"{where} column", 0 if table == "prefill" else 1)
    else:
        require(cells["column"] == "", f"{where} column", cells["column"], f"none in {table!r}")
        column = 0
    points = found[gpu, model][table]
    require((row, column) not in points, where, cells, "every point once")
    points[row, column] = microseconds(cells["us"], f"{where} us")


def named(name: str, known: Collection[str], where: str) -> str:
    """A name, if it is a known one."""
    if name not in known:
        accepted = f"{nearest(name, known)}{', '.join(known)}"
        raise ConfigError(f"{where}: got {name!r}; accepted: {accepted}")
    return name


def knot(text: str, where: str, least: int = 0) -> int:
    """A number of tokens or requests."""
    is_short = text.isascii() and text.isdigit() and len(text) < 10
    valid = is_short and least <= int(text) <= LARGEST_KNOT
    require(valid, where, text, f"an integer from {least} to {LARGEST_KNOT}")
    return int(text)


def microseconds(text: str, where: str) -> float:
    """A time."""
    try:
        time_us = float(text)
    except ValueError:
        time_us = -1.0
    require(0 <= time_us < 3.6e9, where, text, "microseconds >= 0, below an hour")
    return time_us


def parts(tables: Tables, pair: tuple[str, str], where: str) -> Parts:
    """The tables of a model on a kind of GPU, without holes."""
    gpu, model = pair
    of = f"of {model!r} on {gpu!r}"
    needed = [table for table in TABLES if table not in OPTIONAL]
    missing = [table for table in needed if not tables[table]]
    require(not missing, f"{where} lacks", f"{', '.join(missing)} {of}", ", ".join(needed))
    optional = (
        surface(tables[table], f"{where} {table} {of}") if tables[table] else None
        for table in OPTIONAL
    )
    return Parts(
        line(tables["linear"]),
        surface(tables["decode"], f"{where} decode {of}"),
        surface(tables["prefill"], f"{where} prefill {of}"),
        line(tables["head"]),
        *optional,
    )


def line(points: Points) -> Line:
    """A table without columns."""
    rows = sorted(points)
    return Line(tuple(row for row, _ in rows), tuple(points[row] / 1e6 for row in rows))


def surface(points: Points, where: str) -> Surface:
    """A table with columns.

    Raises:
        ConfigError: a pair of its rows and columns is missing.
    """
    rows = sorted({row for row, _ in points})
    columns = sorted({column for _, column in points})
    holes = [(row, column) for row in rows for column in columns if (row, column) not in points]
    if holes:
        row, column = holes[0]
        accepted = "a time for every pair of its rows and columns"
        raise ConfigError(f"{where}: got none at row {row}, column {column}; accepted: {accepted}")
    seconds = tuple(tuple(points[row, column] / 1e6 for column in columns) for row in rows)
    return Surface(tuple(rows), tuple(columns), seconds)
