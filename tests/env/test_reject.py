"""A router that may turn requests away: the last action."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from agents.heuristics.models import make
from agents.runs.checkpoint import CheckpointError
from agents.runs.plan import Plan
from agents.runs.trained import load_agent
from agents.training.training import train
from benchmarks.evaluation.metrics import policy_map
from benchmarks.evaluation.runner import evaluate
from llmroute_env import scenarios
from llmroute_env.dynamics.actions import NOBODY
from llmroute_env.dynamics.state import OUTCOMES, REJECTED
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import ConfigError

CONFIG = configure("admission", window_s=1.0)
SHORT = {"window_s": 0.3}
"""What routers learn in, and are validated in dozens of times."""


@pytest.mark.parametrize(("action", "last"), [("model", 3), ("gpu-model", 12)])
def test_it_is_one_action_more_and_always_allowed(action: str, last: int):
    env = gymnasium.make("LLMRoute-v0", scenario="admission", action=action).unwrapped
    assert env.action_space.n == last + 1
    assert env.action_masks().tolist() == [True] * (last + 1)
    without = gymnasium.make("LLMRoute-v0", scenario="overload", action=action)
    assert without.action_space.n == last


@pytest.mark.parametrize("action", ["model", "gpu-model"])
def test_a_rejected_request_ends_at_once_and_touches_nothing(action: str):
    simulation = Simulation(replace(CONFIG, action=action))
    simulation.begin(np.zeros(1, np.uint64))
    for _ in range(20):
        simulation.step(np.array([2]))
    state = simulation.state
    before, due_s = state.envs[0].copy(), float(state.envs["now_s"][0])
    simulation.step(np.array([simulation.actions - 1]))
    record = simulation.completions[simulation.completions["decision"] == 20][0]
    assert OUTCOMES[record["outcome"]] == "rejected"
    assert (record["gpu"], record["model"], record["batch"]) == (NOBODY, NOBODY, 0)
    assert (record["arrival_s"], record["finish_s"], record["utility"]) == (due_s, due_s, 0.0)
    after = state.envs[0]
    assert after["rejected"] == before["rejected"] + 1
    assert after["routed"] == before["routed"] + 1 == state.models["routed"].sum() + 1
    assert after["peak_utility"] > before["peak_utility"]


def test_turning_all_away_earns_nothing_and_loses_nobody():
    simulation = Simulation(CONFIG, 3)
    simulation.begin(np.arange(3, dtype=np.uint64))
    while not simulation.state.envs["over"].all():
        simulation.step(np.full(3, 3))
    for e in range(3):
        found = simulation.summary(e)
        assert found["rejected"] == found["requests"] > 100
        assert found["utility"] == found["in_flight"] == 0
        assert set(found["share"].values()) == {0.0}


def test_a_smaller_load_by_rejection_is_served_as_a_smaller_load():
    """What is turned away leaves the others what they would have had without it."""
    busy = evaluate(make("opt-1.3b", CONFIG), CONFIG, 2, 5)
    simulation = Simulation(CONFIG, 2)
    simulation.begin(np.arange(2, dtype=np.uint64))
    decision = 0
    while not simulation.state.envs["over"].all():
        simulation.step(np.full(2, 1 if decision % 4 == 0 else 3))
        decision += 1
    met = simulation.state.envs["in_time"] / (simulation.state.models["routed"].sum(axis=1))
    assert met.min() > busy.values("in_time").mean() / busy.values("requests").mean()


@pytest.mark.parametrize("algorithm", ["ddqn-paper", "ddqn"])
def test_learners_take_it_as_an_action(tmp_path, algorithm):
    plan = Plan(tmp_path / "run", "admission", SHORT, algorithm=algorithm, decisions=2048)
    train(plan, shows_progress=False)
    agent = load_agent(tmp_path / "run", CONFIG)
    assert agent.actions == 4
    found = evaluate(agent, CONFIG, 2, 1)
    assert found.values("requests").min() > 0
    with pytest.raises(CheckpointError, match="4 actions"):
        load_agent(tmp_path / "run", replace(CONFIG, reject=False))


def test_networks_over_pairs_turn_nobody_away_but_route_beside_who_may(tmp_path):
    plan = Plan(tmp_path / "run", "admission", SHORT, algorithm="ddqn-pairs", decisions=4096)
    assert not plan.config("train").reject
    train(plan, shows_progress=False)
    agent = load_agent(tmp_path / "run", CONFIG)
    agent.network.caution.fill_(0.0)
    assert agent.actions == CONFIG.gpus * 3
    found = evaluate(agent, CONFIG, 2, 1)
    assert found.values("requests").min() > 0
    assert not any((e.completions["outcome"] == REJECTED).any() for e in found.episodes)
    beside = evaluate(agent, replace(CONFIG, reject=False, reject_utility=0.0), 2, 1)
    assert found.values("utility").tolist() == beside.values("utility").tolist()
    asked = Plan(tmp_path / "run", "overload", {"reject": True}, algorithm="ddqn-pairs")
    assert not asked.config("train").reject
    assert asked.card().fields == {"reject": False}


def test_a_map_of_decisions_counts_it_for_no_model():
    simulation = Simulation(CONFIG)
    simulation.begin(np.zeros(1, np.uint64))
    while not simulation.state.envs["over"].all():
        simulation.step(np.array([3]))
        assert (simulation.completions["outcome"] == REJECTED).all()
        assert policy_map(simulation.completions, CONFIG).sum() == 0


def test_it_must_be_true_or_false():
    for value in ("off", 1, None):
        with pytest.raises(ConfigError, match=r"reject: got .*; accepted: true or false"):
            configure("overload", reject=value)


def test_scenarios_that_have_no_such_tag_have_no_such_action():
    for scenario in scenarios.SCENARIOS.values():
        assert scenario.config.reject == ("reject" in scenario.tags)


@pytest.mark.parametrize("action", ["model", "gpu-model"])
def test_masks_are_of_flags_with_and_without_it(action: str):
    for config in (CONFIG, configure("overload")):
        assert Simulation(replace(config, action=action)).action_masks().dtype == np.bool_
