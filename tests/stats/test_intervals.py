"""What an interval is of: independent episodes, windows that overlap; none of one episode."""

from dataclasses import replace

import numpy as np
import pytest

from agents.heuristics import models as heuristics
from benchmarks.evaluation.intervals import Interval, independent_windows, worth_text
from benchmarks.evaluation.runner import evaluate, summarise
from benchmarks.evaluation.stats import bootstrap_mean
from benchmarks.evaluation.windows import begun, tape_windows_s
from benchmarks.tables import cells
from llmroute_env import configure
from llmroute_env.simulation.episodes import episode_seeds
from llmroute_env.simulation.simulation import Simulation


def rng():
    return np.random.default_rng(0)


def test_one_episode_has_no_interval():
    found = bootstrap_mean(np.array([0.973]), rng())
    assert found.mean == 0.973
    assert not found.known
    assert found.text() == "0.973 (no interval)"
    assert found.to_json() == {"mean": 0.973, "ci_low": None, "ci_high": None}
    assert Interval.from_json(found.to_json()).text() == found.text()


def test_one_stretch_of_the_tape_has_no_interval():
    windows_s = np.array([[3.0, 33.0]] * 5)
    assert not bootstrap_mean(rng().normal(size=5), rng(), windows_s).known


def test_texts_hold_the_interval():
    assert Interval(0.5, 0.25, 0.75).text(2) == "0.50 [0.25, 0.75]"
    assert Interval(0.5, -0.25, 0.75).text(2, sign="+") == "+0.50 [-0.25, +0.75]"


@pytest.mark.parametrize(
    ("starts_s", "worth"),
    [
        ((0, 30, 60), 3.0),  # side by side
        ((0, 0, 0), 1.0),
        ((0, 0, 60, 60), 2.0),
        ((0, 15), 4 / 3),  # correlated by a half
    ],
)
def test_windows_are_worth_what_they_do_not_share(starts_s, worth):
    start_s = np.array(starts_s, float)
    assert independent_windows(np.stack([start_s, start_s + 30], axis=1)) == pytest.approx(worth)


def test_windows_of_two_lengths():
    # 10 of 30 and of 10 s: a correlation of 10 / sqrt(300).
    windows_s = np.array([[0.0, 30.0], [10.0, 20.0]])
    assert independent_windows(windows_s) == pytest.approx(4 / (2 + 2 * 10 / 300**0.5))


def test_what_episodes_are_worth_is_said_in_words():
    assert worth_text(1, 1.0) == "1 episode"
    assert worth_text(32, 31.999) == "32 episodes"
    worth = "32 episodes, worth 6.0 independent ones, as their windows overlap"
    assert worth_text(32, 6.04) == worth


def test_skewness_widens_the_side_of_the_tail():
    found = bootstrap_mean(np.random.default_rng(2).lognormal(size=32), rng())
    assert found.ci_high - found.mean > 1.5 * (found.mean - found.ci_low)


def test_a_few_bad_episodes_do_not_make_an_interval_endless():
    # Resamples without the bad ones differ by nothing: divided by that they would be anywhere.
    scores = np.where(np.arange(16) < 2, 0.0, 0.9 + 1e-4 * np.arange(16))
    found = bootstrap_mean(scores, rng())
    assert found.ci_high - found.ci_low < 6 * scores.std(ddof=1)


def test_windows_are_where_the_simulator_cuts_them():
    config = configure("overload", split="test", window_s=5.0)
    seeds = episode_seeds(0, 6)
    found = tape_windows_s(begun(config, seeds))
    evaluation = evaluate(heuristics.make("opt-125m", config), config, episodes=6, seed=0)
    np.testing.assert_array_equal(found, evaluation.windows_s)
    trace = Simulation(config).trace
    requests = np.diff(np.searchsorted(trace.arrival_s, found), axis=1)[:, 0]
    np.testing.assert_array_equal(requests, evaluation.values("requests"))
    # Higher loads compress more of the tape into an episode.
    np.testing.assert_allclose(
        np.diff(found)[:, 0] * 8.0, 5.0 * evaluation.values("load"), rtol=1e-12
    )


def test_an_evaluation_says_what_its_episodes_are_worth():
    config = replace(configure("stable", split="test"), window_s=2.0)
    agent = heuristics.make("opt-125m", config)
    told = summarise(evaluate(agent, config, episodes=1, seed=0), "stable")
    assert told["utility_of_peak"]["ci_low"] is None
    assert "(no interval)" in cells(told)[0]
    long = replace(config, window_s=np.inf)
    whole = evaluate(agent, long, episodes=3, seed=0)
    assert summarise(whole, "stable")["independent_episodes"] == pytest.approx(1.0)
    assert not whole.interval("utility_of_peak").known
