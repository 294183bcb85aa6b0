"""Rows: one JSON object per line and episode, and what they were computed with.

Rows are the only thing that a report reads. A cell's rows are one file, written when the cell is
finished, by a rename: a file that exists is complete.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmroute_env.run_card import versions
from llmroute_env.specs import ConfigError

Row = dict[str, Any]

ROWS, TIMES = "rows", ("wall_s", "decision_us")
"""Folder of the rows; entries of a row that two runs of the same cell do not share."""


@lru_cache
def commit() -> str | None:
    """The git commit of the code, with `+changes` if files differ from it; None outside git."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(here), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    tracked = git("ls-files", "--error-unmatch", Path(__file__).name)
    head = git("rev-parse", "HEAD")
    if tracked is None or head is None:
        return head
    return f"{head}+changes" if git("status", "--porcelain", "--untracked-files=no") else head


def stamp() -> Row:
    """What the rows are computed with."""
    return {"commit": commit(), "versions": versions()}


def to_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it exists only when complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_rows(directory: Path) -> list[Row]:
    """All rows of a suite's directory, cell after cell by name.

    Raises:
        ConfigError: no rows there, or a line that is none.
    """
    paths = sorted((directory / ROWS).rglob("*.jsonl"))
    if not paths:
        accepted = "a directory that `llmroute bench` wrote, with finished cells"
        raise ConfigError(f"directory: got {str(directory)!r}, without rows; accepted: {accepted}")
    return [row for path in paths for row in read_file(path)]


def read_file(path: Path) -> list[Row]:
    """The rows of one file.

    Raises:
        ConfigError: a line that is no JSON object.
    """
    rows: list[Row] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            raise ConfigError(f"{path}:{number}: got {line[:60]!r}; accepted: a row") from None
    return rows


def without_times(row: Mapping[str, Any]) -> Row:
    """A row without what differs between two runs of the same cell."""
    return {name: value for name, value in row.items() if name not in TIMES}
