"""What docs/scenarios.md says of the arrivals of scenarios, and which of them tests go through."""

from collections.abc import Iterable
from dataclasses import fields

import numpy as np

from llmroute_env import SCENARIOS, TESTING, EnvConfig
from llmroute_env.scenarios import configure, rate_spread
from llmroute_env.simulation.simulation import Simulation
from tests.scenario_windows import OF_EVERY_KIND


def test_unpredictable_1_spans_a_factor_of_twenty_around_load_1():
    low, high = rate_spread("unpredictable-1")
    assert low < 0.5 < 2.0 < high
    assert high / low > 20


def test_stable_hardly_moves():
    low, high = rate_spread("stable")
    assert 0.8 < low < 1.0 < high < 1.2


def test_splits_do_not_overlap_and_leave_nothing_out():
    parts = {}
    for split in ("train", "validation", "test", "all"):
        parts[split] = Simulation(configure("unpredictable-1", split=split)).trace
    lengths = [len(parts[name]) for name in ("train", "validation", "test")]
    assert sum(lengths) == len(parts["all"])
    joined, start_s = [], 0.0
    for name in ("train", "validation", "test"):
        joined.append(parts[name].arrival_s + start_s)
        start_s += parts[name].span_s
    np.testing.assert_allclose(np.concatenate(joined), parts["all"].arrival_s)


def test_static_batching_takes_every_request_for_the_measured_one():
    trace = Simulation(configure("azure-code")).trace
    assert set(trace.prompt_tokens.tolist()) == {128}
    assert set(trace.output_tokens.tolist()) == {8}


def test_the_testing_subset_is_part_of_the_scenarios():
    assert set(TESTING) <= set(SCENARIOS)
    assert len(TESTING) >= 2


def test_the_scenarios_of_every_kind_differ_by_all_that_others_do() -> None:
    usual = EnvConfig()

    def differing(names: Iterable[str]) -> set[str]:
        configs = [SCENARIOS[name].config for name in names]
        return {
            field.name
            for field in fields(EnvConfig)
            if any(getattr(c, field.name) != getattr(usual, field.name) for c in configs)
        }

    assert differing(OF_EVERY_KIND) == differing(SCENARIOS)
    tags = [set(SCENARIOS[name].tags) for name in OF_EVERY_KIND]
    assert set().union(*tags) == set().union(*(set(s.tags) for s in SCENARIOS.values()))
