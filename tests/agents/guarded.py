"""Routers over pairs with random weights, guarded by a rule, and a check of all their forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agents.compiled.guards import heuristic_name, heuristic_of
from agents.compiled.making import COMPILED
from agents.compiled.policies import CompiledPolicy, episode_scores
from agents.heuristics.tuning import run_episodes
from agents.routers.build import compiled_router, guard, q_network
from agents.runs.card import write_card, write_weights
from agents.runs.plan import Plan
from agents.runs.trained import TrainedRouter, load_agent
from agents.serving.export import export
from agents.serving.onnx import OnnxRouter
from agents.settings.own import RolloutSettings
from benchmarks.speed.decisions import visited
from llmroute_env import configure

SEEDS = np.arange(4, dtype=np.uint64)


def planned(folder: Path, scenario: str, follows: str, **fields: Any) -> Plan:
    """Of a router in `folder`/run that `follows` a rule in `scenario`."""
    settings = RolloutSettings(
        follows=follows,
        hidden=(24, 8),
        cautions=(0.02,),
        validation_episodes=4,
        validation_window_s=1.0,
    )
    return Plan(folder / "run", scenario, fields, algorithm="rollout-pi", settings=settings)


def untrained(plan: Plan, setting: float, seed: int = 2) -> TrainedRouter:
    """With random weights, guarded by what `plan` follows, in the directory of `plan`."""
    config, settings = plan.config("test"), plan.settings
    assert isinstance(settings, RolloutSettings)
    network = q_network(config, settings.hidden, seed=seed)
    router = guard(network, config, usual(plan, setting), settings.tries)
    router.caution.fill_(0.02)
    write_card(plan.directory, plan.card())
    write_weights(plan.directory, router.state_dict())
    return TrainedRouter(plan.card(), router)


def usual(plan: Plan, setting: float) -> CompiledPolicy:
    """What `plan` follows, in its test episodes."""
    assert isinstance(plan.settings, RolloutSettings)
    return COMPILED[plan.settings.follows](plan.config("test"), setting)


def check_every_form(plan: Plan, setting: float, out: Path) -> None:
    """Loaded, in ONNX and compiled a router decides as it was made; `out`: a file to write."""
    made, config = untrained(plan, setting), plan.config("test")
    loaded, beside = load_agent(plan.directory), load_agent(plan.directory, config)
    rows = visited(made, config, 2000)
    expected = made.act(rows)
    followed = made.network.usual(rows)  # type: ignore[union-attr]
    assert 0.02 < (expected != followed).mean() < 0.98
    for agent in (loaded, beside):
        np.testing.assert_array_equal(agent.act(rows), expected)
    export(loaded, out)
    runtime = OnnxRouter(out)
    runtime.check_fit(configure(plan.scenario))
    np.testing.assert_array_equal(runtime.act(rows), expected)
    policy = compiled_router(made.network, config)
    scores = episode_scores(policy, config, SEEDS)
    np.testing.assert_allclose(scores, run_episodes(made, config, SEEDS))
    assert heuristic_name(policy) == plan.settings.follows  # type: ignore[union-attr]
    alone = episode_scores(heuristic_of(policy), config, SEEDS)
    np.testing.assert_array_equal(alone, episode_scores(usual(plan, setting), config, SEEDS))
    assert not np.array_equal(alone, scores)
