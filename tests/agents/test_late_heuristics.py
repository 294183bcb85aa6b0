"""Heuristics for signals that are late."""

from dataclasses import replace

import numpy as np
import pytest

from agents.base import for_agent
from agents.heuristics.table import make
from agents.heuristics.tuning import heuristic_scores, run_episodes
from benchmarks.evaluation.runner import evaluate
from llmroute_env import ConfigError
from llmroute_env.failure_specs import Failures, Outage
from llmroute_env.scenarios import configure
from llmroute_env.signal_specs import Signals
from llmroute_env.simulation.simulation import Simulation

EXACT = configure("unpredictable-1", window_s=5.0, split="test")
LATE = replace(EXACT, signals=Signals(5.0))


def mean(name, config, episodes=4):
    return evaluate(make(name, config), config, episodes, 0).values("utility_of_peak").mean()


@pytest.mark.parametrize(
    ("reckoned", "plain"),
    [("reckoned-feasible", "largest-feasible"), ("reckoned-pair", "steep-pair")],
)
def test_reckoning_changes_nothing_of_exact_signals_and_helps_with_late_ones(reckoned, plain):
    assert mean(reckoned, EXACT) == mean(plain, EXACT)
    assert mean(reckoned, LATE) > mean(plain, LATE) + 0.02


@pytest.mark.parametrize("name", ["reckoned-feasible", "reckoned-pair"])
def test_compiled_and_in_python_they_decide_alike(name):
    seeds = np.arange(3, dtype=np.uint64)
    compiled = heuristic_scores(name, LATE, 0.05, seeds)
    assert run_episodes(make(name, LATE, 0.05), LATE, seeds).tolist() == compiled.tolist()


def test_only_who_reckons_sees_its_own_in_the_signals():
    for name, reckons in (("reckoned-feasible", True), ("largest-feasible", False)):
        assert for_agent(LATE, make(name, LATE)).signals.dead_reckoning is reckons
        assert not for_agent(EXACT, make(name, EXACT)).signals.dead_reckoning


def test_what_is_on_its_way_is_counted_however_late_signals_are():
    config = replace(LATE, observation=("gpu_in_flight", "gpu_held"), load=4.0)
    simulation = Simulation(config)
    simulation.begin(np.zeros(1, np.uint64))
    differs = 0
    for _ in range(300):
        simulation.step(np.array([2]))
        seen = simulation.outputs.observations[0]
        queues = simulation.state.queues[0]
        expected = np.log1p(queues["waiting"] + queues["running"]).ravel()
        np.testing.assert_allclose(seen[: len(expected)], expected, rtol=1e-6)
        differs += (seen[: len(expected)] != seen[len(expected) :]).any()
    assert differs > 100


def test_least_local_is_least_requests_with_signals_of_this_moment():
    assert mean("least-local", EXACT) == mean("least-requests", EXACT)
    assert mean("least-local", LATE) == mean("least-local", EXACT)
    assert mean("least-local", LATE) > mean("least-requests", LATE)


def test_admission_turns_away_whom_it_cannot_serve():
    config = configure("admission", window_s=4.0, split="test")
    never, some, all_of_them = (
        evaluate(make("admission", config, threshold), config, 4, 0)
        for threshold in (-16.0, 0.2, 1.0)
    )
    free = evaluate(make("largest-feasible", config), config, 4, 0)
    assert never.values("utility").tolist() == free.values("utility").tolist()
    assert 0 < some.values("rejected").sum() < some.values("requests").sum()
    assert all_of_them.values("rejected").tolist() == all_of_them.values("requests").tolist()
    with pytest.raises(ConfigError, match="admission reject: got False; accepted: True"):
        make("admission", EXACT)


def of_requests(name, config, what):
    found = evaluate(make(name, config), config, 4, 0)
    return found.values(what).sum() / found.values("requests").sum()


@pytest.mark.parametrize("gpu", [0, 2])
def test_a_dead_worker_that_fails_fast_draws_all_to_it_and_a_circuit_breaker_cures_it(gpu):
    """Whoever has failed is in nobody's way: the dead worker has always the fewest requests."""
    dead = Failures(outages=(Outage(gpu, 1.0, 99.0),), tries=2)
    config = replace(LATE, failures=dead, signals=Signals(20.0))
    assert of_requests("least-local", config, "lost") > 0.5
    # What it held, and one more, are enough to know, and are sent again.
    assert of_requests("circuit-breaker", config, "lost") == 0
    assert of_requests("circuit-breaker", config, "retried") < 0.02
    assert mean("circuit-breaker", config) > mean("least-local", config) + 0.3
    # With health checks that come in time nobody needs one.
    known = replace(config, signals=Signals(0.001))
    assert of_requests("least-local", known, "lost") < 0.02


def test_a_concurrency_limit_fills_the_largest_model_first_and_needs_no_signal():
    assert mean("concurrency-limit", LATE) == mean("concurrency-limit", EXACT)
    assert mean("concurrency-limit", LATE) > mean("least-local", LATE) + 0.1
    router = make("concurrency-limit", LATE, 0.1)
    limits = 0.1 * EXACT.sustained_per_s(EXACT.models[2]) / 4
    held = np.zeros((4, 3))
    row = np.log1p(held).astype(np.float32).reshape(1, -1)
    assert router.act(row).tolist() == [2]
    held[:, 2] = np.ceil(limits), 4, np.ceil(limits), 4
    assert np.floor(limits) > 4
    row = np.log1p(held).astype(np.float32).reshape(1, -1)
    assert router.act(row).tolist() == [3 + 2]
    held[:, 2] = np.ceil(limits)
    row = np.log1p(held).astype(np.float32).reshape(1, -1)
    assert router.act(row).tolist() == [1]
    with pytest.raises(ConfigError, match=r"held_s: got 0\.0; accepted: > 0"):
        make("concurrency-limit", LATE, 0.0)


def test_a_concurrency_limit_is_for_every_kind_of_gpu_its_own():
    config = configure("everything", window_s=5.0)
    router = make("concurrency-limit", config, 1.0)
    limits = 1.0 * router.rule.limits.per_s.reshape(-1, 3)
    by_pool = limits[[0, 1, 3], 2]
    assert by_pool[0] > by_pool[1] > by_pool[2] > 0
    for gpu, pool in ((0, 0), (2, 1), (4, 2)):
        alone = replace(config, pools=(config.pools[pool],))
        per_s = alone.sustained_per_s(alone.models[2]) / config.pools[pool].gpus
        assert limits[gpu, 2] == per_s
    layout = replace(config.layout, names=router.observation)
    down = np.zeros((1, layout.width), np.float32)
    up = layout.first("gpu_up")
    down[0, up + 1 : up + 5] = 1.0
    assert router.act(down)[0] // 3 != 0
    # Where all are down still a pair that is hosted.
    down[0, up + 1 : up + 5] = 0.0
    assert limits.ravel()[router.act(down)[0]] > 0
