"""A script of one's own writes our scores into its TensorBoard, under the names of our runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from torch.utils.tensorboard import SummaryWriter

import benchmarks.curves.scores as curves
from agents.loading import load
from agents.runs.plan import Plan
from agents.settings.own import DoubleDQNSettings
from agents.training.monitor import BEST, REGRET, REGRET_BY_S, SCORE, SCORE_BY_S
from agents.training.training import train
from benchmarks.curves.sb3 import ScoreCallback
from benchmarks.curves.scores import Scores
from llmroute_env import ConfigError, LLMRouteEnv, LLMRouteVectorEnv, configure
from llmroute_env.sb3 import SB3VecEnv

SMALL = DoubleDQNSettings(
    envs=8,
    collect_steps=16,
    warmup_decisions=128,
    replay_capacity=2048,
    batch_size=64,
    guarded=False,
    validations=2,
    validation_episodes=2,
    validation_window_s=0.2,
)
FIELDS: dict[str, Any] = {"window_s": 0.2}
CURVES = {SCORE, BEST, SCORE_BY_S}


@pytest.fixture(autouse=True)
def few_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "USUAL", SMALL)
    # How they are found: tests/benchmarks/test_levels.py.
    levels = {"bound": 0.95, "largest-feasible": 0.9}
    monkeypatch.setattr("benchmarks.reference_levels.levels", lambda *_: levels)


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def layout_of(run: Path) -> dict[str, list[str]]:
    """Charts of the page CUSTOM SCALARS, with what each shows."""
    events = EventAccumulator(str(run)).Reload()
    (tensor,) = events.Tensors("custom_scalars__config__")
    found = Layout.FromString(tensor.tensor_proto.string_val[0])
    charts = [chart for category in found.category for chart in category.chart]
    return {chart.title: list(chart.multiline.tag) for chart in charts}


def envs_of(kind: str) -> Any:
    if kind == "native":
        return SB3VecEnv(LLMRouteVectorEnv(4, "stable", autoreset_mode="SameStep", **FIELDS))
    return LLMRouteEnv("stable", **FIELDS)


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("native", PPO), pytest.param("single", DQN, marks=pytest.mark.verify)],
)
def test_one_callback_puts_sb3_on_our_axes(kind: str, algorithm: Any, tmp_path: Path):
    settings = {"n_steps": 64} if algorithm is PPO else {"learning_starts": 64}
    model = algorithm("MlpPolicy", envs_of(kind), tensorboard_log=str(tmp_path), seed=0, **settings)
    callback = ScoreCallback(tries=2)
    model.learn(512, callback=CallbackList([callback]))
    (run,) = tmp_path.glob(f"{algorithm.__name__}_1")
    found = scalars(run)
    assert {*CURVES, REGRET, REGRET_BY_S} <= found.keys()
    assert [step for step, _ in found[SCORE]][-1] == model.num_timesteps
    assert len(found[SCORE]) >= 3
    assert found[SCORE][-1][1] == pytest.approx(callback.scores.score(callback._greedy), abs=1e-6)
    bound = callback.scores.levels["bound"]
    regrets = [bound - score for _, score in found[SCORE]]
    assert [value for _, value in found[REGRET]] == pytest.approx(regrets, abs=1e-6)
    assert found["in_training/deadline_met"]
    # The lines are runs beside it, under the same names, and as long.
    lines = {path.parent.name: scalars(path.parent) for path in tmp_path.glob("reference-*/*/ev*")}
    assert lines.keys() == callback.scores.levels.keys()
    for name, level in callback.scores.levels.items():
        assert lines[name].keys() == {SCORE, SCORE_BY_S, REGRET, REGRET_BY_S}
        assert {round(value, 6) for _, value in lines[name][SCORE]} == {round(level, 6)}
        assert lines[name][SCORE][-1][0] >= 512


def test_the_first_page_compares_whatever_ran(tmp_path: Path):
    writer = SummaryWriter(str(tmp_path / "own"))
    Scores(writer, configure("stable", **FIELDS), 1000, reference=False)
    writer.close()
    plan = Plan(tmp_path / "ours", "stable", FIELDS, 0, 512, settings=SMALL)
    train(plan, shows_progress=False)
    own, ours = layout_of(tmp_path / "own"), layout_of(tmp_path / "ours")
    assert own == ours
    assert next(iter(own.values())) == [SCORE_BY_S]
    shown = {tag for tags in ours.values() for tag in tags}
    assert shown - {REGRET_BY_S} <= scalars(tmp_path / "ours").keys() | {
        f"in_training/{name}"
        for name in ("utility_of_peak", "goodput_per_s", "rejected", "deadline_met")
    }
    assert all("is better" in title for title in ours)


def test_a_router_of_ours_has_the_score_that_its_own_training_wrote(tmp_path: Path):
    plan = Plan(tmp_path / "ours", "stable", FIELDS, 0, 2048, settings=SMALL)
    best = train(plan, shows_progress=False).utility_of_peak
    router = load(str(tmp_path / "ours"), configure("stable", **FIELDS))
    writer = SummaryWriter(str(tmp_path / "own"))
    scores = Scores(writer, configure("stable", **FIELDS), 1000, reference=False)
    assert scores.score(router.act) == pytest.approx(best, abs=1e-6)


def test_a_loop_of_ones_own_needs_a_line(tmp_path: Path):
    writer = SummaryWriter(str(tmp_path / "loop"))
    envs = LLMRouteVectorEnv(4, "stable", autoreset_mode="SameStep", **FIELDS)
    scores = Scores(writer, envs.config, 400, tries=4, reference=False)

    def smallest(observations: Any) -> Any:
        return np.zeros(len(observations), np.int64)

    envs.reset(seed=0)
    for step in range(100):
        envs.step(smallest(envs.simulation.outputs.observations))
        scores.watch(4 * (step + 1), smallest)
    writer.close()
    found = scalars(tmp_path / "loop")
    assert [step for step, _ in found[SCORE]] == [4, 100, 200, 300, 400]
    assert len({value for _, value in found[SCORE]}) == 1
    assert REGRET not in found


def test_what_a_wrapper_changes_is_given_by_the_script(tmp_path: Path):
    venv = VecNormalize(DummyVecEnv([lambda: LLMRouteEnv("stable", **FIELDS)]), norm_reward=False)
    model = PPO("MlpPolicy", venv, n_steps=64, tensorboard_log=str(tmp_path), seed=0)

    def policy(observations: Any) -> Any:
        return model.predict(venv.normalize_obs(observations), deterministic=True)[0]

    callback = ScoreCallback(tries=1, reference=False, policy=policy)
    model.learn(128, callback=callback)
    (run,) = tmp_path.glob("PPO_1")
    assert scalars(run)[SCORE][-1][1] == pytest.approx(callback.scores.score(policy), abs=1e-6)


def test_without_a_folder_nothing_can_be_shown():
    model = PPO("MlpPolicy", envs_of("single"), n_steps=64)
    with pytest.raises(ConfigError, match="tensorboard_log: got None; accepted: a folder"):
        model.learn(64, callback=ScoreCallback())


@pytest.mark.parametrize(("name", "value"), [("timesteps", 0), ("tries", 0)])
def test_nothing_to_score_is_refused(name: str, value: int, tmp_path: Path):
    writer = SummaryWriter(str(tmp_path))
    with pytest.raises(ConfigError, match=f"{name}: got 0; accepted: >= 1"):
        Scores(writer, configure("stable"), **{"timesteps": 9, name: value}, reference=False)
