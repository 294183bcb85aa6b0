"""Hyper-parameters of a user's own: from the command line, and as `llmroute tune` found them."""

import json
import shlex
from pathlib import Path

import pytest

from agents.settings.changes import best_of, changed
from agents.settings.presets import PRESETS
from benchmarks.cli import main, parse
from benchmarks.commands.train import Train
from llmroute_env.specs import ConfigError

DDQN = PRESETS["ddqn"]


def train_of(*words: str) -> Train:
    command = parse(["train", "ddqn", *words])
    assert isinstance(command, Train)
    return command


def test_they_replace_those_of_the_algorithm():
    plan = train_of("--hyper", "learning_rate=3e-4", "hidden=[128,64]", "--hyper", "envs=8").plan()
    found = plan.resolved_settings
    assert (found.learning_rate, found.hidden, found.envs) == (3e-4, (128, 64), 8)
    assert found.batch_size == DDQN.batch_size
    assert train_of().plan().settings is None


def test_the_card_says_what_trains_the_router_again():
    plan = train_of("--hyper", "learning_rate=3e-4", "hidden=[128,64]", "--load", "2").plan()
    command = plan.card().command
    assert command is not None
    assert "--hyper 'hidden=[128, 64]' learning_rate=0.0003" in command
    again = parse(shlex.split(command)[1:])
    assert isinstance(again, Train)
    assert again.plan().card() == plan.card()


def test_what_tune_found_is_taken_and_can_be_overruled(tmp_path: Path):
    best = tmp_path / "best.json"
    settings = {"learning_rate": 0.002, "hidden": [32, 32]}
    best.write_text(json.dumps({"algorithm": "ddqn", "settings": settings}))
    plan = train_of("--settings", str(best), "--hyper", "hidden=[16]").plan()
    assert (plan.resolved_settings.learning_rate, plan.resolved_settings.hidden) == (0.002, (16,))
    with pytest.raises(ConfigError, match="got 'ddqn'; accepted: 'rollout-pi'"):
        best_of(best, "rollout-pi")
    best.write_text("{}")
    with pytest.raises(ConfigError, match=r"accepted: a best.json of llmroute tune"):
        best_of(best, "ddqn")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("learning_rat=1", "nearest: learning_rate; accepted: "),
        ("learning_rate=fast", "learning_rate: got 'fast'; accepted: a"),
        ("learning_rate=0.0", "learning_rate: got 0.0; accepted: > 0"),
        ("envs=2.5", "envs: got 2.5; accepted: an integer"),
        ("hidden=64", "hidden: got 64; accepted: a tuple"),
        ("guarded=off", "guarded: got 'off'; accepted: true or false"),
    ],
)
def test_a_typo_or_another_type_is_refused(
    word: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["train", "ddqn", "--hyper", word, "--out", str(tmp_path / "run")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_no_change_is_the_same():
    assert changed(DDQN, {}) == DDQN
