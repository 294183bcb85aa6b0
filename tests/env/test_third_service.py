"""A service model that nothing knows of goes wherever static batching goes."""

import re
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from agents.compiled.making import largest_feasible
from agents.compiled.policies import episode_scores
from agents.heuristics.models import make
from benchmarks.evaluation.runner import evaluate
from benchmarks.suites import suite as suites
from benchmarks.suites.bench import bench
from benchmarks.suites.entries import every
from benchmarks.suites.entries.entry import Entry
from benchmarks.suites.workers import Workers
from llmroute_env.dynamics.state import IN_TIME, LATE
from llmroute_env.dynamics.stepping import reset_envs
from llmroute_env.failure_specs import ExponentialTimes, Failures
from llmroute_env.scenarios import configure
from llmroute_env.simulation.episodes import episode_seeds
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import ConfigError, Pool
from tests.env.processor_sharing import MOST
from traces.trace import Provenance, Trace

# What is compiled for it is not kept on disk, so that every process compiles it anew.
pytestmark = pytest.mark.verify

SHARING = {"service": "processor-sharing", "window_s": 3.0}
CONFIG = configure("unpredictable-2", **SHARING)


def test_requests_share_a_gpu_as_worked_out_by_hand():
    gpu = CONFIG.gpu_of(Pool(1))
    alone_s = CONFIG.models[2].latency_s(gpu)[0]
    # The second comes when half of the first is done: they share for as long as one takes alone.
    arrivals_s = np.array([0.0, alone_s / 2, 8.0])
    tokens = np.ones(3, np.int32)
    trace = Trace(arrivals_s, np.zeros(3, np.int16), tokens, tokens, 9.0, Provenance("by hand"))
    changes = {"workload": trace, "load": None, "split": "all", "window_s": 9.0}
    simulation = Simulation(replace(CONFIG, pools=(Pool(1),), **changes))
    simulation.begin(np.zeros(1, np.uint64))
    done = []
    for _ in arrivals_s:
        simulation.step(np.array([2]))
        done += simulation.completions.tolist()
    finish_s = [record[10] for record in done]
    expected_s = np.array([1.5 * alone_s, 2.0 * alone_s, 8.0 + alone_s])
    np.testing.assert_allclose(finish_s, expected_s, atol=1e-8)


def test_nothing_is_lost_and_all_are_counted():
    simulation = Simulation(CONFIG, 8)
    simulation.begin(np.arange(8, dtype=np.uint64))
    rng, seen = np.random.default_rng(0), 0
    while not simulation.state.envs["over"].all():
        simulation.step(rng.integers(3, size=8))
        envs = simulation.state.envs
        assert (simulation.state.gpus["running"].sum(axis=1) == envs["running"]).all()
        ended = envs["in_time"] + envs["late"] + envs["rejected"]
        assert (ended + envs["running"] == envs["routed"]).all()
        seen += np.isin(simulation.completions["outcome"], (IN_TIME, LATE)).sum()
        assert simulation.state.gpus["running"].max() <= MOST
    assert seen == (envs["in_time"] + envs["late"]).sum() > 100


def test_it_is_an_environment_single_and_in_vectors():
    one = gymnasium.make("LLMRoute-v0", scenario="unpredictable-2", **SHARING)
    check_env(one.unwrapped, skip_render_check=True)
    many = gymnasium.make_vec("LLMRoute-v0", 2, scenario="unpredictable-2", **SHARING)
    first, _ = one.reset(seed=7)
    rows, _ = many.reset(seed=[7, 8])
    np.testing.assert_array_equal(first, rows[0])
    for action in (0, 1, 2, 2, 2, 1):
        first, reward, *_ = one.step(action)
        rows, rewards, *_ = many.step(np.array([action, 0]))
        np.testing.assert_array_equal(first, rows[0])
        assert reward == rewards[0]


def test_pictures_show_what_it_publishes():
    env = gymnasium.make("LLMRoute-v0", render_mode="ansi", pools=(Pool(1),), **SHARING)
    env.reset(seed=0)
    assert "idle" in env.render()
    for _ in range(5):
        env.step(2)
    assert re.search(r"opt-6.7b x [1-5],", env.render())


def test_a_snapshot_continues_identically():
    simulation, other = Simulation(CONFIG), Simulation(CONFIG)
    simulation.begin(np.ones(1, np.uint64))
    for _ in range(50):
        simulation.step(np.array([2]))
    other.restore(simulation.snapshot())
    for step in range(50):
        for each in (simulation, other):
            each.step(np.array([step % 3]))
        np.testing.assert_array_equal(simulation.completions, other.completions)
        np.testing.assert_array_equal(simulation.outputs.observations, other.outputs.observations)


def test_heuristics_decide_the_same_compiled_or_not():
    found = evaluate(make("largest-feasible", CONFIG, 0.2), CONFIG, 4, 1)
    compiled_scores = episode_scores(largest_feasible(CONFIG, 0.2), CONFIG, episode_seeds(1, 4))
    np.testing.assert_array_equal(found.values("utility_of_peak"), compiled_scores)
    assert compiled_scores.mean() > 0.2


def test_a_suite_compares_routers_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    entry = Entry("sharing", "stable", frozenset({"testing"}), SHARING, bounded=False)
    monkeypatch.setitem(every.ENTRIES, entry.id, entry)
    suite = replace(
        suites.suite("testing"), entries=(entry.id,), agents=("opt-6.7b", "opt-125m"), episodes=2
    )
    assert bench(suite, tmp_path, Workers(count=0)) == 2
    assert len(list(tmp_path.glob("rows/sharing/*"))) == 2


def test_what_is_compiled_for_it_is_not_kept_on_disk():
    """Where its class cannot be imported the cache of the others could not be read."""
    for config in (CONFIG, replace(CONFIG, service="static")):
        Simulation(config).begin(np.zeros(1, np.uint64))
    kept = str(reset_envs._cache._cache_file._load_index())
    assert "BatchTimes" in kept or "StaticBatching" in kept
    assert "ProcessorSharing" not in kept


def test_an_unknown_service_model_is_refused():
    with pytest.raises(ConfigError, match="service: got 'batching'; accepted: static"):
        configure("stable", service="batching")


def test_machines_fail_under_it_too():
    times = ExponentialTimes(0.6), ExponentialTimes(0.3)
    simulation = Simulation(replace(CONFIG, failures=Failures(*times)), 4)
    simulation.begin(np.arange(4, dtype=np.uint64))
    rng = np.random.default_rng(0)
    ends = ("in_time", "late", "rejected", "lost")
    while not simulation.state.envs["over"].all():
        simulation.step(rng.integers(3, size=4))
        s = simulation.state
        assert (s.gpus["running"].sum(axis=1) == s.envs["running"]).all()
        assert not s.gpus["running"][s.gpus["is_up"] == 0].any()
    envs = simulation.state.envs
    assert (sum(envs[name] for name in ends) == envs["routed"]).all()
    assert (envs["retried"] > 0).all()
    assert (envs["in_time"] > 0).all()
