"""`llmroute demo`, small: trains, compares, draws, and never overwrites."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from agents.heuristics import table as controls
from agents.runs.card import read_card
from agents.settings.presets import SETTINGS
from benchmarks import demo
from benchmarks.bounds.upper import bound_of_peak
from benchmarks.cli import main
from benchmarks.evaluation.runner import evaluate
from llmroute_env import EnvConfig, configure
from llmroute_env.simulation.episodes import episode_seeds

HASTY = replace(
    SETTINGS[demo.ALGORITHM],
    follows="priced-pair",
    stress=1.0,
    envs=4,
    states_per_round=64,
    validations=1,
    validation_episodes=4,
)
"""Settings for a router of which nobody wants to know how good it is."""


def hastily(patch: pytest.MonkeyPatch, tuning_episodes: int) -> None:
    """Let the demo train and tune in no time."""
    patch.setitem(SETTINGS, demo.ALGORITHM, HASTY)
    patch.setattr(demo, "TUNING_EPISODES", tuning_episodes)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        hastily(patch, 2)
        command = ["demo", "--out", str(folder), "--timesteps", "20000", "--episodes", "2"]
        assert main([*command, "--scenario", "stable", "--set", "window_s=5"]) == 0
    return folder


def test_every_heuristic_and_the_router_ran_the_same_episodes(out: Path):
    rows = [json.loads(line) for line in (out / "evaluation.jsonl").read_text().splitlines()]
    names = {row["agent"].split()[0] for row in rows}
    assert names == {demo.ALGORITHM, *demo.CONTENDERS, *EnvConfig().model_names}
    assert len({row["requests"] for row in rows}) == 1
    scores = [row["utility_of_peak"]["mean"] for row in rows]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("name", ["result.png", "utility.png", "share.png"])
def test_figures_show_something(out: Path, name: str):
    pixels = np.asarray(Image.open(out / name).convert("L"))
    assert min(pixels.shape) > 400
    assert 0.02 < (pixels < 200).mean() < 0.7


def test_the_router_and_its_logs_are_kept(out: Path, capsys: pytest.CaptureFixture[str]):
    run = out / demo.ALGORITHM
    assert list(run.glob("events.out.tfevents*"))
    assert main(["evaluate", str(run), "--scenario", "stable", "--episodes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["agent"] == str(run)


def test_an_interrupted_training_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(demo, "train", lambda plan: SimpleNamespace(interrupted=True))
    monkeypatch.setattr(demo, "evaluate", None)
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 130
    command = "llmroute train rollout-pi --scenario unpredictable-1 --seed 0 --timesteps"
    assert command in capsys.readouterr().out


@pytest.mark.usefixtures("unplaced")
def test_a_problem_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    hastily(monkeypatch, 1)
    monkeypatch.chdir(tmp_path)
    Path("own.csv").write_text("arrival_s\n" + "".join(f"{i / 40}\n" for i in range(4000)))
    Path("mine.toml").write_text(
        'scenario = "stable"\ntrace = "own.csv"\nwindow_s = 3\n'
        'pools = [{gpus = 2, models = ["opt-125m", "opt-1.3b"]}]\n'
    )
    options = ("--timesteps", "20000", "--episodes", "2", "--set", "deadline.deadline_s=0.3")
    assert main(["demo", "--env", "mine.toml", *options, "--out", "out"]) == 0
    rows = [json.loads(line) for line in Path("out/evaluation.jsonl").read_text().splitlines()]
    assert {row["scenario"] for row in rows} == {"mine"}
    assert {row["agent"].split()[0] for row in rows} == {
        *(demo.ALGORITHM, *demo.CONTENDERS, "opt-125m", "opt-1.3b")
    }
    assert all(abs(row["requests"] - 2 * 3 * 40) < 4 for row in rows)
    assert read_card(Path("out") / demo.ALGORITHM).fields["window_s"] == 3
    drawn = {path.name for path in Path("out").glob("*.png")}
    assert drawn == {"result.png", "utility.png", "share.png"}
    assert "Training rollout-pi on mine" in capsys.readouterr().out


def test_earlier_results_are_never_overwritten(tmp_path: Path):
    assert demo.free_name(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo-2").mkdir()
    assert demo.free_name(tmp_path / "demo") == tmp_path / "demo-3"


def test_the_result_is_drawn_beside_its_bound_and_the_best_heuristic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = configure("stable", split="test", window_s=1.0)
    names = ("opt-125m", "largest-feasible", "opt-6.7b")
    found = [evaluate(controls.make(name, config), config, episodes=3, seed=1) for name in names]
    router, best, worst = (
        replace(e, agent=a) for e, a in zip(found, ("rollout-pi", *names[1:]), strict=True)
    )
    drawn: list = []
    monkeypatch.setattr(demo, "save_result_figure", lambda *arguments: drawn.append(arguments))
    assert demo.draw_result(tmp_path, [best, router, worst]) == tmp_path / "result.png"
    ((_, scores, gains, bound),) = drawn
    assert list(scores) == ["largest-feasible", "rollout-pi", "opt-6.7b"]
    assert scores["rollout-pi"] == router.interval("utility_of_peak")
    assert bound == pytest.approx(bound_of_peak(config, episode_seeds(1, 3)).mean())
    assert gains.keys() == {"rollout-pi", "opt-6.7b"}
    expected = router.values("utility_of_peak") - best.values("utility_of_peak")
    assert gains["rollout-pi"].mean == pytest.approx(expected.mean())
