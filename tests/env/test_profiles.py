"""Profiles: those that ship, and files of one's own."""

import os
from pathlib import Path

import pytest

from llmroute_env import ConfigError, EnvConfig, profiles
from llmroute_env.recording.run_card import make_card, replay
from llmroute_env.scenarios import configure


def test_a_profile_that_extends_another_changes_only_what_it_says():
    fast, base = profiles.load("opt-h100"), profiles.load("opt-a100")
    assert fast.tasks == base.tasks
    for new, old in zip(fast.models, base.models, strict=True):
        assert (new.name, new.accuracy, new.parameters) == (old.name, old.accuracy, old.parameters)
        assert max(new.batch_latency_s) < max(old.batch_latency_s)


def test_a_file_is_read_again_once_it_has_changed(tmp_path: Path):
    path = tmp_path / "own.toml"
    text = 'name = "{}"\nextends = "opt-a100"\nmodels = []\n'
    path.write_text(text.format("before"))
    assert profiles.load(str(path)).name == "before"
    path.write_text(text.format("after"))
    os.utime(path, ns=(1, 1))
    assert profiles.load(str(path)).name == "after"
    assert profiles.load(str(path)) is profiles.load(str(path))


def test_every_scenario_runs_on_the_gpus_of_another_profile():
    config = configure("unpredictable-1", profile="opt-h100")
    assert config.load_1_per_s > 4 * configure("unpredictable-1").load_1_per_s


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file or directory: '.*mine.toml'; accepted: a TOML file"),
        ("name = ", "Invalid value .*; accepted: a TOML file"),
        ("name = 'mine'", "KeyError.'tasks'.; accepted: the form of llmroute_env/profiles"),
        ("extends = 'opt-a100'", "KeyError.'models'.; accepted: the form of"),
        ("extends = 'opt-a100'\nmodels = [1]", "TypeError.*; accepted: the form of"),
        ("extends = 'mine.toml'", "extends: got 'mine.toml'; accepted: opt-a100, opt-h100"),
        (
            "name = 'mine'\nextends = 'opt-a100'\n[[models]]\nname = 'opt-1.3b'\nbase_s = -2.705",
            "profile base_s: got -2.705; accepted: seconds >= 0",
        ),
        (
            "extends = 'opt-a100'\nmodels = []\ngpus = []",
            "gpus: got .*; accepted: at least one GPU",
        ),
    ],
)
def test_a_file_that_is_no_profile_is_refused(text: str | None, message: str, tmp_path: Path):
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        EnvConfig(profile=str(path))


def of_speed(base_s: float) -> str:
    return (
        f"name = 'mine'\nextends = 'opt-a100'\n[[models]]\nname = 'opt-1.3b'\nbase_s = {base_s}\n"
    )


def test_a_file_is_read_when_an_environment_is_made_and_not_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.toml"
    file.write_text(of_speed(0.03))
    before = EnvConfig(profile="mine.toml")
    file.write_text(of_speed(0.04))
    after = EnvConfig(profile="mine.toml")
    file.unlink()
    times_s = [config.models[1].batch_latency_s[0] for config in (before, after)]
    assert times_s[1] - times_s[0] == pytest.approx(0.01)


def test_a_run_card_needs_no_profile_file(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text(of_speed(0.03))
    card = make_card(configure("stable", profile=str(file), window_s=1.0), 0, [0, 1, 2])
    file.unlink()
    assert replay(card) is None
