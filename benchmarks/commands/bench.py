"""What `llmroute bench`, `report`, `validate` and `leaderboard` take and do.

Importing this module imports neither numba nor torch, so that `llmroute --help` answers at once.
"""

from __future__ import annotations

import json as json_format
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from benchmarks.commands.options import UNCHANGED, USUAL, Environment, Options, Said, workers_of

REFUTED = 1
"""Exit code of a validation that does not confirm the figures."""


@dataclass(frozen=True)
class Bench:
    """Run a suite: tune controls, train routers, evaluate all on the same episodes.

    Ctrl-C or a crash loses only what was under way: the same command goes on.
    """

    suite: tyro.conf.Positional[str]
    """Name of a suite: one that `llmroute list suites` says."""
    out: Said[Path | None] = None
    """Directory of its rows; runs/bench/SUITE by default."""
    agent: Said[tuple[Path, ...]] = ()
    """Run directories of your own routers, or pretrained:NAME, compared as well."""
    seeds: Said[int | None] = None
    """Training seeds, instead of the suite's."""
    episodes: Said[int | None] = None
    """Test episodes, instead of the suite's."""
    timesteps: Said[int | None] = None
    """Decisions of each training, instead of the suite's."""
    entries: Said[tuple[str, ...]] = ()
    """Only these entries of the suite."""
    environment: Environment = UNCHANGED
    """In place of the suite's entries: its routers on a problem of your own."""
    work: Options = USUAL
    """Who does the work."""
    rows_only: Said[bool] = False
    """Write no report at the end."""

    def run(self) -> int:
        """Run what is missing of the suite and write its report."""
        from benchmarks.report.report import write_report
        from benchmarks.suites.bench import bench
        from benchmarks.suites.checks import check_given, check_trainings, without_unable
        from benchmarks.suites.suite import suite

        changes = {"seeds": self.seeds, "episodes": self.episodes, "timesteps": self.timesteps}
        given: dict[str, Any] = {n: value for n, value in changes.items() if value is not None}
        chosen, name = suite(self.suite).restricted(self.entries), self.suite
        if self.environment.given:
            problem = self.environment.problem()
            chosen = without_unable(chosen.on(problem.scenario, problem.fields))
            name = f"{self.suite}-{problem.title}"
        chosen = replace(chosen, **given)
        check_trainings(chosen)
        check_given(self.agent, chosen)
        out = self.out or Path("runs/bench") / name
        ran = bench(chosen, out, workers_of(self.work), self.agent)
        print(f"{out}: {ran} cells were run")
        if not self.rows_only:
            for path in write_report(out):
                print(path)
        return 0


@dataclass(frozen=True)
class Report:
    """Write what a suite's rows say: one self-contained HTML page, and Markdown."""

    directory: tyro.conf.Positional[Path]
    """A directory that `llmroute bench` wrote."""
    out: Said[Path | None] = None
    """Where to; the directory itself by default."""
    compact: Said[Path | None] = None
    """Write instead a short form into this folder: Markdown and a few figures, below 1 MB."""

    def run(self) -> int:
        """Write the report, whole or short, and print where it is."""
        from benchmarks.report.compact import write_compact
        from benchmarks.report.report import write_report

        if self.compact is not None:
            paths = write_compact(self.directory, self.compact)
        else:
            paths = write_report(self.directory, self.out)
        for path in paths:
            print(path)
        return 0


@dataclass(frozen=True)
class Validate:
    """Run a suite's cells again and compare every figure; exit code 1 if one is refuted."""

    directory: tyro.conf.Positional[Path]
    """A directory that `llmroute bench` wrote."""
    cells: Said[int | None] = None
    """So many cells, drawn at random, instead of all."""
    seed: int = 0
    """Of the draw."""
    work: Options = USUAL
    """Who does the work."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""

    def run(self) -> int:
        """Run cells again and print the verdict; 1 if a figure is refuted."""
        from benchmarks.suites.validate import validate

        verdict = validate(self.directory, self.cells, self.seed, workers_of(self.work))
        for finding in verdict.findings[:20]:
            print(finding.words(), file=sys.stderr)
        word = "confirmed" if verdict.confirmed else f"refuted: {len(verdict.findings)} differences"
        print(f"{word}; {verdict.rows} rows of {verdict.cells} cells were computed again")
        if self.json:
            row = {"confirmed": verdict.confirmed, "cells": verdict.cells, "rows": verdict.rows}
            print(json_format.dumps({**row, "differences": len(verdict.findings)}))
        return 0 if verdict.confirmed else REFUTED


@dataclass(frozen=True)
class Leaderboard:
    """Add routers whose rows `llmroute validate` confirmed to a leaderboard, and write its page."""

    directory: Said[tyro.conf.Positional[tuple[Path, ...]]] = ()
    """Directories that `llmroute bench leaderboard` wrote; without any only the page is written."""
    board: Path = Path("benchmarks/results/leaderboard.json")
    """The figures of the routers on it; a new board if there is no such file."""
    out: Path = Path("docs/leaderboard.md")
    """The page."""

    def run(self) -> int:
        """Add what is confirmed, write the page and print where it is."""
        from benchmarks.leaderboard.board import read_board
        from benchmarks.leaderboard.page import page
        from benchmarks.suites.suite import suite
        from llmroute_env.recording.files import write_atomically

        chosen = suite("leaderboard")
        board = read_board(self.board, chosen)
        for directory in self.directory:
            board = board.with_rows(directory, chosen)
        board.save(self.board)
        write_atomically(self.out, page(board, chosen).encode())
        print(f"{self.out}: {len(board.standings)} routers")
        return 0
