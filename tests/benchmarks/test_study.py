"""Studies go on where they were cut off, and score validation episodes only."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from agents.compiled.guards import Overruling
from agents.settings.presets import PRESETS
from benchmarks import study
from benchmarks.study import SPACES, StudyPlan, tune, words
from llmroute_env import ConfigError
from llmroute_env.recording.files import alone
from traces.errors import InputError

optuna = pytest.importorskip("optuna")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list:
    """Plans that were trained; the score is best at a learning rate of 1e-3."""
    plans: list = []

    def train(plan, shows_progress):
        plans.append(plan)
        miss = abs(plan.settings.learning_rate - 1e-3)
        return SimpleNamespace(interrupted=len(plans) == 3, utility_of_peak=1.0 - miss)

    def overruling_of(plan):
        return Overruling(0.0, 0.0) if len(plans) % 2 else Overruling(0.25, 0.01)

    monkeypatch.setattr(study, "train", train)
    monkeypatch.setattr(study, "overruling_of", overruling_of)
    return plans


def test_an_interrupted_study_goes_on(trained: list, tmp_path: Path):
    plan = StudyPlan(tmp_path, "ddqn", "stable", trials=5, timesteps=1000)
    with pytest.raises(KeyboardInterrupt):
        tune(plan)
    best = tune(plan)
    assert (best["trials"], len(trained)) == (5, 6)
    assert tune(plan) == best
    assert len(trained) == 6
    assert best == json.loads(json.dumps(best | {"settings": best["settings"]})) | {
        "settings": best["settings"]
    }
    closest = min(trained[:2] + trained[3:], key=lambda p: abs(p.settings.learning_rate - 1e-3))
    assert best["settings"] == {name: getattr(closest.settings, name) for name in SPACES["ddqn"]}
    assert len({p.settings.learning_rate for p in trained}) == 6, "no settings are tried twice"
    assert tune(replace(plan, trials=6))["trials"] == 6


def test_it_is_said_in_which_trials_the_score_is_the_heuristics(
    trained: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = StudyPlan(tmp_path / "guarded", "ddqn", "stable", trials=2, timesteps=1000)
    best = tune(plan)
    first, second = (abs(p.settings.learning_rate - 1e-3) for p in trained)
    assert best["overruled"] == (0.0 if first < second else 0.25)
    assert best["never_overruled"] == 1
    said = "\n".join(words(best))
    assert "in 1 of 2 trials the network never overruled its heuristic" in said
    assert Overruling(best["overruled"], best["gain_over_guard"]).words() in said
    monkeypatch.setattr(study, "overruling_of", lambda plan: None)
    trained.append(None)
    best = tune(replace(plan, directory=tmp_path / "free", trials=1))
    assert (best["overruled"], words(best)) == (None, [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fields": {"load": 8.0}}, "fields.load: got 8.0; accepted: None"),
        ({"fields": {"profile": "opt-h100"}}, "fields.profile: got 'opt-h100'"),
        ({"timesteps": 2000}, "timesteps: got 2000; accepted: 1000, as in .*, or another --out"),
        ({"seed": 1}, "seed: got 1; accepted: 0"),
        ({"algorithm": "ddqn-paper"}, "algorithm: got 'ddqn-paper'"),
        ({"scenario": "overload"}, "scenario: got 'overload'"),
    ],
)
def test_a_study_goes_on_only_as_the_same(
    trained: list, tmp_path: Path, changes: dict, message: str
):
    plan = StudyPlan(tmp_path, "ddqn", "stable", trials=1, timesteps=1000)
    tune(plan)
    with pytest.raises(ConfigError, match=message):
        tune(replace(plan, **changes))
    assert len(trained) == 1


def test_a_study_that_does_not_say_of_what_it_is_does_not_go_on(trained: list, tmp_path: Path):
    plan = StudyPlan(tmp_path, "ddqn", "stable", trials=1, timesteps=1000)
    tune(plan)
    (tmp_path / study.STUDY).unlink()
    with pytest.raises(ConfigError, match=r"out: got .*; accepted: another --out"):
        tune(plan)


def test_two_processes_do_not_search_in_one_folder(trained: list, tmp_path: Path):
    plan = StudyPlan(tmp_path, "ddqn", "stable", trials=1, timesteps=1000)
    with alone(tmp_path), pytest.raises(ConfigError, match="another process is at work"):
        tune(plan)
    assert not trained
    assert tune(plan)["trials"] == 1


@pytest.mark.parametrize("algorithm", SPACES)
def test_spaces_name_settings_that_exist(algorithm: str):
    preset = PRESETS[algorithm]
    for name, values in SPACES[algorithm].items():
        assert hasattr(preset, name)
        if isinstance(values, study.Range):
            assert values.low <= getattr(preset, name) <= values.high
        else:
            assert getattr(preset, name) in values


def test_an_unknown_algorithm_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="algorithm: got 'nix'"):
        StudyPlan(tmp_path, "nix", "stable")


def test_optuna_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(InputError, match="Optuna is not installed"):
        tune(StudyPlan(tmp_path, "ddqn", "stable"))
