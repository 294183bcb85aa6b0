"""What docs/service-model.md says of windows, of their load and of episodes that are cut."""

import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import llmroute_env  # noqa: F401 - registers the ids
from benchmarks.evaluation.windows import begun, tape_windows_s
from llmroute_env.scenarios import configure
from llmroute_env.simulation.episodes import episode_seeds
from llmroute_env.simulation.tape import workload_trace

DOCUMENT = (Path(__file__).parents[2] / "docs" / "service-model.md").read_text()


@pytest.mark.parametrize("scenario", ["azure-conv", "azure-code"])
def test_the_load_of_a_split_is_not_that_of_the_trace(scenario: str):
    config = configure(scenario, split="test")
    trace, load = workload_trace(config)
    assert load == pytest.approx(2.5)
    own = trace.mean_rate_per_s / config.load_1_per_s
    said = re.search(rf"`{scenario}` has ([\d.]+)|`{scenario}` ([\d.]+), of whose", DOCUMENT)
    assert said
    assert own == pytest.approx(float(said[1] or said[2]), abs=0.005)


def test_one_window_in_six_of_azure_code_has_few_requests():
    config = configure("azure-code", split="test")
    trace, _ = workload_trace(config)
    windows_s = tape_windows_s(begun(config, episode_seeds(0, 2000)))
    requests = np.diff(np.searchsorted(trace.arrival_s, windows_s), axis=1)
    assert (requests < 100).mean() == pytest.approx(1 / 6, abs=0.03)
    assert trace.span_s == pytest.approx(172, abs=0.5)


def test_time_limits_of_gymnasium_cut_without_a_summary():
    env = gymnasium.make("LLMRoute-v0", scenario="stable", max_episode_steps=3)
    env.reset(seed=0)
    *_, info = [env.step(0) for _ in range(3)]
    assert info[2:4] == (False, True)
    assert "summary" not in info[4]
    assert env.unwrapped.summary()["requests"] == 3


def test_the_vector_env_cuts_with_a_summary():
    envs = gymnasium.make_vec("LLMRoute-v0", num_envs=2, scenario="stable", max_episode_steps=3)
    envs.reset(seed=0)
    *_, last = [envs.step(np.zeros(2, int)) for _ in range(3)]
    assert last[3].all()
    summary = {name: of_envs[0] for name, of_envs in last[4]["summary"].items() if name != "share"}
    ended = sum(summary[name] for name in ("in_time", "late", "rejected", "shed"))
    assert summary["requests"] == ended + summary["in_flight"] == 3
