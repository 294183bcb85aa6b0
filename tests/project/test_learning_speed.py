"""What `llmroute speed --decisions` measures, on small sizes."""

import itertools
import json

import numpy as np
import pytest

from benchmarks import decision_time
from benchmarks.cli import main
from llmroute_env.scenarios import configure

WAYS = ["torch", "numpy", "onnxruntime", "compiled", "compiled loop"]


@pytest.mark.parametrize("json_wanted", [True, False])
def test_decisions_are_timed_by_every_way(
    json_wanted: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    small = decision_time.measure_decisions
    monkeypatch.setattr(decision_time, "measure_decisions", lambda name: small(name, 1000))
    options = ["--json"] if json_wanted else []
    assert main(["speed", "--decisions", "pretrained:unpredictable", *options]) == 0
    printed = capsys.readouterr().out
    if not json_wanted:
        assert all(way in printed for way in WAYS)
        return
    figures = json.loads(printed.splitlines()[-1])
    assert list(figures["decision_us"]) == WAYS
    assert figures["decisions"] == 1000
    for times in figures["decision_us"].values():
        assert 0 < times["p50"] <= times["p99"]


def test_the_clock_stands_around_each_decision(monkeypatch: pytest.MonkeyPatch):
    clock = itertools.count(step=2.0)
    monkeypatch.setattr(decision_time.time, "perf_counter", lambda: next(clock))
    rows = np.zeros((150, 4), np.float32)
    asked: list[int] = []
    assert decision_time.each(lambda row: asked.append(len(row)) or 0, rows).tolist() == [2.0] * 150
    assert asked == [4] * 150


class Counting:
    """Acts like a router, and counts."""

    name, observation = "counting", ("task", "busy")

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        self.asked = 0

    def act(self, observations: np.ndarray) -> np.ndarray:
        self.asked += len(observations)
        return np.full(len(observations), 2)


def test_observations_are_those_that_the_router_meets():
    agent = Counting()
    rows = decision_time.visited(agent, configure("overload"), 500)
    assert rows.shape == (500, 5)
    assert 500 <= agent.asked < 500 + decision_time.ENVS
    # Everything goes to the largest model: soon every GPU is busy.
    assert rows[-1, 4] == 1.0
    short = configure("stable", window_s=0.05)
    assert len(decision_time.visited(agent, short, 5000)) == 5000
