"""A router that may put requests off: the same request is pending again later."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from agents.compiled.policies import episode_scores
from agents.heuristics import table
from agents.heuristics.models import make
from agents.loading import load
from agents.routers.build import compiled_router, q_network
from agents.runs.checkpoint import CheckpointError
from agents.runs.plan import Plan
from agents.training.training import train
from benchmarks.evaluation.runner import evaluate
from llmroute_env.dynamics.actions import NOBODY
from llmroute_env.dynamics.features import GPU_FEATURES
from llmroute_env.dynamics.state import DEFERRED, OUTCOMES, REJECTED
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import ConfigError, Defer

WAIT_S = 0.125
CONFIG = configure("overload", window_s=1.0, defer=Defer(WAIT_S, 2))
ENGINE = configure("chat", window_s=10.0, defer=Defer(WAIT_S, 2))


def play(config, seeds, choose):
    """Completions and origins of whole episodes, and the simulation at their end."""
    simulation = Simulation(config, len(seeds))
    simulation.begin(np.array(seeds, np.uint64))
    found = []
    while not simulation.state.envs["over"].all():
        simulation.step(choose(simulation))
        found.append((simulation.completions.copy(), simulation.completion_origins.copy()))
    records, origins = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return records, origins, simulation


def some(simulation):
    """Any action, the same for the same decision."""
    decisions = simulation.state.envs["decision"]
    return (decisions * 2654435761 >> 7) % simulation.actions


@pytest.mark.parametrize("config", [CONFIG, ENGINE], ids=["static", "continuous"])
@pytest.mark.parametrize("action", ["model", "gpu-model"])
def test_every_decision_comes_to_something_and_every_request_to_one_end(config, action):
    config = replace(config, action=action, reject=True)
    records, origins, simulation = play(config, [3, 4], some)
    for e in range(2):
        mine = records["env"] == e
        own, of = records[mine], origins[mine]
        assert sorted(own["decision"]) == list(range(len(own)))
        ended = own["outcome"] != DEFERRED
        env = simulation.state.envs[e]
        assert sorted(of["request"][ended]) == list(range(env["routed"]))
        assert env["routed"] == env["end"] - env["first"] == simulation.summary(e)["requests"]
        assert env["deferred"] == (~ended).sum() > 2
        assert env["away"] == env["waiting"] == env["running"] == 0
        counts = {name: (own["outcome"] == k).sum() for k, name in enumerate(OUTCOMES)}
        assert {name: int(env[name]) for name in counts} == counts
        assert own["utility"].sum() == pytest.approx(env["utility"])
        # A request has its one arrival, however often it comes back.
        for request in np.unique(of["request"][~ended]):
            assert len(np.unique(own["arrival_s"][of["request"] == request])) == 1


def test_a_request_comes_back_after_the_wait_and_so_often_at_most():
    put_off = CONFIG.actions - 1
    records, origins, simulation = play(CONFIG, [1], lambda s: np.array([put_off]))
    arrivals = simulation.trace.arrival_s
    env = simulation.state.envs[0]
    assert len(records) == 3 * env["routed"]
    for request in range(5):
        own = records[origins["request"] == request]
        arrival_s = (arrivals[env["first"] + request] - env["tape_start_s"]) * env["stretch"]
        at_s = own["finish_s"]
        assert at_s == pytest.approx(arrival_s + WAIT_S * np.arange(3), abs=1e-8)
        assert (np.diff(at_s) == WAIT_S).all()
        assert own["outcome"].tolist() == [DEFERRED, DEFERRED, REJECTED]
        assert set(own["gpu"]) == set(own["model"]) == {NOBODY}
        assert origins["defers"][origins["request"] == request].tolist() == [0, 1, 2]
    assert env["peak_utility"] == pytest.approx(peak_of(simulation))


def peak_of(simulation):
    env, config = simulation.state.envs[0], simulation.config
    tasks = simulation.tape.task[env["first"] : env["end"]]
    return config.utility[0, tasks, config.models.index(config.largest_model)].sum()


def test_the_mask_forbids_it_once_it_is_used_up():
    env = gymnasium.make(
        "LLMRoute-v0", scenario="overload", completions=True, defer=Defer(0.001, 1)
    ).unwrapped
    env.reset(seed=3)
    assert env.action_masks().tolist() == [True] * 4
    seen = []
    for _ in range(20):
        _, _, _, _, info = env.step(3 if env.action_masks()[3] else 0)
        seen.append(bool(env.action_masks()[3]))
        assert len(info["origins"]) == len(info["completions"])
    assert set(seen) == {True, False}


def test_what_is_left_of_the_deadline_is_what_a_router_sees():
    config = replace(CONFIG, observation=("slack", "deadline"), load=(4.0, 4.0))
    simulation = Simulation(replace(config, defer=Defer(0.3, 1)))
    simulation.begin(np.ones(1, np.uint64))
    first = simulation.outputs.observations[0].copy()
    while simulation.state.envs["request"][0] != 0 or simulation.state.envs["decision"][0] == 0:
        simulation.step(np.array([3]))
    again = simulation.outputs.observations[0]
    assert first[-1] == pytest.approx(np.log(0.4))
    assert again[-1] == pytest.approx(np.log(0.1))
    # Nothing was routed meanwhile: the prediction is the same, and takes more of what is left.
    assert again[2] < first[2]


def test_nothing_else_changes_where_it_is_never_used():
    without = replace(CONFIG, defer=None)
    plain, with_defer = (evaluate(make("opt-1.3b", c), c, 2, 5) for c in (without, CONFIG))
    assert plain.values("utility").tolist() == with_defer.values("utility").tolist()


def test_snapshots_and_forks_keep_who_is_away():
    config = replace(CONFIG, reject=True)
    simulation = Simulation(config)
    simulation.begin(np.array([7], np.uint64))
    for _ in range(40):
        simulation.step(some(simulation))
    assert simulation.state.envs["away"][0] > 0
    saved, runs = simulation.snapshot(), []
    for _ in range(2):
        rewards = []
        while not simulation.state.envs["over"].all():
            simulation.step(some(simulation))
            rewards.append(simulation.outputs.rewards[0])
        runs.append(rewards)
        simulation.restore(saved)
    assert runs[0] == runs[1]


def test_turning_away_may_earn_something_or_cost():
    config = configure("admission", window_s=2.0, reject_utility=-0.25)
    env = gymnasium.make("LLMRoute-v0", scenario="admission", reject_utility=-0.25).unwrapped
    env.reset(seed=1)
    _, reward, _, _, info = env.step(3)
    assert reward == info["utility_rejected"] == -0.25
    records, _, simulation = play(config, [2], lambda s: np.array([3]))
    assert (records["utility"] == -0.25).all()
    assert simulation.summary(0)["utility"] == -0.25 * simulation.summary(0)["requests"]


@pytest.mark.parametrize("algorithm", ["ddqn-paper", "ddqn"])
def test_learners_take_it_as_an_action(tmp_path, algorithm):
    fields = {"window_s": 0.4, "defer": Defer(WAIT_S, 2), "reject": True}
    plan = Plan(tmp_path / "run", "overload", fields, algorithm=algorithm, decisions=2048)
    train(plan, shows_progress=False)
    config = plan.config("test")
    found = evaluate(load(str(plan.directory), config), config, 1, 0)
    assert found.episodes[0].summary["requests"] > 0
    with pytest.raises(
        CheckpointError, match=r"models: got .* and 4 actions; accepted .* 5 actions"
    ):
        load(str(plan.directory), replace(config, defer=None))


def test_who_tries_pairs_alone_puts_nothing_off(tmp_path):
    asked = Plan(tmp_path, "overload", {"defer": Defer(WAIT_S, 2)}, algorithm="rollout-pi")
    assert asked.config("train").defer is None
    pairs = replace(CONFIG, observation=GPU_FEATURES, action="gpu-model", window_s=0.2)
    network = q_network(pairs, (8,))
    assert network.actions == pairs.actions - 1
    scores = episode_scores(compiled_router(network, pairs), pairs, np.arange(2, dtype=np.uint64))
    assert (scores > 0).all()
    found = evaluate(table.make("hindsight", pairs), pairs, 1, 0)
    assert found.values("deferred").tolist() == [0]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"defer": Defer(0.1, 1), "reject_utility": 0.1}, "reject_utility: got 0.1; accepted: 0"),
        ({"reject": True, "reject_utility": 1.5}, "reject_utility: got 1.5; accepted: at most 0"),
        ({"reject": True, "reject_utility": float("nan")}, "reject_utility: got nan"),
        ({"defer": True}, "defer: got True"),
    ],
)
def test_what_cannot_be_is_refused(fields, said):
    with pytest.raises(ConfigError, match=said):
        configure("overload", **fields)


@pytest.mark.parametrize(
    ("wait_s", "most", "said"),
    [
        (0.0, 1, "defer wait_s: got 0"),
        (-1.0, 1, "defer wait_s: got -1"),
        (float("inf"), 1, "defer wait_s: got inf"),
        (0.1, 0, "defer most: got 0; accepted: 1 to 1000"),
        (0.1, 10**9, "defer most"),
    ],
)
def test_a_wait_that_is_none_or_without_a_limit_is_refused(wait_s, most, said):
    with pytest.raises(ConfigError, match=said):
        Defer(wait_s, most)
