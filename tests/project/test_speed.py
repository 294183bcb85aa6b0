"""The measurements of `llmroute speed`, on small sizes; full ones under `make verify`."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.speed import day, rates, scaling
from benchmarks.speed.rates import Effort

KEPT = json.loads((Path(rates.__file__).parents[1] / "results" / "speed.json").read_text())
KEYS = {
    "env_steps_per_s",
    "cartpole_steps_per_s",
    "ratio",
    "two_threads",
    "heuristic_requests_per_s",
    "train_steps_per_s",
    "bytes_per_env",
    "compile_s",
    "import_s",
}


def test_rates_and_their_ratio(monkeypatch: pytest.MonkeyPatch):
    clock = itertools.count()
    monkeypatch.setattr(rates.time, "perf_counter", lambda: float(next(clock)))
    effort = Effort(rounds=3, seconds=3.0)
    assert rates.rate(lambda: 10, 3.0) == pytest.approx(20 / 3)
    assert rates.compare(lambda: 30, lambda: 10, effort)[2] == pytest.approx(3.0)


def test_memory_in_use_is_far_below_what_the_queues_could_hold():
    simulation = rates.Simulation(rates.configure("unpredictable-1"))
    assert (
        1000 < rates.bytes_per_env(rates.configure("unpredictable-1")) < simulation.state.nbytes / 2
    )


def test_a_compiled_heuristic_routes_whole_episodes():
    routed = rates.heuristic(rates.configure("stable"), envs=2)()
    assert 2 * 0.9 * 30 * 227 < routed < 2 * 1.1 * 30 * 227


def test_a_short_day_keeps_its_rate(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(day, "MINUTE_S", 0.06)
    monkeypatch.setattr(day, "DAY_S", 86.4)
    found = day.evaluate_day()
    assert found.requests == pytest.approx(86_400, rel=0.05)
    assert 0.5 < found.utility_of_peak < 1


def test_scaling_is_measured_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scaling, "STEPS", 5)
    monkeypatch.setattr(scaling, "ROUNDS", 1)
    axes = {name: (sizes[:2], make) for name, (sizes, make) in scaling.AXES.items()}
    monkeypatch.setattr(scaling, "AXES", axes)
    found = scaling.measure_scaling()
    assert all(cost > 0 for costs in found.values() for cost in costs.values())
    scaling.save_scaling_figure(tmp_path / "scaling.png", found)
    assert (np.asarray(Image.open(tmp_path / "scaling.png").convert("L")) < 200).mean() > 0.005


def test_what_is_kept_is_complete():
    assert KEPT.keys() == KEYS
    assert set(KEPT["ratio"]) == {"single", *map(str, rates.ENVS)}
    assert set(KEPT["two_threads"]) == {*map(str, rates.SHARED)}


@pytest.mark.verify
def test_no_ratio_has_fallen_by_more_than_a_third():
    figures = rates.measure(Effort(rounds=9))
    assert figures.keys() == KEYS
    for size, kept in KEPT["ratio"].items():
        assert figures["ratio"][size] > kept * 2 / 3, size
    for size, kept in KEPT["two_threads"].items():
        assert figures["two_threads"][size] > kept * 2 / 3, size
