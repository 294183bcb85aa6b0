"""Episodes played again: in this process, in another one, from a snapshot, in the vector env."""

import copy
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.commands.episodes import EpisodeChoice, Record, Replay
from benchmarks.commands.options import EnvOptions
from llmroute_env import ConfigError, LLMRouteEnv, LLMRouteVectorEnv
from llmroute_env.dynamics.state import COMPLETION
from llmroute_env.recording import run_card
from llmroute_env.recording.recording import Difference, follow, play
from llmroute_env.recording.run_card import (
    make_card,
    read_card,
    recording_of,
    replay,
    write_card,
)
from llmroute_env.recording.serialization import pack
from llmroute_env.scenarios import configure
from tests.scenario_windows import EVERY, brief

SHORT = {"window_s": 5.0}


def actions_of(seed: int, steps: int, models: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(models, size=steps)


def card_of(scenario: str = "overload", steps: int = 300) -> dict:
    config = configure(scenario, **brief(scenario, 5.0))
    recording = play(config, 5, follow(actions_of(0, steps, len(config.models))), steps)
    return run_card.card_of(recording, config, 5, scenario=scenario)


@pytest.mark.parametrize("scenario", EVERY)
def test_a_recording_is_what_the_env_reports(scenario: str):
    env = LLMRouteEnv(scenario, completions=True, **brief(scenario, 5.0))
    actions = actions_of(1, 200, len(env.config.models))
    seen = [env.reset(seed=5)[0]]
    rewards, completions = [], []
    for action in actions:
        observation, reward, over, _, info = env.step(action)
        seen.append(observation)
        rewards.append(reward)
        completions += info["completions"]
        if over:
            break
    recording = recording_of(make_card(env.config, 5, actions[: len(rewards)]))
    np.testing.assert_array_equal(recording.observations, seen)
    np.testing.assert_array_equal(recording.rewards, rewards)
    assert recording.completions.tolist() == np.array(completions, COMPLETION).tolist()


@pytest.mark.parametrize("scenario", EVERY)
def test_env_of_many_reproduces_a_recording(scenario: str):
    recording = recording_of(card_of(scenario))
    fields = {"autoreset_mode": "Disabled", "completions": True, **brief(scenario, 5.0)}
    env = LLMRouteVectorEnv(3, scenario, **fields)
    observations, _ = env.reset(seed=[1, 5, 9])
    for step, action in enumerate(recording.actions):
        assert observations[1].tobytes() == recording.observations[step].tobytes()
        observations, rewards, *_ = env.step(np.array([0, action, 1]))
        assert rewards[1] == recording.rewards[step]


ELSEWHERE = """
import hashlib, sys
from pathlib import Path
import numpy as np
from llmroute_env import LLMRouteEnv
from llmroute_env.dynamics.state import State
from llmroute_env.recording.run_card import read_card, replay
print(replay(read_card(Path(sys.argv[1]))))
env = LLMRouteEnv("overload", window_s=5.0)
digest = hashlib.sha256(env.restore(State(**np.load(sys.argv[2], allow_pickle=False))).tobytes())
for action in map(int, sys.argv[3]):
    observation, reward, *_ = env.step(action)
    digest.update(observation.tobytes() + np.float64(reward).tobytes())
print(digest.hexdigest())
"""


def test_another_process_replays_a_card_and_continues_a_snapshot(tmp_path: Path):
    write_card(card_of(), tmp_path / "card.json")
    env = LLMRouteEnv("overload", **SHORT)
    env.reset(seed=5)
    for action in actions_of(1, 300):
        observation, *_ = env.step(action)
    np.savez(tmp_path / "snapshot.npz", **env.snapshot()._asdict())
    digest = hashlib.sha256(observation.tobytes())
    rest = actions_of(2, 300)
    for action in rest:
        observation, reward, *_ = env.step(action)
        digest.update(observation.tobytes() + np.float64(reward).tobytes())
    words = "".join(str(action) for action in rest)
    files = [str(tmp_path / name) for name in ("card.json", "snapshot.npz")]
    command = [sys.executable, "-c", ELSEWHERE, *files, words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.split() == ["None", digest.hexdigest()], done.stderr


def test_forks_of_one_snapshot_go_their_own_ways():
    env = LLMRouteEnv("overload", **SHORT)
    env.reset(seed=5)
    for action in actions_of(1, 300):
        env.step(action)
    snapshot, ends = env.snapshot(), []
    for model in (0, 2, 0):
        env.restore(snapshot)
        ends.append(np.concatenate([env.step(model)[0] for _ in range(200)]))
    np.testing.assert_array_equal(ends[0], ends[2])
    assert not np.array_equal(ends[0], ends[1])


def test_whole_episodes_end_and_shorter_ones_do_not():
    config = configure("stable", **SHORT)
    whole = play(config, 5, lambda observations: np.zeros(1, np.int64))
    assert whole.terminated.tolist() == [False] * (len(whole.actions) - 1) + [True]
    assert whole.ended.sum() == len(whole.completions) == len(whole.actions)
    assert replay(make_card(config, 5, whole.actions)) is None
    with pytest.raises(ConfigError, match="number of actions: got"):
        make_card(config, 5, [*whole.actions, 0])
    with pytest.raises(ConfigError, match=r"actions: got .* accepted: at least one"):
        make_card(config, 5, [])


def altered(name: str, row: int, field: str | None, value: float) -> dict:
    """A card that is intact but tells another story."""
    card = card_of()
    recording = recording_of(card)
    array = getattr(recording, name)
    (array if field is None else array[field])[row] = value
    card["recording"][name] = pack(array)
    return {**card, "recording_sha256": recording.sha256}


@pytest.mark.parametrize(
    ("change", "step", "field"),
    [
        (("rewards", 7, None, 0.123), 7, "rewards"),
        (("observations", 8, None, 0.5), 7, "observations[0]"),
        (("observations", 0, None, 0.5), None, "observations[0]"),
        (("elapsed_s", 299, None, 9.0), 299, "elapsed_s"),
        (("completions", 0, "finish_s", 9.0), None, "completions[finish_s]"),
    ],
)
def test_the_first_difference_is_named(change: tuple, step: int | None, field: str):
    difference = replay(altered(*change))
    assert difference is not None
    if change[0] == "completions":
        step = int(np.flatnonzero(recording_of(card_of()).ended)[0])
    assert (difference.step, difference.field) == (step, field)
    assert difference.recorded == change[3] != difference.replayed


def test_another_simulator_is_noticed():
    card = card_of()
    card["config"]["shed_expired"] = False
    assert replay(card).field == "config_sha256"
    card = card_of()
    card["trace"] = {**card["trace"], "sha256": "0"}
    assert replay(card) == Difference(None, "trace sha256", "0", card_of()["trace"]["sha256"])


def test_damaged_cards_are_refused(tmp_path: Path):
    path = tmp_path / "card.json"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_card(path)
    for text, message in (
        ("{", "cannot be read"),
        ("[]", "llmroute_run_card: got None"),
        ('{"llmroute_run_card": 99}', "got 99; accepted: 1"),
        ('{"llmroute_run_card": 1}', "lacks: got"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_card(path)
    for entry in ("seed", "trace"):
        write_card({**card_of(), entry: "x"}, path)
        with pytest.raises(ConfigError, match=f"{entry}: got 'x'"):
            read_card(path)
    card = copy.deepcopy(card_of())
    card["actions"][3] = (card["actions"][3] + 1) % 3
    with pytest.raises(ConfigError, match="recording sha256: got"):
        replay(card)
    card["recording"]["rewards"]["zlib"] = "?"
    with pytest.raises(ConfigError, match="its recording cannot be read"):
        replay(card)


def test_the_commands_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "cards" / "card.json"
    choice = EpisodeChoice(EnvOptions("overload"), seed=2, steps=200)
    assert Record("random", choice, path).run() == 0
    assert Replay(path).run() == 0
    assert "identical: 200 steps" in capsys.readouterr().out
    write_card(altered("rewards", 7, None, 0.5), path)
    assert Replay(path, json=True).run() == 1
    out = capsys.readouterr().out
    assert "different: step 7, rewards: recorded 0.5, replayed" in out
    assert json.loads(out.splitlines()[-1])["difference"]["step"] == 7
