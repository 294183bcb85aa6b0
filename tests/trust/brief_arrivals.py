"""Scenarios with less of their arrivals, for tests of what becomes of them."""

from typing import Any

from llmroute_env.scenarios import SCENARIOS
from tests.scenario_windows import short_workload, window_s


def brief(scenario: str, usual_s: float) -> dict[str, Any]:
    """Fields of such a scenario, with windows that hold about as many requests in each."""
    workload = short_workload(SCENARIOS[scenario].config, 1 / 20)
    return {"window_s": window_s(scenario, usual_s), "workload": workload}
