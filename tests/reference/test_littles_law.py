"""Little's law, L = lambda W, on every scenario and exactly: over an episode that drains, the
integral of the number in the system equals the sum of the times that requests spend in it.

The number comes from the simulator's own counters, the times from its completion records.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from llmroute_env.dynamics.state import COMES_BACK, RETRIED
from llmroute_env.recording.recording import begun
from llmroute_env.scenarios import configure
from tests.scenario_windows import EVERY, brief


@dataclass
class Account:
    """What one episode adds up to."""

    duration_s: float = 0.0
    in_system_s: float = 0.0
    sojourn_s: float = 0.0
    requests: int = 0
    retried: int = 0
    most_in_system: int = 0


def episode(scenario: str, seed: int, **fields: object) -> Account:
    """Random models for everybody."""
    simulation, account = begun(configure(scenario, **fields), seed), Account()
    counters, out = simulation.state.envs[0], simulation.outputs
    rng = np.random.default_rng(seed)
    while not out.terminated[0]:
        present, now_s = 1 + in_system(counters), float(counters["now_s"])
        come = int(counters["arrived"])
        simulation.step_one(int(rng.integers(simulation.actions)))
        elapsed_s, over = float(out.elapsed_s[0]), bool(out.terminated[0])
        ended, end_s = simulation.completions, now_s + elapsed_s
        if len(ended) > 0:
            account.retried += int((ended["outcome"] == RETRIED).sum())
            ended = ended[~np.isin(ended["outcome"], COMES_BACK)]
        assert end_s == counters["now_s"]
        left = present - len(ended) + int(counters["arrived"]) - come
        assert in_system(counters) + (not over) == left, "a request is present or has ended"
        account.in_system_s += present * elapsed_s - (end_s - ended["finish_s"]).sum()
        account.sojourn_s += (ended["finish_s"] - ended["arrival_s"]).sum()
        account.most_in_system = max(account.most_in_system, present)
        account.duration_s += elapsed_s
        account.requests += len(ended)
    return account


def in_system(counters: np.void) -> int:
    """All but the pending one: some were put off, or have failed and come back."""
    return int(counters["waiting"] + counters["running"] + counters["away"])


@pytest.mark.parametrize("scenario", EVERY)
def test_littles_law(scenario: str):
    account = episode(scenario, seed=3, **brief(scenario, 4.0))
    mean_number = account.in_system_s / account.duration_s
    rate_per_s = account.requests / account.duration_s
    mean_time_s = account.sojourn_s / account.requests
    print(
        f"{scenario:16} L {mean_number:.6f}  lambda {rate_per_s:.3f}/s  W {mean_time_s:.6f} s"
        f"  L / (lambda W) - 1 = {mean_number / (rate_per_s * mean_time_s) - 1:+.1e}"
    )
    assert account.requests > 100
    assert account.most_in_system > 4, "nobody ever waited: the law would hold of nothing"
    assert account.retried > 0 or not scenario.endswith("everything"), "some fail and come back"
    assert mean_number == pytest.approx(rate_per_s * mean_time_s, rel=1e-9)
