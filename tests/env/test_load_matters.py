"""The premise of the problem: the big model answers better, the small one in time."""

from functools import cache

import pytest

from agents.heuristics import models as heuristics
from benchmarks.evaluation.runner import Evaluation, evaluate
from llmroute_env.scenarios import configure


def run(
    agent: str, scenario: str, episodes: int = 3, setting: float | None = None, **fields: object
) -> Evaluation:
    config = configure(scenario, split="test", **fields)
    return evaluate(heuristics.make(agent, config, setting), config, episodes, seed=0)


@cache
def utility(agent: str, load: float) -> float:
    return run(agent, "stable", load=load).values("utility_of_peak").mean()


def test_the_largest_model_is_near_the_peak_at_half_load_and_fails_at_load_4():
    assert utility("opt-6.7b", 0.5) > 0.95
    assert utility("opt-6.7b", 4.0) < 0.5


def test_the_smallest_model_keeps_its_share_at_load_4():
    config = configure("stable")
    small, large = config.models[0], config.largest_model
    share = sum(small.accuracy) / sum(large.accuracy)
    assert utility("opt-125m", 4.0) == pytest.approx(share, abs=0.01)
    assert utility("opt-125m", 4.0) == pytest.approx(utility("opt-125m", 0.5), abs=0.01)


def test_a_router_that_looks_beats_every_fixed_model_where_the_rate_moves():
    looks = run("largest-feasible", "unpredictable-1", setting=0.4)
    for name in ("opt-125m", "opt-1.3b", "opt-6.7b"):
        fixed = run(name, "unpredictable-1")
        difference = looks.values("utility_of_peak") - fixed.values("utility_of_peak")
        assert difference.mean() > 0.03, name


def test_overload_passes_once_the_burst_is_over_because_the_hopeless_are_shed():
    kept = run("opt-6.7b", "overload", 2, load=8.0, window_s=10.0, shed_expired=False)
    shed = run("opt-6.7b", "overload", 2, load=8.0, window_s=10.0)
    assert kept.values("utility_of_peak").mean() < 0.1
    assert shed.values("utility_of_peak").mean() > 2 * kept.values("utility_of_peak").mean()
