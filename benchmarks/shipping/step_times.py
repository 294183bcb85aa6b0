"""Makes the tables of steps of the package: `python -m benchmarks.shipping.step_times FOLDER`.

FOLDER holds step times that were composed from the operator times of ai-dynamo/aiconfigurator, in
four files, `step_linear_us.csv` and so on, with the columns gpu, model, tp, one or two knots, us.
llmroute_env/profiles/README.md says what is changed here.
"""

from __future__ import annotations

import csv
import lzma
import math
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from llmroute_env.profiles.step_tables import COLUMNS, SURFACES, Points
from llmroute_env.specs import require

FILES = {
    "linear": "step_linear_us.csv",
    "decode": "step_attn_decode_us.csv",
    "prefill": "step_attn_prefill_us.csv",
    "head": "step_head_us.csv",
}
"""By the table that is made of it."""

KINDS = {"a100": "a100-sxm", "h100": "h100-sxm", "h200": "h200-sxm", "l40s": "l40s"}
"""Kinds of GPUs of the profiles, by what the files call them."""

FAMILIES = {"qwen2.5": "qwen2.5-", "llama3": "llama3."}
"""How names of models begin, by profile."""

HEADER = """\
# Composed from operator times of ai-dynamo/aiconfigurator, commit 095f58a5 (Apache-2.0,
# Copyright (c) NVIDIA CORPORATION & AFFILIATES); README.md and LICENSE-APACHE-2.0 beside this file.
"""

OUTLIER = 1.25
"""A point that exceeds the next one of its row and of its column by more is none: attention to more
tokens takes no less."""

SHIPPED = Path(__file__).resolve().parents[2] / "llmroute_env" / "profiles"

Tables = dict[tuple[str, str, str], Points]
"""Points by table, kind of GPU and model."""


def read(folder: Path) -> Tables:
    """The points of the four files."""
    found: Tables = defaultdict(dict)
    for table, name in FILES.items():
        with (folder / name).open(encoding="utf-8", newline="") as file:
            for gpu, model, tp, *knots, us in list(csv.reader(file))[1:]:
                require(gpu in KINDS, f"{name} gpu", gpu, ", ".join(KINDS))
                kind = KINDS[gpu] + (f"-tp{tp}" if tp != "1" else "")
                row, column = (*map(int, knots), 0)[:2]
                found[table, kind, model][row, column] = float(us)
    return found


def mended(points: Points) -> Points:
    """Points without outliers: the geometric mean of the rows around stands in their place."""
    columns = sorted({column for _, column in points})
    changed = dict(points)
    for column, further in pairwise(columns):
        rows = sorted(row for row, place in points if place == column)
        for before, row, after in zip(rows, rows[1:], rows[2:], strict=False):
            above = points[after, column]
            limit_us = OUTLIER * max(above, points.get((row, further), math.inf))
            if points[row, column] > limit_us:
                changed[row, column] = round(math.sqrt(points[before, column] * above), 2)
    return changed


def filled(points: Points) -> Points:
    """Points of all pairs: rows that end early go on along the line through their last two."""
    rows, columns = (sorted(set(knots)) for knots in zip(*points, strict=True))
    full = dict(points)
    for row in rows:
        before, last = [column for column in columns if (row, column) in points][-2:]
        slope = (points[row, last] - points[row, before]) / (last - before)
        for column in columns:
            if column > last:
                full[row, column] = round(points[row, last] + slope * (column - last), 2)
    return full


def text_of(tables: Tables, beginning: str) -> str:
    """The file of the models whose names begin so."""
    lines = [",".join(COLUMNS)]
    for (table, kind, model), points in tables.items():
        if not model.startswith(beginning):
            continue
        own = filled(mended(points)) if table == "decode" else points
        for (row, column), us in sorted(own.items()):
            place = column if table in SURFACES else ""
            lines.append(f"{table},{kind},{model},{row},{place},{us}")
    return HEADER + "\n".join([*lines, ""])


def make(folder: Path, out: Path = SHIPPED) -> None:
    """Write the table of every profile, compressed."""
    tables = read(folder)
    for profile, beginning in FAMILIES.items():
        text = text_of(tables, beginning).encode("utf-8")
        content = lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)
        (out / f"{profile}.csv.xz").write_bytes(content)


if __name__ == "__main__":
    require(len(sys.argv) == 2, "arguments", sys.argv[1:], "the folder of the four files")
    make(Path(sys.argv[1]))
