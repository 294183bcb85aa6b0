"""Rollout policy iteration: what it remembers, and that it improves on its heuristic."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.compiled.making import COMPILED
from agents.compiled.rollouts import Tried
from agents.compiled.rules import Price
from agents.heuristics import tuning
from agents.learners.grounds import Memory, base_policy
from agents.learners.rollout_iteration import RolloutIteration
from agents.learners.validation import validate
from agents.routers.build import compiled_router
from agents.routers.networks import GuardedNetwork, GuardedPairs
from agents.runs.plan import Plan
from agents.settings.families import members
from agents.settings.own import RolloutSettings
from llmroute_env import ConfigError, Deadline, EnvConfig, Pool, configure
from llmroute_env.dynamics.features import DEFAULT_FEATURES, GPU_FEATURES, Layout

CONFIG = configure("overload", load=(2.0, 12.0), window_s=0.5)


def make_learner(
    config: EnvConfig = CONFIG,
    budget: int = 10_000_000,
    keeps_budget: bool = False,
    **changes: object,
) -> RolloutIteration:
    settings = RolloutSettings(
        **{"validation_episodes": 8, "validation_window_s": 5.0, **changes}  # type: ignore[arg-type]
    )
    config = replace(config, observation=settings.observation, action=settings.action)
    return RolloutIteration(settings, [config], budget, seed=0, keeps_budget=keeps_budget)


NO_PICKS = np.zeros(0, np.int64)
MODEL = {"action": "model", "observation": DEFAULT_FEATURES}


def test_pairs_that_nobody_can_take_do_not_hide_what_the_others_are_worth() -> None:
    # Each GPU has one of three models: two thirds of the pairs lead nowhere.
    apart = tuple(Pool(1, (name,)) for name in CONFIG.model_names)
    # More than there are to try: those that lead nowhere are not tried either.
    learner = make_learner(replace(CONFIG, pools=apart), tries=5, states_per_round=64)
    learner.iterate()
    hosted = learner.grounds[0].simulation.hosted_actions()
    (memory,) = learner.memories.values()
    values = memory.values[: len(memory)]
    assert hosted.sum() == 3
    assert hosted.size == 9
    assert np.abs(values[:, ~hosted]).max() < 1e-5
    # A decision is worth some requests, where a price on 16 times the work is tens of them.
    assert 0 < np.abs(values).max() < 10
    assert np.allclose(values[:, hosted].sum(axis=1), 0, atol=1e-5)


def test_remembers_centred_values_and_forgets_the_oldest() -> None:
    memory = Memory(capacity=5, columns=16, actions=3)
    for number in range(4):
        rows = np.full((2, 16), number, np.float32)
        memory.remember(Tried(rows, np.array([[1.0, 2.0, 6.0], [number, 0, 0]]), NO_PICKS))
    assert (memory.states, len(memory)) == (8, 5)
    assert sorted(memory.observations[:, 0]) == [1, 2, 2, 3, 3]
    assert np.allclose(memory.values.sum(axis=1), 0, atol=1e-6)
    assert any(np.allclose(row, [-2, -1, 3]) for row in memory.values)
    other = Memory(capacity=5, columns=16, actions=3)
    other.restore(memory.arrays())
    assert other.states == 8
    assert np.array_equal(other.values, memory.values)


@pytest.mark.parametrize(("changes", "kind"), [({}, GuardedPairs), (MODEL, GuardedNetwork)])
def test_begins_as_the_tuned_heuristic(changes: dict, kind: type) -> None:
    learner = make_learner(**changes)
    router = learner.router
    assert isinstance(router, kind)
    assert np.isinf(float(router.caution))
    heuristic = validate(router, learner.configs, learner.settings)
    assert learner.validate() >= heuristic


def test_rollouts_follow_the_heuristic_for_a_hard_deadline() -> None:
    soft = configure("soft", window_s=3.0)
    hard = configure("unpredictable-1", window_s=3.0)
    learner = make_learner(soft, **MODEL)
    base = learner.grounds[0].base
    assert base.margin == np.float32(tuning.tune("largest-feasible", hard))
    assert float(learner.router.margin) == np.float32(tuning.tune("largest-feasible", soft))  # type: ignore[union-attr]
    assert float(learner.router.margin) < base.margin  # type: ignore[union-attr]


def test_improves_on_the_heuristic_within_seconds() -> None:
    learner = make_learner(
        configure("unpredictable-1", window_s=10.0),
        budget=3_000_000,
        states_per_round=256,
        batch_size=256,
        validation_episodes=24,
        **MODEL,
    )
    heuristic = validate(learner.router, learner.configs, learner.settings)
    while learner.decisions < learner.budget:
        scalars = learner.iterate()
    assert learner.updates * 256 >= 20 * learner.states
    assert scalars["loss/values"] > 0
    assert learner.validate() > heuristic + 0.002
    assert 0 <= float(learner.router.caution) < np.inf  # type: ignore[union-attr]
    ground, busier = learner.grounds
    assert busier.config == replace(ground.config, load=(2.5, 10.0))
    assert compiled_router(learner.visitor, ground.config).margin == ground.base.margin


CALM = replace(CONFIG, load=(0.5, 2.0), window_s=2.0)
TOGETHER = (
    replace(CALM, pools=(Pool(2),)),
    replace(CALM, pools=(Pool(3),), deadline=Deadline(0.6)),
    replace(CALM, deadline=Deadline(0.4, "linear", grace_s=0.2), pools=(Pool(3),)),
)
READS = (*GPU_FEATURES, "deadline", "grace")


def make_generalist(budget: int = 1_000_000, keeps_budget: bool = False) -> RolloutIteration:
    settings = RolloutSettings(
        observation=READS,
        envs=6,
        states_per_round=60,
        batch_size=64,
        capacity=1000,
        validation_episodes=2,
        validation_window_s=1.0,
    )
    configs = [replace(c, observation=READS, action="gpu-model") for c in TOGETHER]
    return RolloutIteration(settings, configs, budget, seed=0, keeps_budget=keeps_budget)


def huber(errors: np.ndarray) -> float:
    """What learning minimises: single futures have heavy tails."""
    small = np.minimum(np.abs(errors), 1.0)
    return float((small * (np.abs(errors) - small / 2)).mean())


def test_learns_in_several_environments_with_one_network() -> None:
    learner = make_generalist()
    learner.iterate()
    assert {gpus: memory.states for gpus, memory in learner.memories.items()} == {2: 20, 3: 40}
    assert all(ground.decisions > 0 for ground in learner.grounds)
    column = Layout(READS, 4, 3, 3).first("deadline")
    seen = np.unique(learner.memories[3].observations[:40, column])
    assert np.allclose(np.exp(seen), [0.4, 0.6])
    graces = np.unique(learner.memories[3].observations[:40, column + 1])
    assert np.allclose(np.expm1(graces), [0.0, 0.5])
    for _ in range(12):
        learner.iterate()
    for gpus, memory in learner.memories.items():
        rows, values = memory.observations[: len(memory)], memory.values[: len(memory)]
        with torch.inference_mode():
            predicted = learner.network(torch.from_numpy(rows), learner.inputs[gpus]).numpy()
        predicted = predicted - predicted.mean(axis=1, keepdims=True)
        assert huber(predicted - values) < 0.9 * huber(values)
    learner.router.caution.fill_(0.0)  # type: ignore[union-attr,operator]
    alone = [validate(learner.router, [config], learner.settings) for config in learner.configs]
    together = validate(learner.router, learner.configs, learner.settings)
    assert together == pytest.approx(np.mean(alone))


def test_each_environment_follows_its_best_heuristic_and_the_guard_is_best_for_all() -> None:
    learner = make_generalist()
    router = learner.router
    assert isinstance(router, GuardedPairs)
    scores = [tuning.setting_scores(("priced-pair", "steep-pair"), c) for c in learner.configs]
    means = {choice: np.mean([own[choice] for own in scores]) for choice in scores[0]}
    name, price = max(means, key=means.__getitem__)
    assert router.rule.price == Price(price, {"priced-pair": 0.5, "steep-pair": 0.75}[name])
    for ground in learner.grounds[:4]:
        own = scores[learner.configs.index(replace(ground.config, load=CALM.load))]
        name, price = max(own, key=own.__getitem__)
        assert ground.base.price == COMPILED[name](ground.config, price).price


def test_rollouts_may_follow_another_heuristic_than_the_guard() -> None:
    config = replace(TOGETHER[2], observation=READS, action="gpu-model")
    scores = {("priced-pair", 0.02): 0.5, ("steep-pair", 0.02): 0.6}
    base = base_policy(replace(config, deadline=Deadline(0.4)), scores, ("priced-pair",))
    assert base.price == Price(0.02)
    # Of a soft deadline it is the one that is best if it were hard.
    assert base_policy(config, scores, ("steep-pair",)).price.growth == 0.75
    with pytest.raises(ConfigError, match="follows: got 'rollout'; accepted: priced-pair, steep"):
        RolloutSettings(follows="rollout")


def test_a_generalist_continues_from_its_snapshot() -> None:
    whole, other = make_generalist(), make_generalist()
    whole.iterate()
    # A copy, as if it came from a file.
    other.restore(deepcopy(whole.snapshot()))
    for learner in (whole, other):
        learner.validate()
        learner.iterate()
    assert other.decisions == whole.decisions
    ours, theirs = other.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("changes", "budget"), [({}, 2_000), (MODEL, 50_000)])
def test_a_budget_is_kept_to_the_decision(changes: dict, budget: int) -> None:
    learner = make_learner(budget=budget, keeps_budget=True, states_per_round=64, **changes)
    learner.iterate()
    while learner.decisions < budget:
        learner.iterate()
    assert learner.decisions == budget
    assert all(budget / 4 < ground.decisions for ground in learner.grounds)
    tried = learner.memories[4]
    assert 1 <= len(tried) <= tried.states
    assert np.isfinite(tried.values[: len(tried)]).all()
    assert learner.updates > 0
    assert learner.validate() > 0
    unlimited = make_learner(states_per_round=64, **changes)
    unlimited.iterate()
    same = learner.grounds[0].envs if budget > 20_000 else 1
    np.testing.assert_array_equal(
        unlimited.memories[4].observations[:same], tried.observations[:same]
    )
    np.testing.assert_array_equal(unlimited.memories[4].values[:same], tried.values[:same])


def test_a_budget_that_allows_for_it_changes_nothing() -> None:
    free, kept = (
        make_learner(states_per_round=64),
        make_learner(states_per_round=64, keeps_budget=True),
    )
    for learner in (free, kept):
        learner.iterate()
        learner.iterate()
    assert free.decisions == kept.decisions
    ours, theirs = free.network.state_dict(), kept.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_all_environments_of_a_family_share_a_small_budget() -> None:
    learner = make_generalist(budget=30_000, keeps_budget=True)
    while learner.decisions < 30_000:
        learner.iterate()
    assert learner.decisions == 30_000
    assert all(memory.states > 0 for memory in learner.memories.values())


def test_an_episode_that_ended_is_told_once() -> None:
    learner = make_learner(replace(CONFIG, window_s=0.05))
    ground, told = learner.grounds[0], []
    for most in (10_000_000, 1):
        ground.visit(ground.base, learner.visiting, most)
        told.append(len(ground.finished()))
    assert told[0] > 5
    assert told[1] <= 1, "only the first env was looked at again"


def test_a_budget_that_is_too_small_is_refused_with_the_smallest(tmp_path: Path) -> None:
    for algorithm, scenario in (("rollout-pi", "stable"), ("generalist", "any")):
        with pytest.raises(ConfigError, match="decisions: got 1000; accepted: at least ") as said:
            Plan(tmp_path, scenario, decisions=1000, algorithm=algorithm)
        least = int(str(said.value).partition("at least ")[2].partition(", in")[0].replace(",", ""))
        assert 1000 < least < 250_000
        assert Plan(tmp_path, scenario, decisions=least, algorithm=algorithm).keeps_budget
        with pytest.raises(ConfigError, match="decisions: got"):
            Plan(tmp_path, scenario, decisions=least - 1, algorithm=algorithm)
    endless = {"deadline": Deadline(1e308), "window_s": float("inf")}
    with pytest.raises(ConfigError, match=r"decisions: got 40000000; accepted: at least 600,000,4"):
        Plan(tmp_path, "stable", endless, algorithm="rollout-pi")
    assert Plan(tmp_path, "stable", endless | {"window_s": 30.0}, algorithm="rollout-pi").budget
    assert not Plan(tmp_path, "stable", algorithm="rollout-pi").keeps_budget
    assert not Plan(tmp_path, "stable", algorithm="rollout-pi", decisions=40_000_000).keeps_budget


def test_only_rollout_iteration_learns_in_a_family(tmp_path: Path) -> None:
    plan = Plan(tmp_path, "any", algorithm="generalist")
    assert len(plan.configs("train")) == len(members("any")) > 10
    assert plan.config("train") == plan.configs("train")[0]
    with pytest.raises(ConfigError, match="scenario: got 'any'; accepted: a single scenario"):
        Plan(tmp_path, "any", algorithm="ddqn")
    with pytest.raises(ConfigError, match="scenario: got 'all'; accepted: stable"):
        Plan(tmp_path, "all", algorithm="generalist")
