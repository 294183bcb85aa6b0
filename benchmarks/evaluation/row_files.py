"""Files of rows: one JSON object per line and episode, and what they were computed with.

Rows are what a report reads. A cell's rows are one file, written when the cell is finished, by a
rename: a file that exists is complete.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.evaluation.rows import Row, Stamp, Times
from benchmarks.evaluation.windows import begun, tape_windows_s
from llmroute_env.recording.files import versions
from llmroute_env.recording.run_card import COMPUTED_WITH
from llmroute_env.recording.serialization import read_config, trace_sha256
from llmroute_env.specs import ConfigError

SUITE, ROWS, LOOSENESS = "suite.json", "rows", "bounds/looseness.json"
"""In a suite's directory: what it holds, the folder of its rows, how loose its bounds are."""


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


def stamp() -> Stamp:
    """What the rows are computed with."""
    return {"commit": commit(), "versions": versions(*COMPUTED_WITH)}


def to_lines(rows: Iterable[Mapping[str, object]]) -> bytes:
    """Rows as the bytes of a file with one JSON object a line."""
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()


def read_rows(directory: Path) -> list[Row]:
    """All rows of a suite's directory: entries in the suite's order, routers by name.

    Raises:
        ConfigError: no rows there, or a line that is none.
    """
    folder = directory / ROWS
    known = {entry: place for place, entry in enumerate(suite_entries(directory))}
    paths = sorted(
        folder.rglob("*.jsonl"),
        key=lambda path: (known.get(path.relative_to(folder).parts[0], len(known)), path),
    )
    if not paths:
        accepted = "a directory that `llmroute bench` wrote, with finished cells"
        raise ConfigError(f"directory: got {str(directory)!r}, without rows; accepted: {accepted}")
    rows = [row for path in paths for row in read_file(path)]
    place_on_tapes(rows, known_configs(directory))
    return rows


def place_on_tapes(rows: Sequence[Row], configs: Mapping[str, Any]) -> None:
    """Tell rows of older versions where on the tape their episodes are, if that is sure."""
    for entry, config in configs.items():
        older = [row for row in rows if row["entry"] == entry and "tape_window_s" not in row]
        if older:
            place(older, config)


def place(rows: Sequence[Row], config: Any) -> None:
    """Begin the episodes of one entry's rows again, and see where on the tape that is."""
    seeds = sorted({row["episode_seed"] for row in rows})
    try:
        simulation = begun(read_config(config), np.array(seeds, np.uint64))
    except ConfigError:
        # Of a version with other settings; the report says that overlap is not known.
        return
    found = trace_sha256(simulation.trace)
    windows_s = dict(zip(seeds, tape_windows_s(simulation).tolist(), strict=True))
    for row in rows:
        if row["trace_sha256"] == found:
            begin_s, end_s = windows_s[row["episode_seed"]]
            row["tape_window_s"] = begin_s, end_s


def known_configs(directory: Path) -> Mapping[str, Any]:
    """The environments of a suite's entries as plain data, by id; none where none is kept."""
    path = directory / SUITE
    configs = json.loads(path.read_bytes()).get("test_configs", {}) if path.exists() else {}
    return cast(Mapping[str, Any], configs)


def suite_entries(directory: Path) -> list[str]:
    """Ids of the entries in the order of the suite; none where no suite is written down.

    Raises:
        ConfigError: a suite that cannot be read.
    """
    path = directory / SUITE
    if not path.exists():
        return []
    try:
        return [str(id) for id in json.loads(path.read_text(encoding="utf-8"))["suite"]["entries"]]
    except (ValueError, KeyError, TypeError) as error:
        accepted = "a file that `llmroute bench` wrote"
        raise ConfigError(f"{path}: cannot be read: {error}; accepted: {accepted}") from error


def read_file(path: Path) -> list[Row]:
    """The rows of one file.

    Raises:
        ConfigError: a line that is no JSON object.
    """
    rows: list[Row] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(cast(Row, dict(json.loads(line))))
        except (ValueError, TypeError):
            raise ConfigError(f"{path}:{number}: got {line[:60]!r}; accepted: a row") from None
    return rows


def without_times(row: Mapping[str, object]) -> dict[str, Any]:
    """A row without what differs between two runs of the same cell."""
    return {name: value for name, value in row.items() if name not in Times.__annotations__}
