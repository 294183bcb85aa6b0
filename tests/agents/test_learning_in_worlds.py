"""What learners read, believe and try in other worlds: late signals, failures, tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.base import for_agent, learned_in
from agents.compiled.rollouts import same_action
from agents.learners.grounds import base_policy
from agents.runs.plan import Plan
from agents.runs.trained import load_agent
from agents.settings.own import RolloutSettings
from agents.settings.presets import PRESETS
from agents.training.training import train
from llmroute_env import EnvConfig, configure
from llmroute_env.dynamics.features import DEFAULT_FEATURES, GPU_FEATURES
from llmroute_env.simulation.simulation import Simulation

MORE = {
    "unpredictable-1": ((), ()),
    "priority": (("class",), ("class",)),
    "stale-1s": (("age", "sent"), ("gpu_age", "gpu_sent", "gpu_in_flight")),
    "spot": (("tries", "waited"), ("gpu_up", "gpu_leaving", "tries", "waited")),
    "chat": (
        ("prompt", "ttft", "tpot", "kv", "prefill"),
        ("prompt", "gpu_ttft", "gpu_tpot", "gpu_kv", "gpu_prefill", "gpu_held"),
    ),
}


@pytest.mark.parametrize("name", MORE)
def test_learners_read_all_there_is_to_know(name: str) -> None:
    config, (by_model, by_gpu) = configure(name), MORE[name]
    assert learned_in(config, DEFAULT_FEATURES) == (*DEFAULT_FEATURES, *by_model)
    assert learned_in(config, GPU_FEATURES) == (*GPU_FEATURES, *by_gpu)
    own = ("task", "slack", *(("class",) if "class" in by_model else ()))
    assert learned_in(config, own) == own
    planned = Plan(Path("nowhere"), name, algorithm="ddqn-pairs").resolved_settings
    assert planned.observation == (*GPU_FEATURES, *by_gpu)


def test_learners_add_what_they_know_to_late_signals_alone() -> None:
    for name in ("stale-1s", "tokens-crash"):
        plan = Plan(Path("nowhere"), name, algorithm="ddqn")
        signals = configure(name).signals
        believed = replace(signals, dead_reckoning=True, circuit_breaker=True)
        assert plan.config("train").signals == plan.config("validation").signals == believed
        # What is the router's own doing is no part of the problem.
        assert "signals" not in plan.card().fields
    assert not Plan(Path("nowhere"), "spot").config("train").signals.dead_reckoning


def test_a_router_sees_where_it_routes_what_it_saw_where_it_learned(tmp_path: Path) -> None:
    plan = Plan(tmp_path / "run", "stale-1s", {"window_s": 1.0}, decisions=512, algorithm="ppo")
    settings = replace(PRESETS["ppo"], validation_episodes=2, validation_window_s=1.0)
    plan = replace(plan, settings=settings)
    train(plan, shows_progress=False)
    agent = load_agent(plan.directory)
    config = configure("stale-1s", split="train", window_s=1.0)
    assert for_agent(config, agent) == replace(plan.config("train"), action=agent.action)


def test_a_horizon_of_tokens_is_that_of_an_answer_of_mean_length() -> None:
    config = configure("chat")
    answer = float(config.mean_tokens[:, 1].mean())
    usual_s = config.deadline.ttft_s + config.deadline.tpot_s * answer
    assert RolloutSettings(horizon=0.5).horizon_s(config) == 0.5 * usual_s < config.window_s
    assert RolloutSettings(horizon=0.5).horizon_s(configure("soft")) == 0.5 * (0.4 + 0.4)
    assert RolloutSettings(horizon=0.5).horizon_s(configure("code")) == 0.5 * 2.0


def test_rollouts_follow_the_best_for_the_deadlines_of_tokens() -> None:
    config = configure("chat", action="gpu-model", observation=GPU_FEATURES)
    scores = {("steep-pair", 0.1): 0.5, ("steep-pair", 0.2): 0.9, ("priced-pair", 0.3): 0.7}
    base = base_policy(config, scores, ("steep-pair", "priced-pair"))
    assert base.price.at_load_1 == 0.2


def idle(config: EnvConfig) -> Simulation:
    simulation = Simulation(replace(config, action="gpu-model"), 1)
    simulation.begin(np.zeros(1, np.uint64))
    return simulation


def test_actions_are_the_same_only_where_gpus_are_alike() -> None:
    known, late, failing = (
        idle(configure(name)) for name in ("unpredictable-1", "stale-1s", "spot")
    )
    # The first model on the second GPU, as on the first: both are idle.
    models = len(known.config.models)
    assert same_action(known.world, 0, models) == 0
    assert same_action(late.world, 0, models) == -1
    gpus = failing.state.gpus
    gpus["is_up"][:], gpus["leaves_s"][:] = 1, np.inf
    assert same_action(failing.world, 0, models) == 0
    gpus["is_up"][0, 0] = 0
    assert same_action(failing.world, 0, models) == -1
    gpus["is_up"][0, 1] = 0
    assert same_action(failing.world, 0, models) == 0
    gpus["leaves_s"][0, 1] = 9.0
    assert same_action(failing.world, 0, models) == -1


@pytest.mark.verify
@pytest.mark.parametrize("name", ["crash", "tokens-stale-1s"])
def test_rollouts_learn_there_and_a_seed_repeats(name: str, tmp_path: Path) -> None:
    settings = RolloutSettings(
        validations=1, validation_episodes=2, validation_window_s=2.0, states_per_round=64
    )
    weights = []
    for run in ("one", "two"):
        plan = Plan(tmp_path / run, name, {"window_s": 4.0}, 0, 300_000, "rollout-pi", settings)
        result = train(plan, shows_progress=False)
        assert 0.0 < result.utility_of_peak <= 1.0
        weights.append((plan.directory / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]
