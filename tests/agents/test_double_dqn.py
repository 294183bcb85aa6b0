"""Targets by hand, the parts of an update, and a problem that is solved in seconds."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from agents.learners.double_dqn import DoubleDQN, td_targets
from agents.learners.replay import Transitions
from agents.routers.networks import QNetwork, follow
from agents.settings.own import DoubleDQNSettings
from agents.settings.presets import PRESETS
from llmroute_env.vector_env import LLMRouteVectorEnv


class Table(torch.nn.Module):
    """Q values that are the observation, multiplied by `factor`."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.factor * observations


def test_targets_pick_by_online_and_value_by_target() -> None:
    batch = {
        "next_observations": torch.tensor([[1.0, 3.0, 2.0], [-1.0, -3.0, -2.0]]),
        "returns": torch.tensor([0.5, 0.25]),
        "discounts": torch.tensor([0.9, 0.0]),
    }
    # The online table prefers the smallest entry: 1 in the first row.
    targets = td_targets(Table(-1.0), Table(10.0), batch)  # type: ignore[arg-type]
    assert targets.tolist() == [0.5 + 0.9 * 10.0, 0.25]


def make_learner(**changes: object) -> DoubleDQN:
    defaults = {"envs": 4, "collect_steps": 8, "warmup_decisions": 32, "replay_capacity": 4096}
    settings = DoubleDQNSettings(**{**defaults, **changes})  # type: ignore[arg-type]
    env = LLMRouteVectorEnv(
        settings.envs,
        "stable",
        autoreset_mode="SameStep",
        completions=True,
        observation=settings.observation,
        window_s=2.0,
    )
    return DoubleDQN(settings, env, budget=4000, seed=0)


def test_one_update_is_plain_gradient_descent_on_the_squared_error() -> None:
    learner = make_learner(dueling=False, batch_size=16, learning_rate=1e-3)
    rng = np.random.default_rng(0)
    columns = learner.observations.shape[1]
    batch = Transitions(
        rng.normal(size=(16, columns)).astype(np.float32),
        rng.integers(3, size=16),
        rng.normal(size=16).astype(np.float32),
        np.zeros(16, np.float32),
        np.zeros((16, columns), np.float32),
    )
    q = learner.online(torch.from_numpy(batch.observations)).detach().numpy()
    errors = q[np.arange(16), batch.actions] - batch.returns
    learning = learner.learn(batch)
    assert np.isclose(learning.loss, np.square(errors).mean(), rtol=1e-5)
    assert np.isclose(learning.td_error, np.abs(errors).mean(), rtol=1e-5)
    assert learner.learn(batch).loss < learning.loss


def test_target_follows_only_every_period() -> None:
    learner = make_learner(target_rate=1.0, target_period=3, average_rate=0.5)
    for updates in range(1, 7):
        with torch.no_grad():
            learner.parameters[0].add_(1.0)
        learner.updates = updates
        before = learner.average.body[0].weight.clone()
        learner.sync()
        same = torch.equal(learner.target.body[0].weight, learner.online.body[0].weight)
        assert same == (updates % 3 == 0)
        middle = (before + learner.online.body[0].weight) / 2
        assert torch.allclose(learner.average.body[0].weight, middle)


def test_dueling_advantages_are_centred() -> None:
    network = QNetwork(5, (8,), 3, dueling=True, seed=0)
    rows = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    value = network.body(rows)[:, 0]
    assert torch.allclose(network(rows).mean(dim=1), value, atol=1e-6)
    assert np.array_equal(network.greedy(rows.numpy()), network(rows).argmax(dim=1).numpy())


def test_follow_moves_by_its_share() -> None:
    one, other = (QNetwork(3, (4,), 2, False, seed) for seed in (0, 1))
    expected = 0.75 * one.body[0].weight + 0.25 * other.body[0].weight
    follow(one, other, 0.25)
    assert torch.allclose(one.body[0].weight, expected)


def test_exploration_and_learning_rate_decline_linearly() -> None:
    learner = make_learner(
        exploration_start=1.0,
        exploration_end=0.2,
        exploration_fraction=0.5,
        learning_rate=4e-3,
        learning_rate_end=0.0,
    )
    learner.decisions = 1000
    assert np.isclose(learner.exploration, 0.6)
    assert np.isclose(learner.learning_rate, 3e-3)
    learner.decisions = 4000
    assert np.isclose(learner.exploration, 0.2)
    assert learner.learning_rate == 0.0


def test_discounts_are_per_second_and_per_decision() -> None:
    learner = make_learner(discount_per_decision=0.9, discount_rate_per_s=2.0)
    assert np.allclose(learner.discounts(np.array([0.0, 0.5])), [0.9, 0.9 * np.exp(-1.0)])


def test_waits_with_learning_for_the_first_transition() -> None:
    learner = make_learner(n_step=1000, credit="completion", warmup_decisions=0)
    learner.iterate()
    assert len(learner.replay) == 0
    assert learner.updates == 0


def test_demonstrators_do_what_the_heuristic_does() -> None:
    learner = make_learner(demonstrators=0.5, exploration_start=0.0, exploration_end=0.0)
    assert learner.guarded is not None
    rng = np.random.default_rng(0)
    learner.observations = rng.uniform(-1, 1, learner.observations.shape).astype(np.float32)
    expected = learner.online.greedy(learner.observations)
    expected[:2] = learner.guarded.usual(learner.observations)[:2]
    assert np.array_equal(learner.act(), expected)


def test_learns_that_the_largest_model_wins_when_nothing_is_scarce() -> None:
    """One request at a time on idle GPUs: the largest model is in time and the most accurate."""
    settings = dataclasses.replace(
        PRESETS["ddqn"],
        envs=16,
        collect_steps=16,
        warmup_decisions=512,
        n_step=1,
        discount_rate_per_s=100.0,
        batch_size=256,
        replay_ratio=8.0,
        exploration_fraction=0.5,
    )
    assert isinstance(settings, DoubleDQNSettings)
    env = LLMRouteVectorEnv(
        16, "stable", autoreset_mode="SameStep", completions=True, load=0.02, window_s=20.0
    )
    learner = DoubleDQN(settings, env, budget=8000, seed=1)
    while learner.decisions < 8000:
        learner.iterate()
    actions = learner.average.greedy(learner.observations)
    assert learner.env.config.models[2] is learner.env.config.largest_model
    assert (actions == 2).mean() >= 0.9
