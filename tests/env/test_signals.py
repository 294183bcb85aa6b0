"""Signals that are late: nothing of the future, nothing shifted, and what they cost."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest

from agents.columns import gpu_inputs
from agents.compiled.making import largest_feasible
from agents.compiled.policies import episode_scores
from agents.compiled.rollouts import Trial, try_actions
from agents.heuristics.lookahead import Rollout
from benchmarks.evaluation.runner import episode_seeds
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.episode import fork
from llmroute_env.dynamics.features import GPU_FEATURES, Layout
from llmroute_env.dynamics.state import State
from llmroute_env.recording.recording import follow, play
from llmroute_env.recording.run_card import card_of, replay
from llmroute_env.recording.serialization import read_config, to_plain
from llmroute_env.scenarios import configure
from llmroute_env.signal_specs import Signals
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import ConfigError, Pool

SEES = (*GPU_FEATURES, "age", "sent", "gpu_age", "gpu_sent")
LATE = Signals(0.3, 0.1, noise=0.2, lost=0.2)
FIELDS: dict[str, Any] = {"observation": SEES, "window_s": 5.0}
CONFIG = configure("unpredictable-2", signals=LATE, **FIELDS)


def actions(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(3, size=1) for _ in range(count)]


def begun(config: EnvConfig = CONFIG, envs: int = 1, threads: int = 1) -> Simulation:
    simulation = Simulation(config, envs, threads=threads)
    simulation.begin(np.arange(envs, dtype=np.uint64))
    return simulation


REFUSED = {
    "negative": ({"scrape_interval_s": -1.0}, "scrape_interval_s: got -1.0; accepted: .* or 0"),
    "endless": ({"scrape_interval_s": float("inf")}, "scrape_interval_s: got inf"),
    "later than the next": (
        {"scrape_interval_s": 1.0, "delay_s": 1.5},
        "delay_s: got 1.5; accepted: 0 to scrape_interval_s, 1 s",
    ),
    "delay of nothing": ({"delay_s": 0.1}, "delay_s: got 0.1"),
    "noise": ({"scrape_interval_s": 1.0, "noise": 1.1}, "noise: got 1.1; accepted: 0 to 1"),
    "all lost": ({"scrape_interval_s": 1.0, "lost": 1.0}, "lost: got 1.0; accepted: a share"),
    "noise of what is exact": ({"noise": 0.1}, "noise: got 0.1; accepted: nothing of it"),
    "reckoning on what is exact": ({"dead_reckoning": True}, "dead_reckoning: got True"),
    "breakers of what is exact": ({"circuit_breaker": True}, "circuit_breaker: got True"),
    "a text": ({"scrape_interval_s": "1"}, "scrape_interval_s: got '1'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_settings_are_refused(case: str):
    fields, message = REFUSED[case]
    with pytest.raises(ConfigError, match=f"signals {message}"):
        Signals(**fields)


def times_of(config: EnvConfig) -> np.ndarray:
    simulation = begun(config)
    found = []
    for action in actions(200):
        env = simulation.state.envs[0]
        found.append([env[name] for name in ("now_s", "task", "load", "rng", "fast_rate_per_s")])
        simulation.step(action)
    return np.array(found)


def test_arrivals_tasks_and_windows_are_those_of_exact_signals():
    exact = times_of(dataclasses.replace(CONFIG, signals=Signals()))
    for signals in (LATE, Signals(2.0), Signals(0.05, lost=0.9, dead_reckoning=True)):
        np.testing.assert_array_equal(times_of(dataclasses.replace(CONFIG, signals=signals)), exact)


def test_what_happens_after_a_scrape_is_not_seen():
    """Two routers part at one moment: till the next scrape they see the same but what they sent."""
    signals = Signals(0.25)
    fields = {**FIELDS, "action": "gpu-model"}
    own = ("sent", "gpu_sent")
    seen = tuple(name for name in SEES if name not in own)
    config = configure("stable", signals=signals, **fields | {"observation": seen})
    same = 0
    for seed in range(20):
        runs = begun(config), begun(config)
        for simulation in runs:
            simulation.begin(np.array([seed], np.uint64))
            for action in actions(60):
                simulation.step(action)
        before_s = runs[0].state.gpus["scraped_s"][1].copy()
        # One sends all to one GPU from now on, the other to another.
        for _ in range(25):
            for simulation, action in zip(runs, (0, 3), strict=True):
                simulation.step(np.array([action]))
            if (runs[0].state.gpus["scraped_s"][1] > before_s).any():
                break
            np.testing.assert_array_equal(*(r.outputs.observations for r in runs))
            same += 1
        assert not np.array_equal(*(r.state.queues["waiting"][0] for r in runs))
    assert same > 50


def test_the_single_env_the_vector_env_and_threads_are_alike():
    one = begun()
    many, shared = begun(envs=6), begun(envs=6, threads=3)
    for action in actions(150):
        for simulation in (one, many, shared):
            simulation.step(np.repeat(action, len(simulation.state.envs)))
        np.testing.assert_array_equal(one.outputs.observations[0], many.outputs.observations[0])
        np.testing.assert_array_equal(shared.outputs.observations, many.outputs.observations)
    env = gymnasium.make("LLMRoute-v0", scenario="unpredictable-2", signals=LATE, **FIELDS)
    assert env.reset(seed=0)[0].shape == one.outputs.observations[0].shape


def test_a_snapshot_of_any_kind_goes_on_alike():
    simulation = begun(envs=3)
    for action in actions(100):
        simulation.step(np.repeat(action, 3))
    named = State.of_named({name: a.copy() for name, a in simulation.state.named.items()})
    others = [begun(CONFIG, 3) for _ in range(2)]
    others[0].restore(simulation.snapshot())
    others[1].restore(named)
    others.append(pickle.loads(pickle.dumps(simulation)))
    fork(simulation.world, 0, 2)
    for action in actions(100, 1):
        for each in (simulation, *others):
            each.step(np.repeat(action, 3))
        for other in others:
            expected = simulation.outputs.observations[:2]
            np.testing.assert_array_equal(other.outputs.observations[:2], expected)
        np.testing.assert_array_equal(*simulation.outputs.observations[[0, 2]])


def test_a_snapshot_of_other_signals_is_refused():
    for signals in (Signals(), Signals(0.4, 0.1, noise=0.2, lost=0.2)):
        other = begun(dataclasses.replace(CONFIG, signals=signals))
        with pytest.raises(ConfigError, match="snapshot"):
            other.restore(begun().snapshot())


def test_actions_are_tried_in_copies_that_see_the_same():
    simulation = begun(envs=2)
    for action in actions(80):
        simulation.step(np.repeat(action, 2))
    base, values = largest_feasible(CONFIG, 0.2), np.zeros(3)
    before = simulation.outputs.observations[0].copy()
    try_actions(Trial(base, simulation.world, 1, 0.2), 0, values)
    again = np.zeros(3)
    try_actions(Trial(base, simulation.world, 1, 0.2), 0, again)
    np.testing.assert_array_equal(values, again)
    np.testing.assert_array_equal(simulation.outputs.observations[0], before)
    assert values.max() > 0


def test_run_cards_hold_signals_and_exact_ones_leave_no_trace():
    exact = dataclasses.replace(CONFIG, signals=Signals())
    assert "signals" not in to_plain(exact)
    assert read_config(to_plain(CONFIG)) == CONFIG
    recorded = play(CONFIG, 3, follow([0, 1, 2] * 30), 90)
    card = card_of(recorded, CONFIG, 3)
    assert "scrape_interval_s" in str(card)
    assert replay(card) is None


SMALL = {"pools": (Pool(4, ("opt-6.7b",)),), "load": 0.8, "window_s": 10.0}


@pytest.mark.parametrize("dispatcher", ["least-work", "shortest-queue"])
def test_all_run_to_one_gpu_the_more_the_later_signals_are_and_dead_reckoning_cures_it(
    dispatcher: str,
):
    def score(signals: Signals) -> float:
        config = configure("stable", dispatcher=dispatcher, signals=signals, **SMALL)
        scores = episode_scores(largest_feasible(config, 0.0), config, episode_seeds(0, 16))
        return float(scores.mean())

    intervals_s = (0.05, 0.2, 0.5, 2.0)
    exact, seen = score(Signals()), [score(Signals(interval)) for interval in intervals_s]
    reckoned = [score(Signals(interval, dead_reckoning=True)) for interval in intervals_s]
    assert [exact, *seen] == sorted([exact, *seen], reverse=True)
    assert exact > 1.2 * seen[1] > 1.2 * seen[2] > 1.2 * seen[3]
    for with_it, without in zip(reckoned, seen, strict=True):
        assert with_it > without + 0.5 * (exact - without)


def test_a_network_for_gpus_reads_the_age_of_its_own():
    layout = Layout(("busy", "gpu_age", "gpu_sent"), gpus=3, models=2)
    assert layout.width == 1 + 3 + 6
    expected = [[0, 4, 5, 1], [0, 6, 7, 2], [0, 8, 9, 3]]
    assert gpu_inputs(layout).tolist() == expected
    assert gpu_inputs(Layout(("busy", "gpu_slack"), gpus=2, models=1)).tolist() == [[0, 1], [0, 2]]


def test_a_router_that_begins_from_the_state_needs_exact_signals():
    with pytest.raises(ConfigError, match="accepted: exact ones"):
        Rollout("rollout", CONFIG)


def test_instances_are_herded_to_as_well_and_dead_reckoning_cures_it():
    pools = (Pool(4, ("qwen2.5-3b",), "l40s"),)

    def score(signals: Signals) -> float:
        config = configure("chat", signals=signals, pools=pools, load=0.8, window_s=30.0)
        scores = episode_scores(largest_feasible(config, 0.0), config, episode_seeds(0, 6))
        return float(scores.mean())

    exact, soon, late = map(score, (Signals(), Signals(0.5), Signals(5.0)))
    reckoned = score(Signals(5.0, dead_reckoning=True))
    assert exact > soon > late
    assert reckoned > late + 0.7 * (exact - late)


def test_a_fork_of_instances_sees_the_same():
    simulation = begun(configure("chat", signals=LATE, window_s=60.0), 2)
    for action in actions(60):
        simulation.step(np.repeat(action, 2))
    fork(simulation.world, 0, 1)
    for action in actions(60, 1):
        simulation.step(np.repeat(action, 2))
        np.testing.assert_array_equal(*simulation.outputs.observations)
