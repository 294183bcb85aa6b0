"""A problem of one's own, from the command line alone: trained on, compared, recorded, moved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from agents.runs.card import read_card
from benchmarks.cli import main
from benchmarks.evaluation.row_files import read_rows
from llmroute_env import LLMRouteEnv, load_problem
from llmroute_env.recording.serialization import config_sha256, read_config

PROBLEM = """
scenario = "stable"
trace = "own.csv"
profile = "gpu.toml"
window_s = 2
shed_expired = false
deadline.deadline_s = 0.5
"""
PROFILE = 'name = "mine"\nextends = "opt-h100"\nmodels = [{name = "opt-1.3b", base_s = 0.02}]\n'
HERE = ("--env", "problem.toml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a problem, its profile and its trace: 20 requests/s for 200 s."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "problem.toml").write_text(PROBLEM)
    (folder / "gpu.toml").write_text(PROFILE)
    arrivals = np.sort(np.random.default_rng(0).uniform(0, 200, 4000))
    (folder / "own.csv").write_text("arrival_s\n" + "".join(f"{t:.6f}\n" for t in arrivals))
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def moved(folder: Path, *names: str) -> Path:
    """Another folder with only the trace and what is named."""
    other = folder.parent / f"elsewhere-{names[0]}"
    other.mkdir()
    shutil.copy(folder / "own.csv", other)
    for name in names:
        (shutil.copytree if (folder / name).is_dir() else shutil.copy)(folder / name, other / name)
    return other


def change_trace(path: Path) -> None:
    path.write_text(path.read_text() + "201.0\n")


def last_row(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """The run directory of a short training on the problem."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        options = ("--timesteps", "2048", "--no-reference", "--out", "run")
        assert main(["train", "ddqn", *HERE, *options]) == 0
    return folder / "run"


def test_evaluate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "opt-125m", *HERE, "--episodes", "2", "--json"]) == 0
    row = last_row(capsys)
    assert row["scenario"] == "problem"
    assert row["requests"] == pytest.approx(2 * 2 * 20, rel=0.4)
    words = ("--scenario", "stable", "--trace", "own.csv", "--profile", "gpu.toml")
    sets = ("--set", "window_s=2", "shed_expired=false", "--set", "deadline.deadline_s=0.5")
    assert main(["evaluate", "opt-125m", *words, *sets, "--episodes", "2", "--json"]) == 0
    assert last_row(capsys) == row | {"scenario": "stable"}
    loaded = ("--load", "2", "--set", "window_s=inf")
    assert main(["evaluate", "opt-125m", *HERE, *loaded, "--episodes", "2", "--json"]) == 0
    assert last_row(capsys)["requests"] > 2 * row["requests"]


def test_heuristics_are_tuned_to_it_once(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.evaluation.settings.EPISODES", 2)
    names = ("largest-feasible", "opt-125m", "priced-pair=0.01")
    arguments = ("evaluate", *names, *HERE, "--episodes", "2", "--json")
    assert main(list(arguments)) == 0
    first, *_, given = last_row(capsys)["routers"]
    (kept,) = (folder / "runs" / "tuned").glob("*.json")
    tuned = json.loads(kept.read_text())["largest-feasible"]
    assert (first["setting"], tuned["episodes_each"]) == (tuned["setting"], 2)
    assert first["setting_from"] == f"tuned on the validation split, runs/tuned/{kept.name}"
    assert (given["setting"], given["setting_from"]) == (0.01, "as given")
    assert main(list(arguments)) == 0
    assert capsys.readouterr().err == ""


def test_splits_share_no_request(capsys: pytest.CaptureFixture[str]) -> None:
    whole = ("--set", "window_s=inf")
    requests = {}
    for split in ("train", "validation", "test", "all"):
        options = ("--split", split, "--episodes", "1", "--json")
        assert main(["evaluate", "opt-125m", *HERE, *options, *whole]) == 0
        requests[split] = last_row(capsys)["requests"]
    assert requests["all"] == 4000
    assert requests["train"] + requests["validation"] + requests["test"] == 4000
    assert requests["train"] == pytest.approx(2400, abs=100)


def test_train_keeps_the_content_and_resume_refuses_another(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = read_card(run).fields
    assert fields["profile"]["models"][1]["batch_latency_s"][0] == pytest.approx(0.020638)
    assert fields["workload"]["paths"] == ["own.csv"]
    other = moved(run.parent, "run")
    shutil.copy("problem.toml", other)
    shutil.copy("gpu.toml", other)
    options = ("--no-reference", "--resume", "--timesteps", "2048", "--out", str(other / "run"))
    there = ("--env", str(other / "problem.toml"))
    assert main(["train", "ddqn", *there, *options]) == 0
    (other / "gpu.toml").write_text(PROFILE.replace("0.02", "0.03"))
    assert main(["train", "ddqn", *there, *options]) == 2
    said = capsys.readouterr().err
    assert "fields.profile.models[1].batch_latency_s[0]: got 0.030638; accepted: 0.02063" in said
    shutil.copy("gpu.toml", other)
    change_trace(other / "own.csv")
    assert main(["train", "ddqn", *there, *options]) == 2
    assert "fields.workload.sha256: got " in capsys.readouterr().err


def test_a_trained_router_is_evaluated_without_its_trace(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        options = ("--scenario", "stable", "--profile", "opt-h100", "--episodes", "1", "--json")
        assert main(["evaluate", "run", *options]) == 0
    assert 0 < last_row(capsys)["utility_of_peak"]["mean"] <= 1


def test_record_and_replay_elsewhere(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["record", "largest-feasible", *HERE, "--out", "card.json"]) == 0
    card = json.loads(Path("card.json").read_text())
    own = LLMRouteEnv(**load_problem("problem.toml"), split="test").config
    assert config_sha256(own) == config_sha256(read_config(card["config"]))
    monkeypatch.chdir(moved(folder, "card.json"))
    assert main(["replay", "card.json"]) == 0
    assert "identical" in capsys.readouterr().out
    change_trace(Path("own.csv"))
    assert main(["replay", "card.json"]) == 2
    assert "trace own.csv: its content has changed: got sha256" in capsys.readouterr().err


def test_timeline_and_export(run: Path) -> None:
    assert main(["timeline", "largest-feasible", *HERE, "--out", "timeline.json"]) == 0
    pytest.importorskip("onnx")
    assert main(["export", "run", *HERE, "--out", "router.onnx"]) == 0
    assert main(["evaluate", "router.onnx", *HERE, "--episodes", "1"]) == 0


def test_tune_refuses_another_problem(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    options = ("--trials", "1", "--timesteps", "2048", "--out", "study")
    assert main(["tune", "ddqn", *HERE, *options]) == 0
    assert main(["tune", "ddqn", *HERE, *options]) == 0
    capsys.readouterr()
    assert main(["tune", "ddqn", *HERE, "--load", "8", *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "fields.load: got 8.0; accepted: None, as in study/study.json" in said.err
    assert "or another --out" in said.err


@pytest.mark.usefixtures("unplaced")
def test_bench_and_validate_elsewhere(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--episodes", "2", "--timesteps", "2048", "--workers", "0", "--out", "bench")
    assert main(["bench", "testing", *HERE, *options]) == 0
    rows = read_rows(Path("bench"))
    assert {row["entry"] for row in rows} == {"own"}
    assert {row["agent"] for row in rows} == {"random", "opt-6.7b", "largest-feasible", "ddqn"}
    assert Path("bench/report.html").exists()
    assert main(["bench", "testing", *HERE, "--load", "3", *options]) == 2
    assert "which holds another suite" in capsys.readouterr().err
    monkeypatch.chdir(moved(folder, "bench"))
    assert main(["validate", "bench", "--workers", "0"]) == 0
    assert "confirmed" in capsys.readouterr().out
    change_trace(Path("own.csv"))
    assert main(["validate", "bench", "--workers", "0"]) == 2
    assert "its content has changed" in capsys.readouterr().err


def test_a_card_of_a_profile_file_is_replayed_without_it(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    options = ("--scenario", "stable", "--set", "window_s=1", "--out", "profile-card.json")
    assert main(["record", "largest-feasible", "--profile", "gpu.toml", *options]) == 0
    monkeypatch.chdir(moved(folder, "profile-card.json"))
    assert main(["replay", "profile-card.json"]) == 0


ALONE = ("--scenario", "stable", "--trace", "own.csv", "--set", "window_s=2")
SMALL = ("--timesteps", "1024")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints that does what it was to."""
    assert main(list(words)) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def alone(folder: Path) -> str:
    """The run directory of a short training on a trace that no file goes with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "ddqn", *ALONE, *SMALL, "--no-reference", "--out", "alone"]) == 0
    return "alone"


def test_a_trace_alone_is_routed_and_recorded(
    alone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = printed(capsys, "evaluate", alone, "opt-6.7b", *ALONE, "--episodes", "2", "--json")
    for row in json.loads(told.splitlines()[-1])["routers"]:
        assert row["requests"] == pytest.approx(2 * 2 * 20, rel=0.4)
    recorded = printed(capsys, "record", alone, *ALONE, "--out", "alone.json")
    assert "identical: " in printed(capsys, "replay", "alone.json")
    shown = printed(capsys, "watch", alone, *ALONE, "--terminal", "--json")
    requests = json.loads(shown.splitlines()[-1])["requests"]
    assert f"alone.json: {requests} steps" in recorded
    drawn = printed(capsys, "timeline", alone, *ALONE, "--out", "alone-timeline.json")
    assert f"{requests} requests in " in drawn


def test_a_router_of_a_trace_alone_is_exported(
    alone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    told = printed(capsys, "export", alone, *ALONE, "--out", "alone.onnx")
    assert "columns to one of 3 actions" in told
    one, other = (
        printed(capsys, "record", name, *ALONE, "--out", "exported.json").partition("sha256")[2]
        for name in (alone, "alone.onnx")
    )
    assert one == other != ""


def test_a_trace_alone_is_tuned_on(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    options = (*SMALL, "--trials", "1", "--out", "alone-study")
    assert "best of 1 trials" in printed(capsys, "tune", "ddqn", *ALONE, *options)


def test_a_trace_alone_is_compared_on(alone: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--episodes", "1", "--workers", "0", "--agent", alone, "--rows-only")
    words = ("bench", "testing", *ALONE, *SMALL, *options, "--out", "alone-bench")
    assert "cells were run" in printed(capsys, *words)
    found = {row["agent"] for row in read_rows(Path("alone-bench"))}
    assert found > {"alone", "ddqn", "largest-feasible"}
    assert "confirmed" in printed(capsys, "validate", "alone-bench", "--workers", "0")
