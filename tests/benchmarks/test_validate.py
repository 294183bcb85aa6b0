"""`llmroute validate` confirms what is true and refutes what is not."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.commands.bench import Validate
from benchmarks.commands.options import WorkerOptions
from benchmarks.suites.validate import validate
from benchmarks.suites.workers import Workers
from llmroute_env import ConfigError

HERE = Workers(count=0)
WORK = WorkerOptions(workers=0)


def test_a_true_directory_is_confirmed(finished: Path, capsys: pytest.CaptureFixture[str]):
    assert Validate(finished, work=WORK, json=True).run() == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last == {"confirmed": True, "cells": 6, "rows": 18, "differences": 0}


def test_a_changed_figure_is_refuted(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    directory = tmp_path / "copy"
    shutil.copytree(finished, directory)
    path = directory / "rows" / "testing-overload" / "random-0.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["utility_of_peak"] += 1e-9
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert Validate(directory, work=WORK).run() == 1
    printed = capsys.readouterr()
    assert "testing-overload/random-0.jsonl episode 1: utility_of_peak: saved" in printed.err
    assert "refuted: 1 differences" in printed.out


def test_some_cells_are_enough(finished: Path):
    verdict = validate(finished, 2, 0, HERE)
    assert (verdict.cells, verdict.rows, verdict.confirmed) == (2, 6, True)


def test_other_directories_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="a directory that `llmroute bench` wrote"):
        validate(tmp_path, None, 0, HERE)
    (tmp_path / "suite.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"suite.json: cannot be read"):
        validate(tmp_path, None, 0, HERE)
