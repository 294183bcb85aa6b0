"""Little's law, L = lambda W, on every scenario and exactly: over an episode that drains, the
integral of the number in the system equals the sum of the times that requests spend in it.

The number comes from the simulator's own counters, the times from its completion records.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from llmroute_env.dynamics.state import COMES_BACK
from llmroute_env.env import LLMRouteEnv
from tests.scenario_windows import EVERY, window_s


@dataclass
class Account:
    """What one episode adds up to."""

    duration_s: float = 0.0
    in_system_s: float = 0.0
    sojourn_s: float = 0.0
    requests: int = 0
    most_in_system: int = 0


def episode(scenario: str, seed: int, **fields: object) -> Account:
    """Random models for everybody."""
    env, account = LLMRouteEnv(scenario, **fields), Account()
    env.reset(seed=seed)
    counters, rng, over = env.simulation.state.envs[0], np.random.default_rng(seed), False
    while not over:
        present, now_s = 1 + in_system(counters), float(counters["now_s"])
        come = int(counters["arrived"])
        _, _, over, _, info = env.step(rng.integers(env.action_space.n))
        records, end_s = env.simulation.completions, now_s + info["elapsed_s"]
        ended = records[~np.isin(records["outcome"], COMES_BACK)]
        assert end_s == counters["now_s"]
        left = present - len(ended) + int(counters["arrived"]) - come
        assert in_system(counters) + (not over) == left, "a request is present or has ended"
        account.in_system_s += present * info["elapsed_s"] - (end_s - ended["finish_s"]).sum()
        account.sojourn_s += (ended["finish_s"] - ended["arrival_s"]).sum()
        account.most_in_system = max(account.most_in_system, present)
        account.duration_s += info["elapsed_s"]
        account.requests += len(ended)
    return account


def in_system(counters: np.void) -> int:
    """All but the pending one: some were put off, or have failed and come back."""
    return int(counters["waiting"] + counters["running"] + counters["away"])


@pytest.mark.parametrize("scenario", EVERY)
def test_littles_law(scenario: str):
    account = episode(scenario, seed=7, window_s=window_s(scenario, 10.0))
    mean_number = account.in_system_s / account.duration_s
    rate_per_s = account.requests / account.duration_s
    mean_time_s = account.sojourn_s / account.requests
    print(
        f"{scenario:16} L {mean_number:.6f}  lambda {rate_per_s:.3f}/s  W {mean_time_s:.6f} s"
        f"  L / (lambda W) - 1 = {mean_number / (rate_per_s * mean_time_s) - 1:+.1e}"
    )
    assert account.requests > 100
    assert account.most_in_system > 4, "nobody ever waited: the law would hold of nothing"
    assert mean_number == pytest.approx(rate_per_s * mean_time_s, rel=1e-9)
