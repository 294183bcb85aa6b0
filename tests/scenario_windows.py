"""The scenarios as tests go through them, and windows that hold about as many requests in each."""

from dataclasses import replace
from typing import Any

import pytest

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.service.models import SERVICES
from llmroute_env.scenarios import SCENARIOS
from traces.trace import Trace
from traces.workloads import Workload

WITH_TOKENS = tuple(n for n, s in SCENARIOS.items() if SERVICES[s.config.service].reads_lengths)
"""Scenarios whose requests have tokens: they take seconds instead of tenths, and come as slowly."""

IN_BATCHES = tuple(name for name in SCENARIOS if name not in WITH_TOKENS)

OF_EVERY_KIND = (
    *("stable", "unpredictable-1", "unpredictable-2", "soft", "task-shift", "paper", "priority"),
    *("azure-conv", "burst", "kv-pressure", "stale-1s", "everything", "tokens-everything"),
)
"""Between them they have all that scenarios differ by."""

EVERY = tuple(
    name if name in OF_EVERY_KIND else pytest.param(name, marks=pytest.mark.verify)
    for name in SCENARIOS
)
"""All scenarios, of which `make test` goes through OF_EVERY_KIND and `make verify` the others."""

LOAD_1_PER_S = 227.0
"""Of the default cluster of static batching."""


def window_s(scenario: str, usual_s: float) -> float:
    """As many requests at load 1 as `usual_s` has in static batching."""
    if scenario in IN_BATCHES:
        return usual_s
    config = SCENARIOS[scenario].config
    return min(usual_s * LOAD_1_PER_S / config.load_1_per_s, 600.0)


TIMES = ("span_s", "minute_s", "second_s")
"""Fields of workloads, of which each has one that says how long it is."""


def short_workload(config: EnvConfig, share: float = 1 / 50) -> Workload:
    """The recipe of a scenario at its rate, in that share of the time where requests are many.

    In static batches those are a million, and take half a second to build; what changes does so
    that much more often.
    """
    workload = config.workload
    assert not isinstance(workload, Trace)
    if SERVICES[config.service].reads_lengths:
        return workload
    name = next(name for name in TIMES if hasattr(workload, name))
    return replace(workload, **{name: share * getattr(workload, name)})


def brief(scenario: str, usual_s: float, share: float = 1 / 20) -> dict[str, Any]:
    """Fields of a scenario with less of its arrivals, and windows that hold as many in each."""
    workload = short_workload(SCENARIOS[scenario].config, share)
    return {"window_s": window_s(scenario, usual_s), "workload": workload}
