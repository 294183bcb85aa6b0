"""Metrics of episodes against hand-made completions."""

import numpy as np
import pytest

from benchmarks.evaluation.metrics import by_second, policy_map, window_ratios, windows_near_peak
from benchmarks.evaluation.runner import EpisodeResult, Evaluation, summarise
from llmroute_env import EnvConfig
from llmroute_env.dynamics.state import (
    COMPLETION,
    IN_TIME,
    LATE,
    Records,
)

CONFIG = EnvConfig()
SUMMARY = ("in_time", "late", "rejected", "shed", "utility_of_peak")
HELLASWAG = 0  # of the largest model: 0.672


def completions(*rows: tuple[float, float, int, float]) -> Records:
    """(arrival, start, model, utility) in order of arrival."""
    made = np.zeros(len(rows), COMPLETION)
    for i, (arrival_s, start_s, model, utility) in enumerate(rows):
        made[i]["arrival_s"], made[i]["start_s"], made[i]["decision"] = arrival_s, start_s, i
        made[i]["model"], made[i]["utility"], made[i]["task"] = model, utility, HELLASWAG
        made[i]["outcome"] = IN_TIME if utility else LATE
    return made


def test_windows_near_the_peak():
    half_lost = completions((0.1, 0.1, 2, 0.672), (0.2, 0.3, 2, 0.0), (1.5, 1.5, 2, 0.672))
    np.testing.assert_allclose(window_ratios(half_lost, CONFIG, 1.0), [0.5, 1.0])
    counted = windows_near_peak(half_lost, CONFIG, 1.0)
    assert counted == {"windows": 2, "0.96": 1, "0.98": 1, "0.99": 1}
    assert windows_near_peak(half_lost, CONFIG, 2.0)["0.96"] == 0


def test_a_report_counts_windows_as_rows_do():
    # A sum in another order than the peak's, a last bit below the threshold that it reaches.
    exact = completions((0.1, 0.1, 2, np.nextafter(0.96 * 0.672, 0)), (1.1, 1.1, 2, 0.0))
    summary = dict.fromkeys(SUMMARY, 0) | {"share": {}, "requests": 2, "duration_s": 4.0}
    episodes = [EpisodeResult(summary, exact, (0.0, 30.0))] * 3
    told = summarise(Evaluation("made", CONFIG, 0, tuple(episodes)), "stable")
    assert told["windows_at_least"]["0.96"] == pytest.approx(0.5)
    assert windows_near_peak(exact, CONFIG, 1.0)["0.96"] == 1


def test_goodput_of_an_evaluation_is_of_all_its_seconds():
    made = completions((0.1, 0.1, 2, 0.672), (1.1, 1.1, 2, 0.0))
    summary = dict.fromkeys(SUMMARY, 0) | {"share": {}, "requests": 4}
    episodes = [
        EpisodeResult({**summary, "in_time": met, "duration_s": clock_s}, made, (0.0, 30.0))
        for met, clock_s in ((4, 2.0), (1, 8.0))
    ]
    told = summarise(Evaluation("made", CONFIG, 0, tuple(episodes)), "stable")
    assert told["goodput_per_s"] == pytest.approx(0.5)
    assert told["deadline_met"] == pytest.approx(5 / 8)


def test_the_course_by_second():
    course = by_second(
        completions((0.1, 0.1, 0, 0.3), (2.1, 2.1, 0, 0.3), (2.2, 2.3, 0, 0.0)), CONFIG
    )
    np.testing.assert_array_equal(course["requests"], [1, 0, 2])
    np.testing.assert_allclose(course["utility"], [0.3, 0.0, 0.3])
    np.testing.assert_allclose(course["peak"], [0.672, 0.0, 1.344])


def test_policy_map_counts_who_waits_and_how_fast_they_come():
    # Four requests at 2 s: the first starts at once, the others wait. Nobody waits at 5 s.
    crowd = completions(
        (2.0, 2.0, 2, 1.0),
        (2.1, 2.4, 1, 1.0),
        (2.2, 2.4, 1, 1.0),
        (2.3, 2.4, 0, 1.0),
        (5.0, 5.0, 2, 1.0),
    )
    counted = policy_map(crowd, CONFIG)
    assert counted.sum() == 5
    # Backlogs per GPU, of 4: 0, 0, 0.25, 0.5 and 0; all rates far below load 1.
    assert counted[0, 0].tolist() == [0, 2, 2]
    assert counted[0, 1].tolist() == [1, 0, 0]


def test_policy_map_rates_in_units_of_load_1():
    step_s = 1.0 / (3.0 * CONFIG.load_1_per_s)
    arrivals = np.arange(0.0, 4.0, step_s)
    steady = completions(*[(t, t, 0, 1.0) for t in arrivals])
    counted = policy_map(steady, CONFIG).sum(axis=(1, 2))
    assert counted[4] == counted.sum() == pytest.approx(3 / 4 * len(arrivals), rel=0.01)
