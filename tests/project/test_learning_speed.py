"""What `llmroute speed decisions` and `training` measure, on small sizes."""

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.heuristics.tuning import STRONGEST, setting_scores, validation_score
from benchmarks.cli import main
from benchmarks.speed import decisions, training
from benchmarks.speed.decisions import CLOCKS, Way, medians
from benchmarks.speed.training import GAIN, Contender, Race, RaceOverError
from llmroute_env.scenarios import configure

WAYS = ["torch", "numpy", "onnxruntime", "compiled", "compiled loop"]


def test_decisions_are_timed_by_every_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    small, kept = decisions.measure_decisions, []

    def once(*of: Any) -> Any:
        if not kept:
            kept.append(small(*of, decisions=1000))
        return kept[0]

    monkeypatch.setattr(decisions, "measure_decisions", once)
    command = ["speed", "decisions", "pretrained:unpredictable"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert all(way in printed for way in WAYS)
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(figures["decision_us"]) == WAYS
    assert figures["decisions"] == 1000
    for times in figures["decision_us"].values():
        assert list(times) == ["p50_wall", "p99_wall", "p50_cpu", "p99_cpu"]
        assert 0 < times["p50_wall"] <= times["p99_wall"]
        assert 0 <= times["p50_cpu"] <= times["p99_cpu"]


@pytest.mark.parametrize(("block", "per_decision_us"), [(1, 2e6), (50, 4e4)])
def test_the_clock_stands_around_each_call(block: int, per_decision_us: float):
    clock = itertools.count(step=2.0)
    rows = np.zeros((130, 4), np.float32)
    asked: list[tuple[int, ...]] = []
    way = Way(lambda rows: asked.append(rows.shape), block)
    calls = 130 // block
    assert way.taken_us(rows, lambda: next(clock)) == pytest.approx([per_decision_us] * calls)
    assert asked == [(4,) if block == 1 else (block, 4)] * calls


def test_medians_are_over_rounds():
    rounds = [{clock: np.array([r, 10.0 * r]) for clock in CLOCKS} for r in (1.0, 2.0, 9.0)]
    assert medians(rounds) == {
        f"{q}_{c}": v for c in CLOCKS for q, v in (("p50", 2.0), ("p99", 20.0))
    }


class Counting:
    """Acts like a router, and counts."""

    name, observation, action = "counting", ("task", "busy"), "model"

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        self.asked = 0

    def act(self, observations: np.ndarray) -> np.ndarray:
        self.asked += len(observations)
        return np.full(len(observations), 2)


def test_observations_are_those_that_the_router_meets():
    agent = Counting()
    rows = decisions.visited(agent, configure("overload"), 500)
    assert rows.shape == (500, 5)
    assert 500 <= agent.asked < 500 + decisions.ENVS
    # Everything goes to the largest model: soon every GPU is busy.
    assert rows[-1, 4] == 1.0
    short = configure("stable", window_s=0.05)
    assert len(decisions.visited(agent, short, 5000)) == 5000


def test_a_race_notes_when_the_heuristic_was_reached_and_exceeded(monkeypatch: pytest.MonkeyPatch):
    clock = itertools.count(start=1.0)
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(clock))
    run = Race({"low": 0.3, "high": 0.5}, limit_s=100.0, started_s=0.0)
    for score in (0.4, None, 0.5, 0.5 + GAIN / 2):
        run(training.Status(0, score))
    assert run.reached_s == {"low": 1.0, "high": 3.0}
    assert (run.exceeded_s, run.best) == (None, 0.5 + GAIN / 2)
    with pytest.raises(RaceOverError):
        run(training.Status(0, 0.5 + GAIN))
    assert (run.reached_s["high"], run.exceeded_s, run.spent_s) == (3.0, 5.0, 5.0)
    late = Race({"low": 0.5}, limit_s=5.0, started_s=0.0)
    with pytest.raises(RaceOverError):
        late(training.Status(0, None))


@pytest.mark.verify
def test_learners_race_to_the_same_score(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    small = {"validation_episodes": 2, "validation_window_s": 1.0}
    contenders = {
        "quick": Contender("rollout-pi", {**small, "envs": 4, "states_per_round": 8}, 20_000),
        "hopeless": Contender("ddqn-paper", {**small, "envs": 4}, 2_000),
    }
    monkeypatch.setattr(training, "CONTENDERS", contenders)
    assert main(["speed", "training", "--scenario", "stable", "--limit", "20", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["learners"].keys() == contenders.keys()
    hopeless = figures["learners"]["hopeless"]
    assert hopeless["exceeded_s"] is None
    assert hopeless["reached_s"].keys() == figures["heuristics"].keys() == set(STRONGEST)
    assert 0 < hopeless["best"] < max(figures["heuristics"].values()) < 1
    assert hopeless["spent_s"] > 0


@pytest.mark.verify
def test_the_heuristic_to_beat_is_tuned_on_the_same_episodes():
    scores = training.tuned_scores(configure("overload"))
    config = replace(configure("overload", split="validation"), window_s=10.0)
    for name, good, bad in (("largest-feasible", 0.4, -0.1), ("priced-pair", 0.02, 0.0)):
        assert scores[name] == max(setting_scores((name,), config, 48).values())
        assert scores[name] >= validation_score(name, config, good, 48)
        assert scores[name] > validation_score(name, config, bad, 48)
