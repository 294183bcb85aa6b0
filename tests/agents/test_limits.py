"""Routers that are guarded by how much an instance may hold, in all their forms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from agents.base import for_agent
from agents.columns import largest_first, sustained_by_pair
from agents.compiled.making import COMPILED
from agents.heuristics.late import ConcurrencyLimit
from agents.heuristics.table import make
from agents.heuristics.tuning import guards_in, heuristic_scores, run_episodes
from agents.learners.rollout_iteration import best_in_all
from agents.routers.networks import GuardedPairs
from agents.runs.card import WEIGHTS
from agents.runs.checkpoint import CheckpointError
from agents.runs.plan import Plan
from agents.runs.trained import load_agent
from agents.settings.own import RolloutSettings
from agents.training.combining import ensemble
from benchmarks.evaluation.runner import evaluate
from benchmarks.speed.decisions import visited
from llmroute_env import ConfigError, EnvConfig, Pool, configure
from llmroute_env.dynamics.features import GPU_FEATURES, MOST_LOG
from tests.agents.guarded import SEEDS, check_every_form, planned, untrained
from traces.workloads import PoissonArrivals

SCENARIO, SHORT = "everything", {"window_s": 2.0, "workload": PoissonArrivals(60.0)}
"""Arrivals that are made at once, also for the loads that an ensemble is tried at."""


def plan(folder: Path) -> Plan:
    """Of a router over pairs where machines fail, are of several kinds, and are seen late."""
    return planned(folder, SCENARIO, "concurrency-limit", **SHORT)


def slowly(row: np.ndarray, router: ConcurrencyLimit, config: EnvConfig, held_s: float) -> int:
    """The rule in the words of its docstring: one model after the other, the emptiest instance."""
    models, layout = len(config.models), replace(config.layout, names=router.observation)
    in_flight, up = layout.first("gpu_in_flight"), layout.first("gpu_up")
    per_s = sustained_by_pair(config).reshape(-1, models)
    fullest: dict[int, float] = {}
    for model in largest_first(config):
        for gpu in range(config.gpus):
            if per_s[gpu, model] == 0 or row[up + gpu] == 0:
                continue
            held = round(np.expm1(float(row[in_flight + gpu * models + model])))
            fullest[gpu * models + model] = (held + 1) / (held_s * per_s[gpu, model])
        mine = {pair: share for pair, share in fullest.items() if pair % models == model}
        if mine and min(mine.values()) <= 1:
            return min(mine, key=mine.__getitem__)
    return min(fullest, key=fullest.__getitem__)


@pytest.mark.parametrize("held_s", [0.05, 0.2])
def test_the_rule_is_what_its_docstring_says(held_s: float):
    config = configure(SCENARIO, split="test", **SHORT)
    router = make("concurrency-limit", config, held_s)
    seen = for_agent(config, router)
    layout, rng = seen.layout, np.random.default_rng(1)
    rows = np.zeros((300, layout.width), np.float32)
    held = rng.integers(0, 40, size=(300, config.gpus * len(config.models)))
    first, up = layout.first("gpu_in_flight"), layout.first("gpu_up")
    rows[:, first : first + held.shape[1]] = np.log1p(held)
    rows[:, up : up + config.gpus] = rng.random((300, config.gpus)) < 0.7
    rows = rows[rows[:, up : up + config.gpus].any(axis=1)]
    expected = [slowly(row, router, seen, held_s) for row in rows]  # type: ignore[arg-type]
    assert len(set(expected)) > 5
    assert router.act(rows).tolist() == expected


def test_compiled_and_not_earn_the_same():
    for name in (SCENARIO, "stale-10s"):
        config = configure(name, split="test", **SHORT)
        compiled = heuristic_scores("concurrency-limit", config, 0.1, SEEDS)
        router = make("concurrency-limit", config, 0.1)
        np.testing.assert_array_equal(compiled, run_episodes(router, config, SEEDS))


def test_a_guarded_router_decides_alike_in_every_form(tmp_path: Path):
    check_every_form(plan(tmp_path), 0.15, tmp_path / "router.onnx")


def test_limits_are_those_of_the_gpus_it_routes_for(tmp_path: Path):
    untrained(plan(tmp_path), 0.15)
    config = configure(SCENARIO, split="test", pools=(Pool(2), Pool(1, (), "l40s-48gb")), **SHORT)
    agent = load_agent(tmp_path / "run", config)
    network = agent.network
    assert isinstance(network, GuardedPairs)
    np.testing.assert_array_equal(network.per_s.numpy(), sustained_by_pair(config))
    found = evaluate(agent, config, 1, 0)
    assert found.guard is not None
    assert found.guard.heuristic == "concurrency-limit"


def test_an_ensemble_has_the_limits_of_its_members(tmp_path: Path):
    members = [untrained(plan(tmp_path / str(seed)), 0.15, seed) for seed in (1, 2)]
    runs = {str(seed): tmp_path / str(seed) / "run" for seed in (1, 2)}
    ensemble(runs, tmp_path / "both")
    network, config = load_agent(tmp_path / "both").network, plan(tmp_path).config("test")
    assert isinstance(network, GuardedPairs)
    assert float(network.held_s) == 0.15
    rows = visited(members[0], config, 50)
    values = [member.network.network.preferences(rows) for member in members]  # type: ignore[union-attr]
    np.testing.assert_allclose(
        network.network.preferences(rows), np.mean(values, axis=0), atol=1e-5
    )
    untrained(plan(tmp_path / "other"), 0.3)
    with pytest.raises(ConfigError, match=r"held_s of other: got 0\.3; accepted: 0\.15, as of 1"):
        ensemble({"1": runs["1"], "other": tmp_path / "other" / "run"}, tmp_path / "none")


def test_limits_of_models_that_there_are_not_are_refused(tmp_path: Path):
    untrained(plan(tmp_path), 0.15)
    path = tmp_path / "run" / WEIGHTS
    whole = safetensors.torch.load(path.read_bytes())
    for damage, said in (
        ({"order": torch.tensor([0, 1, 7])}, r"order: got \[0, 1, 7\]; accepted: 0 to 2, each"),
        ({"order": None}, r"order: got \[\]; accepted: 0 to 2, each"),
        ({"per_s": whole["per_s"][:5]}, r"per_s: got shape \(5,\); accepted: \("),
    ):
        kept = {n: t for n, t in (whole | damage).items() if t is not None}
        path.write_bytes(safetensors.torch.save(kept))
        with pytest.raises(CheckpointError, match=said):
            load_agent(tmp_path / "run")


def test_who_counts_guards_where_signals_are_late_and_what_is_in_flight_is_seen():
    late = plan(Path()).config("train")
    assert guards_in(late) == ("priced-pair", "steep-pair", "concurrency-limit")
    assert guards_in(replace(late, observation=GPU_FEATURES)) == ("priced-pair", "steep-pair")
    assert guards_in(replace(late, action="model")) == ("largest-feasible",)
    exact = configure("stable", action="gpu-model", observation=GPU_FEATURES)
    assert guards_in(exact) == ("priced-pair", "steep-pair")
    with pytest.raises(ConfigError, match="follows: got 'concurrency-limit'; accepted: priced-"):
        replace(plan(Path()), scenario="stable")
    with pytest.raises(ConfigError, match=r"observation: got .*; accepted: gpu_in_flight among"):
        COMPILED["concurrency-limit"](exact, 0.1)
    with pytest.raises(ConfigError, match="follows: got 'concurrency-limit'; accepted: largest-"):
        RolloutSettings(action="model", follows="concurrency-limit")


def test_of_several_environments_only_what_guards_all_is_compared():
    one = {("steep-pair", 0.1): 0.5, ("concurrency-limit", 1.0): 0.9, ("steep-pair", 0.2): 0.6}
    other = {("steep-pair", 0.1): 0.8, ("steep-pair", 0.2): 0.6}
    assert best_in_all([one, other]) == ("steep-pair", 0.1)
    assert best_in_all([one]) == ("concurrency-limit", 1.0)


def test_a_full_gpu_is_one_that_may_be_tried_and_one_that_is_down_is_not(tmp_path: Path):
    made = untrained(plan(tmp_path), 0.15)
    config, network = plan(tmp_path).config("test"), made.network
    assert isinstance(network, GuardedPairs)
    layout = config.layout
    row = np.zeros((1, layout.width), np.float32)
    up, first = layout.first("gpu_up"), layout.first("gpu_in_flight")
    row[0, up + 1 : up + config.gpus] = 1.0
    row[0, first : first + network.columns.pairs] = MOST_LOG / 2
    usual, values = network.consider(row)
    assert usual[0] // 3 > 0
    assert np.isinf(values[0, :3]).all()
    # Instances alike count for one.
    worths = network.choose(row)[1][0]
    assert len(np.unique(worths[np.isfinite(values[0])])) == network.tries
