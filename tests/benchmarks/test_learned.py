"""Learned routers in a suite: trained where they are missing, or brought by the user."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from agents.loading import SHIPPED
from benchmarks.evaluation.row_files import read_rows
from benchmarks.suites.bench import adopt, bench
from benchmarks.suites.suite import SUITES
from benchmarks.suites.validate import validate
from benchmarks.suites.workers import Workers
from llmroute_env import ConfigError

pytest.importorskip("torch")

HERE = Workers(count=0)
SUITE = replace(
    SUITES["testing"], entries=("testing-overload",), agents=("ddqn",), seeds=2, timesteps=2048
)


@pytest.mark.usefixtures("hasty")
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
    assert [r["utility"] for r in ours] != [r["utility"] for r in rows if r not in ours]
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


def brought(folder: Path, name: str, shipped: str) -> Path:
    shutil.copytree(SHIPPED / shipped, folder / name, dirs_exist_ok=True)
    return folder / name


def test_routers_of_one_name_are_both_compared_and_keep_their_places(tmp_path: Path):
    one = brought(tmp_path / "one", "ddqn-7", "unpredictable")
    two = brought(tmp_path / "two", "ddqn-7", "overload")
    out = tmp_path / "out"
    for given in ([one, two], [two, one], [two]):
        adopt(given, out)
        for source, copy in ((one, "ddqn-7"), (two, "ddqn-7-2")):
            for name in ("config.json", "weights.safetensors"):
                assert (out / "given" / copy / name).read_bytes() == (source / name).read_bytes()
        assert len(list((out / "given").iterdir())) == 2


@pytest.mark.parametrize("name", ["ddqn", "largest-feasible", "best-single", "rollout"])
def test_a_router_of_the_name_of_one_of_ours_is_another(tmp_path: Path, name: str):
    adopt([brought(tmp_path, name, "unpredictable")], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "given").iterdir()] == [f"{name}-2"]


def test_a_router_is_called_by_its_folder_however_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(brought(tmp_path, "mine", "unpredictable"))
    adopt([Path("."), Path("../mine")], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "given").iterdir()] == ["mine"]


def test_a_router_that_was_trained_again_is_evaluated_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    suite, out = replace(SUITE, agents=(), episodes=1), tmp_path / "out"
    mine = brought(tmp_path, "mine", "unpredictable")
    assert bench(suite, out, HERE, [mine]) == 2
    before = read_rows(out)
    assert bench(suite, out, HERE, [mine]) == 0
    brought(tmp_path, "mine", "overload")
    assert bench(suite, out, HERE, [mine]) == 1
    assert "mine has changed: its rows are computed anew" in capsys.readouterr().err
    assert [row["utility"] for row in read_rows(out)] != [row["utility"] for row in before]
    assert validate(out, None, 0, HERE).confirmed
