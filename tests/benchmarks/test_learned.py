"""Learned routers in a suite: trained where they are missing, or brought by the user."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.evaluation.row_files import read_rows
from benchmarks.suites.bench import bench
from benchmarks.suites.suite import SUITES
from benchmarks.suites.validate import validate
from benchmarks.suites.workers import Workers
from llmroute_env import ConfigError

pytest.importorskip("torch")

HERE = Workers(count=0)
SUITE = replace(
    SUITES["testing"], entries=("testing-overload",), agents=("ddqn",), seeds=2, timesteps=2048
)


def test_trained_and_brought_routers_have_the_same_figures(tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    # A bound, two trainings and their two evaluations.
    assert bench(SUITE, first, HERE) == 5
    assert bench(SUITE, first, HERE) == 0
    rows = read_rows(first)
    assert {row["training_seed"] for row in rows} == {0, 1}
    assert all(row["learned"] and row["decision_us"]["p50"] > 0 for row in rows)
    brought = first / "trained" / "testing-overload" / "ddqn-1"
    assert bench(replace(SUITE, agents=()), second, HERE, [brought]) == 2
    ours = [row for row in rows if row["training_seed"] == 1]
    theirs = read_rows(second)
    assert {row["agent"] for row in theirs} == {"ddqn-1"}
    for name in ("episode_seed", "utility", "share", "bound", "windows_at_least"):
        assert [row[name] for row in ours] == [row[name] for row in theirs]
    assert validate(second, None, 0, HERE).confirmed


def test_an_interrupted_training_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    interrupted = SimpleNamespace(interrupted=True)
    monkeypatch.setattr("agents.training.training.train", lambda *a, **k: interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench(SUITE, tmp_path, HERE)
    assert not list(tmp_path.rglob("trained/**/weights.safetensors"))
    assert list((tmp_path / "bounds").iterdir())


def test_what_is_brought_must_be_a_run(tmp_path: Path):
    with pytest.raises(ConfigError, match="a run directory, with config"):
        bench(replace(SUITE, agents=()), tmp_path / "out", HERE, [tmp_path])
