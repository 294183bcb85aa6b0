"""The measurements of `llmroute speed`, on small sizes; full ones under `make verify`."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.cli import main
from benchmarks.speed import day, rates, scaling
from benchmarks.speed.rates import Effort
from traces.tasks import TaskMix

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
    found = day.evaluate_day("stable", {})
    assert found.requests == pytest.approx(86_400, rel=0.05)
    assert 0.5 < found.utility_of_peak < 1
    fast = day.evaluate_day("stable", {"profile": "opt-h100"})
    assert fast.requests == found.requests
    assert fast.utility_of_peak > found.utility_of_peak
    easy = day.evaluate_day("stable", {"mix": TaskMix((0.0, 0.0, 0.0, 1.0))})
    assert easy.requests == found.requests
    assert easy.utility_of_peak != found.utility_of_peak


def test_a_day_of_ones_own_arrivals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(day, "day_of_arrivals", None)
    own = tmp_path / "own.csv"
    own.write_text("arrival_s\n" + "".join(f"{i / 20}\n" for i in range(4000)))
    assert main(["speed", "day", "--trace", str(own), "--profile", "opt-h100", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["requests"] == 4000
    assert told["utility_of_peak"] == pytest.approx(1.0, abs=0.01)


@pytest.fixture
def small_scaling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "STEPS", 5)
    monkeypatch.setattr(scaling, "ROUNDS", 1)
    axes = {name: (sizes[:2], make) for name, (sizes, make) in scaling.AXES.items()}
    monkeypatch.setattr(scaling, "AXES", axes)


@pytest.mark.usefixtures("small_scaling")
def test_scaling_is_measured_and_drawn(tmp_path: Path):
    found = scaling.measure_scaling("stable", {})
    assert all(cost > 0 for costs in found.values() for cost in costs.values())
    scaling.save_scaling_figure(tmp_path / "scaling.png", found)
    assert (np.asarray(Image.open(tmp_path / "scaling.png").convert("L")) < 200).mean() > 0.005


@pytest.mark.verify
@pytest.mark.usefixtures("small_scaling")
def test_scaling_is_of_the_problem_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    measured = []
    step_ns = scaling.step_ns
    monkeypatch.setattr(
        scaling, "step_ns", lambda config, envs: measured.append(config) or step_ns(config, envs)
    )
    (tmp_path / "problem.toml").write_text(
        'scenario = "priority"\nload = 3\nmax_batch = {"opt-6.7b" = 8}\naction = "gpu-model"\n'
        '[profile]\nname = "mine"\nextends = "opt-h100"\n'
        'models = [{name = "opt-1.3b", base_s = 0.02}]\n'
    )
    words = ["speed", "scaling", "--env", str(tmp_path / "problem.toml")]
    assert main([*words, "--set", "service=static", "--out", str(tmp_path / "x.svg")]) == 0
    assert "GPUs: 1: " in capsys.readouterr().out
    assert (tmp_path / "x.svg").exists()
    assert {config.action for config in measured} == {"gpu-model"}
    assert {len(config.classes) for config in measured} == {2}
    assert {config.load for config in measured} == {3, 50.0}
    assert {config.resolved_profile.name for config in measured} == {"mine"}
    assert {config.gpus for config in measured[:2]} == {1, 4}


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
