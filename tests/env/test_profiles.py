"""Profiles: those that ship, and files of one's own."""

from pathlib import Path

import numpy as np
import pytest

from llmroute_env import ConfigError, EnvConfig, profiles
from llmroute_env.recording.run_card import make_card, replay
from llmroute_env.recording.serialization import config_sha256
from llmroute_env.scenarios import configure


def test_a_profile_that_extends_another_changes_only_what_it_says():
    fast, base = profiles.load("opt-h100"), profiles.load("opt-a100")
    assert fast.tasks == base.tasks
    for new, old in zip(fast.models, base.models, strict=True):
        assert (new.name, new.accuracy, new.parameters) == (old.name, old.accuracy, old.parameters)
        assert max(new.batch_latency_s) < max(old.batch_latency_s)


def test_every_scenario_runs_on_the_gpus_of_another_profile():
    config = configure("unpredictable-1", profile="opt-h100")
    assert config.load_1_per_s > 4 * configure("unpredictable-1").load_1_per_s


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file or directory: '.*mine.toml'; accepted: a TOML file"),
        ("name = ", "Invalid value .*; accepted: a TOML file"),
        ("name = 'mine'", "lacks 'largest_batch'; accepted: the form of llmroute_env/profiles"),
        ("extends = 'opt-a100'", "lacks 'models'; accepted: the form of"),
        (
            "extends = 'opt-a100'\nmodels = [1]",
            r"models: got \(1,\); accepted: a tuple, each entry a mapping",
        ),
        ("extends = 'mine.toml'", "extends: got 'mine.toml'; accepted: .*opt-a100, opt-h100"),
        (
            "name = 'mine'\nextends = 'opt-a100'\n[[models]]\nname = 'opt-1.3b'\nbase_s = -2.705",
            "profile base_s: got -2.705; accepted: seconds >= 0",
        ),
        (
            "extends = 'opt-a100'\nmodels = []\ngpus = []",
            "gpus: got .*; accepted: at least one GPU",
        ),
        (
            "extends = 'opt-a100'\n[[models]]\nname = 'opt-1.3B'\nbase_s = 9.0",
            "model: got 'opt-1.3B'; accepted: nearest: opt-1.3b; models of opt-a100",
        ),
        (
            "extends = 'opt-a100'\n[[models]]\nname = 'opt-1.3b'\nbase_seconds = 9.0",
            "base_seconds: got 9.0, which no profile has; nearest: base_s; accepted: base_s",
        ),
        (
            "extends = 'opt-a100'\n[[models]]\nname = 'opt-1.3b'\nbase_s = '9.0'",
            "model 'opt-1.3b' base_s: got '9.0'; accepted: a number",
        ),
        (
            "extends = 'opt-a100'\nlargest_batch = 10000000\nmodels = []",
            "largest_batch: got 10000000; accepted: 1 to 4096",
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


def test_a_run_card_needs_no_profile_file(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text(of_speed(0.03))
    card = make_card(configure("stable", profile=str(file), window_s=1.0), 0, [0, 1, 2])
    file.unlink()
    assert replay(card) is None


def test_an_edited_file_is_read_again_and_an_env_keeps_what_it_was_made_from(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text("extends = 'opt-a100'\nmodels = [{name = 'opt-1.3b', base_s = 0.5}]")
    before = EnvConfig(profile=str(path))
    path.write_text("extends = 'opt-a100'\nmodels = [{name = 'opt-1.3b', base_s = 0.7}]")
    after = EnvConfig(profile=str(path))
    path.unlink()
    assert before.resolved_profile.model("opt-1.3b").batch_latency_s[0] == 0.5 + 0.00263
    assert after.resolved_profile.model("opt-1.3b").batch_latency_s[0] == 0.7 + 0.00263
    assert config_sha256(before) != config_sha256(after)


def test_three_generations_of_gpus_in_one_profile():
    """Measured where they were, and at the speed of their memory where nobody has."""
    mixed, base, fast = map(profiles.load, ("opt-mixed", "opt-a100", "opt-h100"))
    for model in mixed.models:
        old, new, small = map(model.latency_s, mixed.gpus)
        assert old == base.model(model.name).latency_s(base.gpus[0])
        assert new == fast.model(model.name).latency_s(fast.gpus[0])
        np.testing.assert_allclose(np.array(small) * 0.42, old)
