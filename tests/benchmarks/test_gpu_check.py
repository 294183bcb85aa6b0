"""The check of a GPU, on a CPU: every part runs, says what it found, and is kept as it ends."""

import json
from pathlib import Path

import numpy as np
import pytest

from agents.settings.presets import PRESETS
from benchmarks.cli import main
from benchmarks.measuring import gpu_check, training
from benchmarks.measuring.gpu_check import MODELS, Check, run
from benchmarks.measuring.identity import Differences
from benchmarks.measuring.loads import Effort, poisson
from benchmarks.measuring.training import contenders, settings_for
from llmroute_env import ConfigError, profiles


@pytest.mark.verify
def test_engines_leave_profiles_and_requests_one_by_one(tmp_path: Path):
    became = run(Check(tmp_path, "cpu", quick=True), tuple(MODELS))
    assert became == dict.fromkeys(MODELS, "done")
    for model in MODELS:
        found = profiles.load(str(tmp_path / f"steps-{model}.toml"))
        assert found.model(model).step_times["cpu"].decode.seconds[0][0] > 0
        full = json.loads((tmp_path / f"serving-{model}-full.json").read_text())
        assert None not in full["last_token_s"]
        for share in (70, 110):
            served = json.loads((tmp_path / f"serving-{model}-{share}.json").read_text())
            assert served["load"] == share / 100
            assert served["requests_per_s"] == full["requests_per_s"]
            assert len(served["first_token_s"]) == len(served["prompt_tokens"])


@pytest.mark.verify
def test_envs_are_timed(tmp_path: Path):
    assert main(f"gpu-check --out {tmp_path} --device cpu --quick --parts speed".split()) == 0
    speed = json.loads((tmp_path / "speed.json").read_text())
    assert speed["device"] == "host"
    assert all(found["steps_per_s"] > 0 for found in speed["envs"].values())


@pytest.mark.verify
def test_a_short_training_tells_what_it_reached(tmp_path: Path):
    assert run(Check(tmp_path, "cpu", quick=True), ("training",)) == {"training": "done"}
    found = json.loads((tmp_path / "training.json").read_text())
    assert [(one["algorithm"], one["device"]) for one in found["runs"]] == contenders("cpu")
    best = {one["algorithm"]: one["best"] for one in found["runs"]}
    assert best.pop("ddqn") > 0.5
    assert all(score > 0.3 for score in best.values()), "nothing guards PPO"
    assert all(score > 0.5 for score in found["targets"].values())


@pytest.mark.verify
def test_identity_finds_no_difference_on_a_cpu(tmp_path: Path):
    assert run(Check(tmp_path, "cpu", quick=True), ("identity",)) == {"identity": "done"}
    found = json.loads((tmp_path / "identity.json").read_text())
    assert found["steps"]["parted_envs"] == 0
    assert found["steps"]["state_fields_that_differ"] == {}
    assert all(column["differ"] == 0 for column in found["steps"]["columns"].values())
    for heuristic in ("largest-feasible", "steep-pair"):
        assert found[heuristic]["the_same"] == found[heuristic]["episodes"]


def test_learners_train_on_the_device_first_and_then_on_the_cpu_where_they_can(
    monkeypatch: pytest.MonkeyPatch,
):
    on_device = [("ddqn", "cuda"), ("ppo", "cuda")]
    monkeypatch.setattr(training, "find_spec", lambda _: object())
    assert contenders("cuda") == [*on_device, ("ddqn", "cpu"), ("ppo", "cpu")]
    monkeypatch.setattr(training, "find_spec", lambda _: None)
    assert contenders("cuda") == [*on_device, ("ddqn", "cpu")]
    assert contenders("cpu") == [("ddqn", "cpu")]
    for algorithm, device in on_device:
        assert settings_for(algorithm, device, 10).envs == 4096
        assert settings_for(algorithm, "cpu", 10).envs == PRESETS[algorithm].envs


def test_differences_are_counted_until_an_env_parts_from_its_twin():
    differences = Differences(3)
    told = {
        "elapsed_s": np.ones(3),
        "terminated": np.zeros(3, bool),
        "truncated": np.zeros(3, bool),
        "rewards": np.zeros(3),
    }
    differences.note(0, told | {"rewards": np.array([0.0, 0.25, 0.0])}, told)
    later = told | {"elapsed_s": np.array([1.0, 1.0, 2.0]), "rewards": np.array([0.0, 0.0, 9.0])}
    differences.note(1, later, told)
    assert differences.parted.tolist() == [False, False, True]
    assert differences.first_step == 1
    assert differences.columns["rewards"] == {"values": 5, "differ": 1, "largest": 0.25}


def test_a_part_that_fails_ends_neither_the_others_nor_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(check: Check) -> None:
        raise RuntimeError("no memory")

    kept = {
        "first": lambda check: check.keep("first", {}),
        "second": fails,
        "third": lambda c: None,
    }
    monkeypatch.setattr(gpu_check, "PARTS", kept)
    became = run(Check(tmp_path, "cpu"))
    assert became == {"first": "done", "second": "failed: RuntimeError: no memory", "third": "done"}
    assert json.loads((tmp_path / "check.json").read_text())["parts"] == became
    assert set(run(Check(tmp_path, "cpu", seconds=-1.0)).values()) == {"left out: no time"}


def test_what_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="parts: got 'engines'; accepted: identity, speed, opt"):
        run(Check(tmp_path, "cpu"), ("engines",))
    with pytest.raises(ConfigError, match="device: got 'tpu'"):
        run(Check(tmp_path, "tpu"))


def test_requests_come_at_their_rate_and_fit():
    effort = Effort(seconds=400.0, most_prompt=100, most_output=20)
    sent = poisson(5.0, effort, np.random.default_rng(0))
    assert len(sent.arrival_s) == pytest.approx(2000, abs=200)
    assert (np.diff(sent.arrival_s) >= 0).all()
    assert (sent.prompt_tokens.max(), sent.output_tokens.max()) == (100, 20)
