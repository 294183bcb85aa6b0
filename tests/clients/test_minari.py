"""Minari: a data set is collected, loaded, made an environment again, and learned from offline."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from .needs import needs

needs("minari", "jax", "h5py", "torch")

import minari
import torch
from minari import DataCollector, MinariDataset, StepDataCallback

ID = "llmroute_env:LLMRoute-v0"
SHORT = {"scenario": "stable", "load": 6.0, "window_s": 0.5}
NAME = "llmroute/random-v0"
EPISODES = 9


class Habit:
    """Mostly one model, which one depends on the episode."""

    def __init__(self, episode: int) -> None:
        self.model, self.rng = episode % 3, np.random.default_rng(episode)

    def __call__(self, _: Any) -> int:
        return self.model if self.rng.random() < 0.7 else int(self.rng.integers(3))


def play(env: gymnasium.Env, decide: Any, seed: int) -> dict[str, Any]:
    """The last info of an episode."""
    observation, _ = env.reset(seed=seed)
    over = False
    while not over:
        observation, _, over, _, info = env.step(decide(observation))
    return info


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MinariDataset:
    """Episodes of three habits."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = DataCollector(gymnasium.make(ID, **SHORT))
    for episode in range(EPISODES):
        play(env, Habit(episode), episode)
    env.create_dataset(NAME, algorithm_name="habits", description="Mostly one model.")
    return minari.load_dataset(NAME)


def test_what_is_loaded_is_what_was_played(dataset: MinariDataset):
    env = dataset.recover_environment()
    assert dataset.total_episodes == EPISODES
    for number, episode in enumerate(dataset.iterate_episodes()):
        info = play(env, Habit(number), number)
        assert episode.rewards.sum() == pytest.approx(info["summary"]["utility"])
        assert len(episode) == info["summary"]["requests"]
        assert episode.terminations[-1]


def test_a_router_learns_offline(dataset: MinariDataset):
    """It does as the best third of the episodes did, and better than they all on average."""
    torch.manual_seed(0)
    episodes = sorted(dataset.iterate_episodes(), key=lambda e: e.rewards.mean())
    best = episodes[-EPISODES // 3 :]
    seen = torch.from_numpy(np.concatenate([e.observations[:-1] for e in best]))
    actions = torch.from_numpy(np.concatenate([e.actions for e in best]).astype(np.int64))
    net = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(seen), actions).backward()
        optimizer.step()

    env = dataset.recover_environment()
    numbers = range(EPISODES)
    learned = [play(env, lambda o: int(net(torch.from_numpy(o)).argmax()), n) for n in numbers]
    habits = [play(env, Habit(n), n) for n in numbers]
    scores = [np.mean([info["utility_of_peak"] for info in infos]) for infos in (learned, habits)]
    assert scores[0] > scores[1] + 0.1


class WithoutSummary(StepDataCallback):
    """What is the same in every step: Minari keeps no info that only the last step has."""

    def __call__(self, env: gymnasium.Env, **told: Any) -> Any:
        step = super().__call__(env, **told)
        step["info"].pop("summary", None)
        return step


def test_infos_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    inner = gymnasium.make(ID, **SHORT)
    env = DataCollector(inner, record_infos=True, step_data_callback=WithoutSummary)
    score = play(env, lambda _: 0, 0)["utility_of_peak"]
    env.create_dataset(NAME, algorithm_name="opt-125m", description="One model.")
    (episode,) = minari.load_dataset(NAME).iterate_episodes()
    kept = episode.infos["utility_in_time"] + episode.infos["utility_late"]
    np.testing.assert_allclose(kept[1:], episode.rewards)
    assert episode.infos["utility_of_peak"][-1] == score
