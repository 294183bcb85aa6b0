"""Controls: by hand-made observations, and tuned on nothing but validation episodes."""

import numpy as np
import pytest

from agents.heuristics import table as routers
from agents.heuristics.table import CONTROLS
from agents.loading import load
from benchmarks.bounds.upper import bound_of_peak
from benchmarks.evaluation import tuned_controls
from benchmarks.evaluation.runner import evaluate
from benchmarks.evaluation.settings import choose
from benchmarks.suites.suite import FOLLOWED, TUNED
from llmroute_env import ConfigError, configure
from llmroute_env.dynamics.observation import slack
from llmroute_env.failure_specs import ExponentialTimes, Failures
from llmroute_env.simulation.episodes import episode_seeds
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import Defer

CONFIG = configure("stable", load=2.0, window_s=1.0)
FAILURES = Failures(ExponentialTimes(0.6), ExponentialTimes(0.3))


def observation(slacks: tuple[float, ...], task: int) -> np.ndarray:
    row = np.zeros((1, len(Simulation(CONFIG).observation_bounds()[0])), np.float32)
    row[0, task] = 1.0
    row[0, -3:] = slacks
    return row


@pytest.mark.parametrize("latency", [0.01, 0.5, 1.0, 1.9, 2.0, 2.1, 30.0])
def test_latency_is_the_inverse_of_slack(latency: float):
    seen = np.array([slack(latency * 0.4, 0.4)], np.float32)
    assert routers.latency_of(seen)[0] == pytest.approx(latency, rel=1e-5)


@pytest.mark.parametrize(
    ("weight", "task", "chosen"),
    [
        # Accuracies 0.311, 0.5368, 0.672; latencies 0.1, 0.4, 0.9 of the deadline.
        (0.0, 0, 2),
        (0.2, 0, 2),  # 0.291, 0.457, 0.492
        (0.4, 0, 1),  # 0.271, 0.377, 0.312
        (1.0, 0, 0),  # 0.211, 0.137, below 0
        (0.2, 1, 1),  # 0.610, 0.637, 0.583: a task on which size matters less
    ],
)
def test_route_balance_weighs_quality_against_latency(weight: float, task: int, chosen: int):
    agent = routers.make("route-balance", CONFIG, weight)
    assert agent.act(observation((0.9, 0.6, 0.1), task)).tolist() == [chosen]


def test_tuning_looks_at_the_validation_split_only(monkeypatch: pytest.MonkeyPatch):
    seen = []

    def score(control, setting, config, episodes):
        seen.append((setting, config.split, config.window_s, episodes))
        return -abs(float(setting) - 0.5)

    monkeypatch.setattr(tuned_controls, "score", score)
    tuned = tuned_controls.tune("queue-threshold", configure("stable", split="train"), 5, 2.0)
    assert {entry[1:] for entry in seen} == {("validation", 2.0, 5)}
    assert tuned.setting == 0.5
    effort = tuned.to_json()
    assert effort["settings_tried"] == len(seen) == len(routers.TUNABLE["queue-threshold"].grid)
    assert effort["episodes_each"] == 5
    assert effort["validation_score"] == 0.0


def test_the_best_single_model_depends_on_the_load():
    calm = tuned_controls.tune("best-single", configure("stable", load=0.5), 2, 1.0)
    busy = tuned_controls.tune("best-single", configure("stable", load=10.0), 2, 1.0)
    assert (calm.setting, busy.setting) == ("opt-6.7b", "opt-125m")


def test_a_control_without_settings_is_refused():
    with pytest.raises(ConfigError, match="control: got 'random'; accepted: best-single"):
        tuned_controls.tune("random", CONFIG, 2, 1.0)


def test_rollout_repeats_and_leaves_the_episode_as_it_is():
    config = configure("overload", split="test", window_s=0.05)
    agent = routers.make("rollout", config)
    runs = [evaluate(agent, config, 2, seed=3) for _ in range(2)]
    base = evaluate(routers.make("largest-feasible", config), config, 2, seed=3)
    for one, other, plain in zip(*(run.episodes for run in (*runs, base)), strict=True):
        assert one.completions.tobytes() == other.completions.tobytes()
        np.testing.assert_array_equal(one.completions["arrival_s"], plain.completions["arrival_s"])
        assert one.summary["requests"] == one.summary["in_time"] + sum(
            one.summary[name] for name in ("late", "rejected", "shed")
        )


def test_rollout_says_that_it_needs_the_state():
    agent = load("rollout", CONFIG)
    with pytest.raises(ConfigError, match="rollout simulation: got None; accepted: attached"):
        agent.begin(1, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"defer": Defer(0.1, 1)}, r"rollout defer: got Defer\(.*; accepted: None: in the futures"),
        ({"failures": FAILURES}, r"rollout failures: got Failures\(.*; accepted: None: in the"),
    ],
    ids=["defer", "failures"],
)
def test_rollout_refuses_where_requests_come_back_before_it_is_tuned(fields, said, tmp_path):
    config = configure("overload", split="test", window_s=0.1, **fields)
    with pytest.raises(ConfigError, match=said):
        choose("rollout", config, tmp_path)
    assert not list(tmp_path.iterdir())


def test_rollout_sees_what_the_heuristic_cannot():
    """Where the heuristic is blind, with a margin that always takes the largest model."""
    config = configure("stable", load=3.0, split="test", window_s=1.0)
    blind, helped = (
        evaluate(routers.make(name, config, -16.0), config, 1, seed=0).values("utility_of_peak")
        for name in ("largest-feasible", "rollout")
    )
    assert helped.mean() > blind.mean() + 0.02


def test_hindsight_gains_by_what_comes():
    config = configure("overload", split="test", window_s=0.4)
    agent = routers.make("hindsight", config)
    base, better = (
        evaluate(routers.make(name, config), config, 3, seed=0).values("utility_of_peak")
        for name in ("priced-pair", "hindsight")
    )
    assert (better > base).all()
    assert (better < bound_of_peak(config, episode_seeds(0, 3))).all()
    with pytest.raises(ConfigError, match="hindsight simulation: got None"):
        agent.begin(1, np.random.default_rng(0))


def test_who_looks_ahead_is_not_what_learning_has_to_beat():
    assert set(FOLLOWED.values()) <= set(TUNED)
    assert {name for name in CONTROLS if hasattr(CONTROLS[name], "attach")} == set(FOLLOWED)
