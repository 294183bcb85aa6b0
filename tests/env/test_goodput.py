"""Goodput: whoever met all deadlines, as a share and per second, worked out by hand."""

import math

import numpy as np
import pytest

from llmroute_env import EnvConfig, Pool
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import Deadline
from tests.env.small_engines import small_engines
from traces.trace import Provenance, Trace

REPLAYED = {"load": None, "split": "all", "window_s": math.inf}


def trace_of(*requests: tuple[float, int, int], tasks: tuple[str, ...]) -> Trace:
    """Arrivals with tokens of prompt and answer, of the first of `tasks`."""
    arrival_s, prompt, output = map(np.array, zip(*requests, strict=True))
    tokens = prompt.astype(np.int32), output.astype(np.int32)
    task, about = np.zeros(len(requests), np.int16), Provenance("by hand")
    return Trace(arrival_s.astype(float), task, *tokens, 1000.0, about, tasks)


def played(config: EnvConfig) -> Simulation:
    """One episode in which everybody is sent to the only model."""
    simulation = Simulation(config)
    simulation.begin(np.zeros(1, np.uint64))
    while not simulation.state.envs["over"].all():
        simulation.step(np.zeros(1, np.int64))
    return simulation


def test_with_static_batching():
    """One is served in time, one waits too long, for the third there is no room."""
    requests = ((1.0, 128, 8), (1.01, 128, 8), (1.02, 128, 8))
    arrivals = trace_of(*requests, tasks=EnvConfig().tasks)
    pools, due = (Pool(1, ("opt-6.7b",)),), Deadline(0.15)
    rules = {"queue_capacity": 1, "shed_expired": False}
    config = EnvConfig(workload=arrivals, pools=pools, deadline=due, **rules, **REPLAYED)
    found = played(config).summary(0)
    assert (found["in_time"], found["late"], found["rejected"]) == (1, 1, 1)
    alone_s = 0.0853 + 0.00987
    assert found["duration_s"] == pytest.approx(1.0 + 2 * alone_s, abs=1e-8)
    assert found["deadline_met"] == 1 / 3
    assert found["goodput_per_s"] == pytest.approx(1 / (1.0 + 2 * alone_s), abs=1e-8)


def test_with_continuous_batching():
    """Two are in time, one has its first token too late, one is aborted, one rejected."""
    requests = ((1.0, 32, 4), (2.0, 32, 300), (8.0, 2048, 30), (9.0, 32, 4), (9.5, 40_000, 4))
    arrivals = trace_of(*requests, tasks=("chat", "code"))
    # A step takes 6 ms, and at least 10 ms with 512 tokens of a prompt.
    due = Deadline(5.0, ttft_s=0.03, tpot_s=0.0065, patience_s=1.5)
    one = {"pools": (Pool(1, ("middle",)),), "workload": arrivals, "lengths": {}, "deadline": due}
    found = played(small_engines(**REPLAYED, **one)).summary(0)
    assert {n: found[n] for n in ("in_time", "late", "aborted", "rejected")} == {
        "in_time": 2,
        "late": 1,
        "aborted": 1,
        "rejected": 1,
    }
    assert found["duration_s"] == 9.5
    assert found["deadline_met"] == 2 / 5
    assert found["goodput_per_s"] == 2 / 9.5


def test_before_anything_happened_there_is_none():
    simulation = Simulation(EnvConfig())
    simulation.begin(np.zeros(1, np.uint64))
    assert simulation.summary(0)["goodput_per_s"] == 0.0
    simulation.state.envs["now_s"] = 0.0
    assert simulation.summary(0)["goodput_per_s"] == 0.0
