"""Re-runs cells of a suite's directory and compares their rows: `llmroute validate`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evaluation.row_files import SUITE, read_file, without_times
from benchmarks.evaluation.rows import Row
from benchmarks.suites.bench import plan
from benchmarks.suites.evaluate import EvaluateRouter
from benchmarks.suites.suite import Suite
from benchmarks.suites.workers import Workers, run
from llmroute_env.recording.files import write_atomically
from llmroute_env.specs import ConfigError, require

VALIDATED = "validated.json"
"""In a suite's directory: the cells that the last validation confirmed, and the sha256 of each."""
IGNORED = ("commit", "versions")
"""What may differ between two machines without refuting a figure."""
ADDED_LATER = ("tape_window_s", "guard", "goodput_per_s")
"""What rows of older versions do not tell."""


@dataclass(frozen=True)
class Finding:
    """A row whose figures another run does not confirm."""

    cell: str
    episode: int
    field: str
    saved: Any
    found: Any

    def words(self) -> str:
        """The finding as one line."""
        where = f"{self.cell} episode {self.episode}"
        return f"{where}: {self.field}: saved {self.saved}, now {self.found}"


@dataclass(frozen=True)
class Verdict:
    """What a validation came to; `confirmed_cells` has the sha256 of their files of rows."""

    cells: int
    rows: int
    findings: tuple[Finding, ...]
    confirmed_cells: Mapping[str, str] = field(default_factory=dict)

    @property
    def confirmed(self) -> bool:
        """Whether every figure was found again."""
        return not self.findings


def validate(directory: Path, most: int | None, seed: int, workers: Workers) -> Verdict:
    """Run finished cells again, all or `most` drawn with `seed`, from the inputs saved there.

    What was confirmed is written to VALIDATED, in place of what an earlier validation wrote.

    Raises:
        ConfigError: not a suite's directory, or one without finished cells.
    """
    cells = chosen(finished(directory), most, seed)
    # One that is interrupted has confirmed nothing.
    (directory / VALIDATED).unlink(missing_ok=True)
    findings: list[Finding] = []
    confirmed: dict[str, str] = {}
    rows = 0
    for cell, files in run(cells, directory, workers):
        digest = sha256_of(directory / cell.output)
        saved = read_file(directory / cell.output)
        again = [json.loads(line) for line in files[cell.output].splitlines()]
        differing = compare(cell.output, saved, again)
        findings += differing
        confirmed |= {} if differing else {cell.output: digest}
        rows += len(saved)
    content = {"cells": len(cells), "confirmed": confirmed}
    write_atomically(directory / VALIDATED, json.dumps(content, indent=1).encode())
    return Verdict(len(cells), rows, tuple(findings), confirmed)


def sha256_of(path: Path) -> str:
    """The fingerprint of a file."""
    return sha256(path.read_bytes()).hexdigest()


def finished(directory: Path) -> list[EvaluateRouter]:
    """The evaluations of a suite's directory that have rows."""
    cells = plan(read_suite(directory), directory).evaluate
    done = [cell for cell in cells if (directory / cell.output).exists()]
    require(bool(done), "directory", str(directory), "one with finished cells")
    return done


def read_suite(directory: Path) -> Suite:
    """The suite that a directory holds.

    Raises:
        ConfigError: it holds none, or one of another version of this package.
    """
    path = directory / SUITE
    accepted = "a directory that `llmroute bench` wrote"
    require(path.is_file(), "directory", str(directory), f"{accepted}, with {SUITE}")
    try:
        fields: dict[str, Any] = json.loads(path.read_text())["suite"]
        values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return Suite(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; accepted: {accepted}") from error


def chosen(cells: list[EvaluateRouter], most: int | None, seed: int) -> list[EvaluateRouter]:
    """All cells, or `most` of them at random."""
    if most is None or most >= len(cells):
        return cells
    require(most >= 1, "cells", most, ">= 1")
    picks = np.random.default_rng(seed).choice(len(cells), most, replace=False)
    return [cells[i] for i in sorted(picks)]


def compare(cell: str, saved: list[Row], again: list[Row]) -> list[Finding]:
    """Every figure of a cell's rows that differs."""
    if len(saved) != len(again):
        return [Finding(cell, -1, "rows", len(saved), len(again))]
    return [
        Finding(cell, i, field, before, now)
        for i, (one, other) in enumerate(zip(saved, again, strict=True))
        for field, before, now in differences(one, other)
    ]


def differences(
    saved: Mapping[str, object], again: Mapping[str, object]
) -> list[tuple[str, Any, Any]]:
    """(field, saved, again) where two rows differ, times and versions aside."""
    one, other = without_times(saved), without_times(again)
    later = {name for name in ADDED_LATER if name not in one}
    names = [name for name in {**one, **other} if name not in {*IGNORED, *later}]
    pairs = [(name, one.get(name), known_then(one.get(name), other.get(name))) for name in names]
    return [(name, before, now) for name, before, now in pairs if before != now]


def known_then(saved: object, again: object) -> object:
    """`again` without entries of a mapping that `saved` has not: other window lengths, say."""
    if isinstance(saved, Mapping) and isinstance(again, Mapping) and saved.keys() <= again.keys():
        return {key: again[key] for key in saved}
    return again
