"""Rollout policy iteration: what it remembers, and that it improves on its heuristic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.networks import GuardedNetwork, GuardedPairs
from agents.rollout_iteration import RolloutIteration
from agents.rollouts import Tried
from agents.routers import compiled_router
from agents.settings import RolloutSettings
from agents.tuning import tune
from agents.validation import validate
from llmroute_env import EnvConfig, configure
from llmroute_env.observation import DEFAULT_FEATURES

CONFIG = configure("overload", load=(2.0, 12.0), window_s=2.0)


def make_learner(config: EnvConfig = CONFIG, **changes: object) -> RolloutIteration:
    settings = RolloutSettings(
        **{"validation_episodes": 8, "validation_window_s": 5.0, **changes}  # type: ignore[arg-type]
    )
    config = replace(config, observation=settings.observation, action=settings.action)
    return RolloutIteration(settings, config, budget=10_000_000, seed=0)


NO_PICKS = np.zeros(0, np.int64)
MODEL = {"action": "model", "observation": DEFAULT_FEATURES}


def test_remembers_centred_values_and_forgets_the_oldest() -> None:
    learner = make_learner(capacity=5, envs=2, **MODEL)
    for number in range(4):
        rows = np.full((2, 16), number, np.float32)
        learner.remember(Tried(rows, np.array([[1.0, 2.0, 6.0], [number, 0, 0]]), NO_PICKS))
    assert learner.states == 8
    assert sorted(learner.observations[:, 0]) == [1, 2, 2, 3, 3]
    assert np.allclose(learner.values.sum(axis=1), 0, atol=1e-6)
    assert any(np.allclose(row, [-2, -1, 3]) for row in learner.values)


@pytest.mark.parametrize(("changes", "kind"), [({}, GuardedPairs), (MODEL, GuardedNetwork)])
def test_begins_as_the_tuned_heuristic(changes: dict, kind: type) -> None:
    learner = make_learner(**changes)
    router = learner.router
    assert isinstance(router, kind)
    assert np.isinf(float(router.caution))
    heuristic = validate(router, learner.config, learner.settings)
    assert learner.validate() >= heuristic


def test_rollouts_follow_the_heuristic_for_a_hard_deadline() -> None:
    soft = configure("soft", window_s=10.0)
    hard = configure("unpredictable-1", window_s=10.0)
    learner = make_learner(soft, **MODEL)
    assert learner.base.margin == np.float32(tune("largest-feasible", hard))
    assert float(learner.router.margin) == np.float32(tune("largest-feasible", soft))  # type: ignore[union-attr]
    assert float(learner.router.margin) < learner.base.margin  # type: ignore[union-attr]


def test_improves_on_the_heuristic_within_seconds() -> None:
    learner = make_learner(
        configure("unpredictable-1", window_s=10.0),
        states_per_round=256,
        batch_size=256,
        validation_episodes=24,
        **MODEL,
    )
    config = learner.config
    heuristic = validate(learner.router, config, learner.settings)
    while learner.decisions < learner.budget:
        scalars = learner.iterate()
    assert learner.updates * 256 >= 20 * learner.states
    assert scalars["loss/values"] > 0
    assert learner.validate() > heuristic + 0.002
    assert 0 <= float(learner.router.caution) < np.inf  # type: ignore[union-attr]
    assert compiled_router(learner.visitor, config).margin == learner.base.margin
