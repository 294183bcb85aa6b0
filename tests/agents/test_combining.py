"""Ensembles and their students: what the mean of several trained routers is, and who learns it."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.base import for_agent
from agents.compiled.making import COMPILED
from agents.learners.grounds import taught
from agents.routers.build import guard, q_network
from agents.routers.ensembles import mean_network
from agents.routers.networks import Guarded, QNetwork
from agents.runs.card import read_card, write_card, write_weights
from agents.runs.checkpoint import CheckpointError
from agents.runs.members import read_members
from agents.runs.plan import Plan
from agents.runs.trained import TrainedRouter, load_agent, make_router, memoryless
from agents.serving.ways import ways_to_decide
from agents.settings.own import RolloutSettings
from agents.settings.presets import SETTINGS, student_of
from agents.training.combining import ensemble, student_plan
from agents.training.training import Status, train
from benchmarks.cli import main, parse
from benchmarks.speed.decisions import visited
from llmroute_env import ConfigError, configure

SHORT: dict[str, Any] = {"window_s": 0.5, "load": 6.0}
BASE = SETTINGS["rollout-pi"]
assert isinstance(BASE, RolloutSettings)
SMALL = replace(
    BASE,
    hidden=(16, 8),
    cautions=(0.0, 0.2),
    validations=1,
    validation_episodes=4,
    validation_window_s=1.0,
)

TAUGHT = {"hidden": [32, 16], "states_per_round": 256, "batch_size": 256}


def written(directory: Path, seed: int, settings: RolloutSettings = SMALL, **fields: Any) -> Path:
    """A run directory without any training: random weights behind a heuristic."""
    fields = {**SHORT, **fields}
    plan = Plan(directory, "stable", fields, algorithm="rollout-pi", settings=settings, seed=seed)
    config = plan.config("train")
    network = q_network(config, settings.hidden, seed=seed, attention=settings.attention)
    router = guard(network, config, COMPILED["steep-pair"](config, 0.02), settings.tries)
    router.caution.fill_(0.05)
    write_card(directory, plan.card())
    write_weights(directory, router.state_dict())
    return directory


def three(folder: Path) -> dict[str, Path]:
    return {f"run-{seed}": written(folder / f"run-{seed}", seed) for seed in range(3)}


def met(agent: TrainedRouter, count: int) -> NDArray[np.float32]:
    """Observations in episodes that the router decides."""
    return visited(agent, configure("stable", **SHORT, split="test"), count)


def values_of(agent: TrainedRouter) -> QNetwork:
    """The network, without its guard."""
    assert isinstance(agent.network, Guarded)
    return agent.network.network


def loaded(directory: Path) -> TrainedRouter:
    return memoryless(load_agent(directory), "tests")


def centred(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values - values.mean(axis=1, keepdims=True)


def test_an_ensemble_is_the_mean_of_its_members(tmp_path: Path) -> None:
    runs = three(tmp_path)
    ensemble(runs, tmp_path / "mean")
    mean, members = loaded(tmp_path / "mean"), list(map(loaded, runs.values()))
    assert mean.card.settings.hidden == (48, 24)
    rows = met(mean, 400)
    asked = list(map(values_of, members))
    expected = np.mean([centred(network.preferences(rows)) for network in asked], axis=0)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(centred(values_of(mean).preferences(rows)), expected, atol=1e-6)
    # Each thinks otherwise, and so does the mean.
    best = values_of(mean).greedy(rows)
    assert all((network.greedy(rows) != best).mean() > 0.02 for network in asked)
    config = for_agent(configure("stable", **SHORT), mean)
    np.testing.assert_allclose(taught(asked, rows, config), expected, atol=1e-6)


@pytest.mark.parametrize("dueling", [(False, False), (True, False)])
@pytest.mark.parametrize("hidden", [((8,), (5,)), ((8, 4, 3), (2, 6, 5))])
def test_networks_of_any_width_have_a_mean(
    dueling: tuple[bool, bool], hidden: tuple[tuple[int, ...], ...]
) -> None:
    networks = [
        QNetwork(6, widths, 3, own, seed)
        for seed, (widths, own) in enumerate(zip(hidden, dueling, strict=True))
    ]
    rows = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    expected = np.mean([centred(network.preferences(rows)) for network in networks], axis=0)
    np.testing.assert_allclose(
        centred(mean_network(networks).preferences(rows)), expected, atol=1e-6
    )


def test_networks_that_have_no_mean_are_refused() -> None:
    two, three = QNetwork(6, (8, 4), 3, False, 0), QNetwork(6, (8,), 3, False, 0)
    with pytest.raises(ConfigError, match=r"layers: got \[3, 2\]; accepted: networks of one depth"):
        mean_network([two, three])
    other = QNetwork(6, (8, 4), 3, False, 0)
    other.register_parameter("gain", torch.nn.Parameter(torch.ones(1)))
    with pytest.raises(ConfigError, match=r"network: got \['gain'\]; accepted: multilayer perc"):
        mean_network([two, other])


def test_networks_that_attend_have_no_mean_but_students(tmp_path: Path) -> None:
    settings = replace(SMALL, attention=4)
    runs = {f"{seed}": written(tmp_path / f"{seed}", seed, settings) for seed in range(2)}
    with pytest.raises(ConfigError, match=r"network: got \['attention.* multilayer perceptrons"):
        ensemble(runs, tmp_path / "mean")
    plan = student_plan(runs, tmp_path / "student", 0, 10_000, {**TAUGHT, "attention": 0})
    train(plan, shows_progress=False)
    rows = met(loaded(tmp_path / "student"), 200)
    config = for_agent(configure("stable", **SHORT), loaded(tmp_path / "student"))
    members = [values_of(loaded(directory)) for directory in runs.values()]
    expected = np.mean([centred(network.preferences(rows)) for network in members], axis=0)
    np.testing.assert_allclose(taught(members, rows, config), expected, atol=1e-5)


def test_an_ensemble_is_served_as_any_router(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    ensemble(three(tmp_path), tmp_path / "mean")
    agent = loaded(tmp_path / "mean")
    assert isinstance(agent.network, Guarded)
    agent.network.caution.fill_(0.0)
    rows = met(agent, 300)
    expected, usual = agent.act(rows), agent.network.usual(rows)
    assert 0.05 < (expected != usual).mean() < 0.95
    config = for_agent(configure("stable", **SHORT), agent)
    for name, decide in ways_to_decide(agent, config).items():
        found = np.array([decide(row) for row in rows])
        # Sums in another order may turn a tie.
        assert (found != expected).mean() <= 0.01, name


def test_a_student_thinks_as_its_teachers(tmp_path: Path) -> None:
    runs = three(tmp_path)
    plan = student_plan(runs, tmp_path / "student", 1, 60_000, TAUGHT)
    assert train(plan, shows_progress=False).decisions == 60_000
    student = loaded(tmp_path / "student")
    assert student.card.settings.hidden == (32, 16)
    rows = met(student, 400)
    config = for_agent(configure("stable", **SHORT), student)
    wanted = taught([values_of(loaded(directory)) for directory in runs.values()], rows, config)
    found = centred(values_of(student).preferences(rows))
    assert np.square(found - wanted).mean() < 0.2 * np.square(wanted).mean()


def test_a_student_is_a_run_that_says_what_it_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(directory) for directory in three(tmp_path).values()]
    hyper = [f"{name}={value}" for name, value in TAUGHT.items()]
    words = ["distill", *runs, "--hyper", *hyper, "--timesteps", "20000"]
    out = ["--out", str(tmp_path / "student")]
    assert main([*words, *out]) == 0
    assert "student: 0." in capsys.readouterr().out
    card = read_card(tmp_path / "student")
    assert card.origin["way"] == "distill"
    assert [run["run"] for run in card.origin["runs"]] == runs
    assert all(len(run["weights_sha256"]) == 64 for run in card.origin["runs"])
    command = shlex.split(card.command or "")
    assert parse([*command[1:], *out]).plan().card() == card
    assert main(["evaluate", str(tmp_path / "student"), "--episodes", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["utility_of_peak"]["mean"] > 0.5
    # An ensemble, and it alone, can be what teaches; and is found by name again.
    assert main(["ensemble", *runs, "--out", str(tmp_path / "mean")]) == 0
    taught_by = student_plan({"mean": tmp_path / "mean"}, tmp_path / "other", 0, 20_000, TAUGHT)
    assert [len(b) for _, b in taught_by.teachers[0].network.layers()] == [48, 24, 3]
    assert read_card(tmp_path / "mean").command == f"llmroute ensemble {' '.join(runs)}"
    assert main(["evaluate", str(tmp_path / "mean"), "--episodes", "2"]) == 0


def test_a_student_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    runs = three(tmp_path)
    quick = {**TAUGHT, "states_per_round": 64}
    whole, cut = (
        replace(student_plan(runs, tmp_path / name, 0, 16_000, quick), checkpoint_decisions=4_000)
        for name in ("whole", "cut")
    )
    train(whole, shows_progress=False)

    def interrupt(status: Status) -> None:
        if status.decisions >= 8_000:
            signal.raise_signal(signal.SIGINT)

    assert train(cut, shows_progress=False, callback=interrupt).interrupted
    train(cut, resume=True, shows_progress=False)
    ours, theirs = (values_of(loaded(plan.directory)).state_dict() for plan in (whole, cut))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    # By other teachers it is another student.
    written(tmp_path / "run-2", 7)
    other = replace(cut, teachers=read_members(runs, least=1))
    with pytest.raises(CheckpointError, match=r"origin\.runs\[2\]"):
        train(other, resume=True, shows_progress=False)


OTHERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "another algorithm": (
        lambda path: other_run(path, "rollout-pi-model"),
        "algorithm of other: got 'rollout-pi-model'; accepted: 'rollout-pi', as of one",
    ),
    "another learner": (
        lambda path: other_run(path, "ddqn"),
        "run: got 'other by ddqn'; accepted: runs of rollout policy iteration, such as",
    ),
    "one that remembers": (
        lambda path: other_run(path, "recurrent-ppo"),
        "run: got 'other by recurrent-ppo'; accepted: runs of rollout policy iteration",
    ),
    "another load": (
        lambda path: written(path, 1, load=2.0),
        r"fields of other: got {.*'load': 2.0}; accepted: {.*'load': 6.0}, as of one",
    ),
    "other tries": (
        lambda path: written(path, 1, replace(SMALL, tries=5)),
        "tries of other: got 5; accepted: 3, as of one",
    ),
    "other features": (
        lambda path: written(path, 1, replace(SMALL, observation=(*SMALL.observation, "deadline"))),
        "columns of other: got ",
    ),
    "the same": (
        lambda path: written(path, 0),
        r"runs: got \('one', 'other'\); accepted: runs whose weights differ",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_routers_that_cannot_decide_together_are_refused(tmp_path: Path, name: str) -> None:
    make, message = OTHERS[name]
    runs = {"one": written(tmp_path / "one", 0), "other": make(tmp_path / "other")}
    with pytest.raises(ConfigError, match=message):
        ensemble(runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def other_run(directory: Path, algorithm: str) -> Path:
    card = Plan(directory, "stable", SHORT, algorithm=algorithm).card()
    write_card(directory, card)
    write_weights(directory, make_router(card).state_dict())
    return directory


def test_too_few_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(written(tmp_path / "one", 0))
    out = ["--out", str(tmp_path / "out")]
    assert main(["ensemble", run, *out]) == 2
    assert "accepted: at least 2 runs of rollout policy iteration" in capsys.readouterr().err
    assert main(["ensemble", run, run, *out]) == 2
    assert "accepted: each run once" in capsys.readouterr().err
    assert main(["ensemble", run, "nowhere", *out]) == 2
    assert "agent: got 'nowhere'; accepted: a trained router" in capsys.readouterr().err
    assert main(["distill", *out]) == 2
    assert "runs: got (); accepted: at least 1 run of rollout" in capsys.readouterr().err
    assert main(["distill", run, "--hyper", "colour=1", *out]) == 2
    assert "colour: got 1, which is not a setting" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    other = str(written(tmp_path / "other", 1))
    assert main(["ensemble", run, other, "--out", other]) == 2
    assert "exists; accepted: a new one, or one without it" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["rollout-pi", "rollout-pi-model", "rollout-pi-fourfold-large"])
def test_students_are_of_the_usual_size(name: str) -> None:
    settings = SETTINGS[name]
    assert isinstance(settings, RolloutSettings)
    student = student_of(settings)
    assert student.hidden == ((64, 64) if settings.action == "model" else (128, 64))
    assert student.decisions < settings.decisions
    assert (student.tries, student.observation) == (settings.tries, settings.observation)
