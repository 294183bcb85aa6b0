"""The largest model with room by predicted slack, over pairs: alone, and as a guard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from agents.base import for_agent
from agents.columns import largest_first
from agents.heuristics.pairs import FeasiblePair
from agents.heuristics.table import make, tunable_in
from agents.heuristics.tuning import heuristic_scores, run_episodes
from agents.routers.networks import GuardedPairs
from agents.runs.card import WEIGHTS
from agents.runs.checkpoint import CheckpointError
from agents.runs.plan import Plan
from agents.runs.trained import load_agent
from llmroute_env import ConfigError, EnvConfig, configure
from tests.agents.guarded import SEEDS, check_every_form, planned, untrained

SCENARIO, SHORT = "tokens-mixed-gpus", {"window_s": 20.0}


def plan(folder: Path) -> Plan:
    """Of a router over pairs where GPUs are of several kinds and some models are not hosted."""
    return planned(folder, SCENARIO, "feasible-pair", **SHORT)


def slowly(row: np.ndarray, router: FeasiblePair, config: EnvConfig, margin: float) -> int:
    """The rule in the words of its docstring: one model after the other, the GPU with most."""
    models, columns = len(config.models), router.rule.columns
    slack = row[columns.slack : columns.slack + columns.pairs]
    hosted = np.flatnonzero(row[columns.work : columns.work + columns.pairs] < 16)
    for model in largest_first(config):
        mine = hosted[hosted % models == model]
        if len(mine) and slack[mine].max() >= margin:
            return int(mine[slack[mine].argmax()])
    return int(hosted[slack[hosted].argmax()])


@pytest.mark.parametrize("margin", [-2.0, 0.0, 0.6])
def test_the_rule_is_what_its_docstring_says(margin: float):
    config = configure(SCENARIO, split="test", **SHORT)
    router = make("feasible-pair", config, margin)
    assert isinstance(router, FeasiblePair)
    seen, rng = for_agent(config, router), np.random.default_rng(1)
    columns, rows = router.rule.columns, np.zeros((500, seen.layout.width), np.float32)
    pairs = (500, columns.pairs)
    rows[:, columns.slack : columns.slack + columns.pairs] = rng.uniform(-4, 1, pairs)
    hosted = rng.random(pairs) < 0.6
    hosted[:, 3] = True
    rows[:, columns.work : columns.work + columns.pairs] = np.where(hosted, 0.5, 16)
    expected = [slowly(row, router, seen, margin) for row in rows]
    assert len(set(expected)) > 5
    assert router.act(rows).tolist() == expected


def test_on_gpus_alike_it_earns_what_the_largest_feasible_model_does():
    config = configure("burst", split="validation", **SHORT)
    over_models = heuristic_scores("largest-feasible", config, 0.6, SEEDS)
    over_pairs = heuristic_scores("feasible-pair", config, 0.6, SEEDS)
    np.testing.assert_allclose(over_pairs, over_models, atol=0.003)
    priced = heuristic_scores("priced-pair", config, 0.4, SEEDS)
    assert over_pairs.mean() > priced.mean()


def test_compiled_and_not_earn_the_same():
    for name in (SCENARIO, "tokens-stale-1s"):
        config = configure(name, split="test", **SHORT)
        compiled = heuristic_scores("feasible-pair", config, 0.5, SEEDS)
        router = make("feasible-pair", config, 0.5)
        np.testing.assert_array_equal(compiled, run_episodes(router, config, SEEDS))


def test_a_guarded_router_decides_alike_in_every_form(tmp_path: Path):
    check_every_form(plan(tmp_path), 0.6, tmp_path / "router.onnx")


def test_it_routes_for_any_number_of_gpus(tmp_path: Path):
    untrained(plan(tmp_path), 0.6)
    config = configure(SCENARIO, split="test", **SHORT)
    config = replace(config, pools=(replace(config.pools[0], gpus=5), *config.pools[1:]))
    network = load_agent(tmp_path / "run", config).network
    assert isinstance(network, GuardedPairs)
    assert network.columns.pairs == config.gpus * len(config.models)
    assert float(network.least_slack) == 0.6


def test_an_order_of_models_that_there_are_not_is_refused(tmp_path: Path):
    untrained(plan(tmp_path), 0.6)
    path = tmp_path / "run" / WEIGHTS
    whole = safetensors.torch.load(path.read_bytes())
    assert not {"held_s", "per_s"} & whole.keys()
    path.write_bytes(safetensors.torch.save(whole | {"order": torch.tensor([0, 0, 1])}))
    with pytest.raises(CheckpointError, match=r"order: got \[0, 0, 1\]; accepted: 0 to"):
        load_agent(tmp_path / "run")


def test_it_is_a_rule_of_continuous_batching():
    assert "feasible-pair" in tunable_in(configure("chat"))
    assert "feasible-pair" not in tunable_in(configure("stable"))
    with pytest.raises(ConfigError, match=r"margin: got 2\.0; accepted: a share of the deadline"):
        make("feasible-pair", configure("chat"), 2.0)
