"""SB3's algorithms through our training runs: they learn, are saved, loaded and resumed."""

import json
from functools import cache

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from agents.heuristics.tuning import run_episodes, validation_seeds
from agents.learners.sb3.learner import SB3Learner
from agents.loading import load
from agents.routers.logits import LEAST_LOGIT
from agents.runs.trained import load_agent
from agents.training.training import train
from llmroute_env.scenarios import configure
from llmroute_env.specs import ConfigError, Pool

from .small_runs import ALGORITHMS, CROWDED, MEMORYLESS, small_plan

DEDICATED = {
    "action": "gpu-model",
    "pools": (Pool(1, ("opt-125m",)), Pool(1, ("opt-1.3b", "opt-6.7b"))),
    "window_s": 0.5,
}


def seen_by(learner: SB3Learner, steps: int = 40) -> np.ndarray:
    """Observations along random actions."""
    rng, rows = np.random.default_rng(0), []
    masks = learner.env.simulation.hosted_actions()
    for _ in range(steps):
        actions = rng.choice(np.flatnonzero(masks), size=learner.env.num_envs)
        rows.append(learner.env.step(actions)[0])
    return np.concatenate(rows)


def deterministic_actions(learner: SB3Learner, observations: np.ndarray) -> np.ndarray:
    masks = np.tile(learner.env.simulation.hosted_actions(), (len(observations), 1))
    own = {"action_masks": masks} if type(learner.model).__name__ == "MaskablePPO" else {}
    return learner.model.predict(observations, deterministic=True, **own)[0]


BRIEF = {"load": 8.0, "window_s": 0.1}
"""Of so few decisions that episodes end in a small run, and so many that not all are in time."""


def brief_plan(directory, algorithm):
    return small_plan(directory, algorithm, fields=BRIEF, envs=16)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(directory, result) of a run, by its algorithm."""

    @cache
    def trained(algorithm):
        directory = tmp_path_factory.mktemp("runs") / algorithm
        with pytest.MonkeyPatch.context() as patch:
            # As if so slow that every round is worth a scalar.
            patch.setattr("agents.training.monitor.PERIOD_S", 0.0)
            return directory, train(brief_plan(directory, algorithm), shows_progress=False)

    return trained


@pytest.mark.parametrize("algorithm", MEMORYLESS)
def test_the_router_acts_as_sb3_does(algorithm, tmp_path):
    learner = SB3Learner(small_plan(tmp_path, algorithm))
    while learner.decisions < 2048:
        learner.iterate()
    observations = seen_by(learner)
    theirs = deterministic_actions(learner, observations)
    np.testing.assert_array_equal(learner.router.greedy(observations), theirs)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_is_saved_and_loaded_with_identical_actions(algorithm, whole):
    run, result = whole(algorithm)
    assert not result.interrupted
    assert result.decisions >= 4096
    assert 0 < result.utility_of_peak < 1
    card = json.loads((run / "config.json").read_text())
    assert card["algorithm"] == algorithm
    names = {path.name.split(".")[0] for path in run.iterdir()}
    assert names == {"config", "weights", "checkpoint", "events"}
    config = configure("stable", **BRIEF, split="validation")
    router = load(str(run), config)
    assert router.name == algorithm
    score = run_episodes(router, config, validation_seeds(8)).mean()
    assert score == pytest.approx(result.utility_of_peak, abs=0.02)


@pytest.mark.parametrize("algorithm", ["sb3-dqn", "qrdqn", "ppo", "a2c", "recurrent-ppo"])
def test_learns_that_only_the_smallest_model_keeps_up(algorithm, tmp_path):
    # In overload much ends late, and what is not seen to end counts as average: enough to look
    # better than being late, for which the LSTM falls unless it looks further ahead.
    recurrent = algorithm == "recurrent-ppo"
    decisions, steps = (12_288, {"look_ahead_steps": 256}) if recurrent else (24_576, {})
    plan = small_plan(tmp_path / "run", algorithm, decisions, learning_rate=3e-3, **steps)
    result = train(plan, shows_progress=False)
    config = configure("stable", **CROWDED, split="validation")
    seeds = validation_seeds(8)
    untrained, smallest = (run_episodes(load(n, config), config, seeds).mean() for n in BASELINES)
    assert result.utility_of_peak > untrained + 0.5 * (smallest - untrained)


BASELINES = ("random", "opt-125m")


@pytest.mark.parametrize("algorithm", ["sb3-dqn", "qrdqn", "ppo", "a2c", "recurrent-ppo"])
def test_a_resumed_run_ends_with_the_same_weights(algorithm, whole, tmp_path):
    half = brief_plan(tmp_path, algorithm)

    def stop(status):
        if status.decisions >= 2048:
            # As if killed: what is left is the checkpoint.
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(half, shows_progress=False, callback=stop)
    np.random.default_rng().random()
    torch.rand(3)
    train(half, resume=True, shows_progress=False)
    runs = (whole(algorithm)[0], tmp_path)
    weights = [(run / "weights.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]


def test_training_leaves_the_global_generators_alone(tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    SB3Learner(small_plan(tmp_path, "ppo")).iterate()
    assert torch.equal(torch.rand(2), expected)


def test_masks_are_respected_under_a_dedicated_placement(tmp_path):
    plan = small_plan(tmp_path / "run", "maskable-ppo", 2048, fields=DEDICATED)
    learner = SB3Learner(plan)
    learner.iterate()
    hosted = learner.env.simulation.hosted_actions()
    assert hosted.tolist() == [True, False, False, False, True, True]
    assert hosted[learner.model.rollout_buffer.actions.astype(int)].all()
    observations = seen_by(learner)
    values = learner.router.preferences(observations)
    np.testing.assert_array_equal(values[:, ~hosted], LEAST_LOGIT)
    theirs = deterministic_actions(learner, observations)
    np.testing.assert_array_equal(learner.router.greedy(observations), theirs)


def test_a_dedicated_placement_is_trained_and_loaded(tmp_path):
    plan = small_plan(tmp_path / "run", "maskable-ppo", 2048, fields=DEDICATED)
    result = train(plan, shows_progress=False)
    config = configure("stable", **DEDICATED, split="validation")
    router = load_agent(tmp_path / "run", config)
    score = run_episodes(router, config, validation_seeds(8)).mean()
    assert score == pytest.approx(result.utility_of_peak, abs=0.02)


@pytest.mark.parametrize(
    ("algorithm", "change"),
    [
        ("sb3-dqn", {"credit": "hope"}),
        ("qrdqn", {"replay_ratio": 0.0}),
        ("ppo", {"batch_size": 1}),
        ("a2c", {"trace_decay": 1.5}),
        ("recurrent-ppo", {"lstm_width": 0}),
    ],
)
def test_settings_out_of_range_are_named(algorithm, change, tmp_path):
    with pytest.raises(ConfigError, match=next(iter(change))):
        small_plan(tmp_path, algorithm, **change)


def test_updates_per_round_follow_the_replay_ratio(tmp_path):
    s = small_plan(tmp_path, "sb3-dqn", envs=64, collect_steps=32, batch_size=256).settings
    assert s.updates_per_round == 8


@pytest.mark.parametrize("algorithm", ["sb3-dqn", "a2c", "recurrent-ppo"])
def test_tensorboard_shows_the_same_names_over_decisions(algorithm, whole):
    events = EventAccumulator(str(whole(algorithm)[0])).Reload()
    names = set(events.Tags()["scalars"])
    assert {
        "eval/utility_of_peak",
        "in_training/return",
        "in_training/utility_of_peak",
        "in_training/deadline_met",
        "in_training/goodput_per_s",
        "share/opt-125m",
        "time/steps_per_s",
        "train/learning_rate",
    } <= names
    assert not any(name.startswith(("rollout/", "train/n_")) for name in names)
    assert [event.step for event in events.Scalars("eval/utility_of_peak")] == [2048, 4096]
    start = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    shown = HParamsPluginData.FromString(start).session_start_info.hparams
    assert shown["algorithm"].string_value == algorithm
    assert shown["learning_rate"].number_value == 1e-3
