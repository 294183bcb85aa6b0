"""Run directories: what is written can be loaded, what is broken is named."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.compiled.making import largest_feasible
from agents.routers.build import guard
from agents.routers.networks import QNetwork
from agents.routers.recurrent import AnyRouter, RecurrentNetwork
from agents.runs.card import CARD, WEIGHTS, read_card, write_card, write_weights
from agents.runs.checkpoint import CheckpointError
from agents.runs.plan import Plan
from agents.runs.trained import load_agent, make_router
from agents.settings.presets import PRESETS
from benchmarks.cli import parse
from llmroute_env import EnvConfig, Pool, configure, profiles

OPT = profiles.load("opt-a100")
ONE_TASK = replace(
    OPT,
    tasks=OPT.tasks[:1],
    models=tuple(replace(model, accuracy=model.accuracy[:1]) for model in OPT.models),
)

TURNED = replace(
    OPT,
    tasks=OPT.tasks[::-1],
    models=tuple(replace(model, accuracy=model.accuracy[::-1]) for model in OPT.models),
)


def written(directory: Path, algorithm: str = "ddqn") -> AnyRouter:
    """A run directory without any training."""
    card = Plan(directory, "stable", algorithm=algorithm).card()
    router = make_router(card)
    write_card(directory, card)
    write_weights(directory, router.state_dict())
    return router


@pytest.mark.parametrize("algorithm", PRESETS)
def test_what_is_loaded_acts_as_what_was_written(tmp_path: Path, algorithm: str) -> None:
    router = written(tmp_path, algorithm)
    agent = load_agent(tmp_path)
    assert agent.name == algorithm
    assert agent.observation == PRESETS[algorithm].observation
    assert read_card(tmp_path) == Plan(tmp_path, "stable", algorithm=algorithm).card()
    columns = read_card(tmp_path).columns
    rows = np.random.default_rng(0).normal(size=(64, columns)).astype(np.float32)
    agent.begin(64, np.random.default_rng(0))
    assert np.array_equal(agent.act(rows), greedy(router, rows))


def greedy(router: AnyRouter, rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """What a router does with the first observations of episodes."""
    if isinstance(router, RecurrentNetwork):
        return router.preferences(rows, router.fresh(len(rows)))[0].argmax(axis=1)
    return router.greedy(rows)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, ""),
        ({"load": 2.0}, " --load 2.0"),
        ({"profile": "opt-h100", "load": 2}, " --profile opt-h100 --load 2"),
        ({"load": (1.0, 2.0)}, " --set 'load=[1.0, 2.0]'"),
        ({"profile": OPT}, None),
        ({"window_s": 9.0}, " --set window_s=9.0"),
        ({"shed_expired": False, "window_s": inf}, " --set shed_expired=false --set window_s=inf"),
    ],
)
def test_a_card_says_what_trains_the_router_again(fields: dict[str, object], said: str | None):
    command = Plan(Path("nowhere"), "stable", fields, decisions=8).card().command
    rest = "--seed 0 --timesteps 8"
    if said is not None:
        assert parse(shlex.split(command or "")[1:]).plan().config("train") == configure(
            "stable", **fields, split="train", observation=PRESETS["ddqn"].observation
        )
    assert command == (
        said if said is None else f"llmroute train ddqn --scenario stable{said} {rest}"
    )


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a run directory: it has no config"):
        load_agent(tmp_path)
    written(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS}: is missing"):
        load_agent(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a run card"),
        ("[]", "is not a run card"),
        ("{}", "lacks the entry 'settings'"),
        ({"algorithm": "sarsa"}, "lacks the entry 'sarsa'"),
        ({"settings": {"colour": 1}}, "is not a run card"),
    ],
)
def test_broken_cards_are_refused(tmp_path: Path, content: str | dict, message: str) -> None:
    written(tmp_path)
    path = tmp_path / CARD
    if isinstance(content, dict):
        content = json.dumps(json.loads(path.read_text()) | content)
    path.write_text(content)
    with pytest.raises(CheckpointError, match=message):
        load_agent(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    written(tmp_path)
    network = QNetwork(5, (4,), 3, True, seed=0)
    write_weights(
        tmp_path, guard(network, EnvConfig(), largest_feasible(EnvConfig(), 0.0)).state_dict()
    )
    with pytest.raises(CheckpointError, match=r"got shape \(4,\); accepted: \(64,\)"):
        load_agent(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (EnvConfig(pools=(Pool(4, models=("opt-125m", "opt-1.3b")),)), "models: got"),
        (EnvConfig(profile=ONE_TASK), "tasks: got"),
        (EnvConfig(profile=TURNED), "tasks: got .*; accepted by this router, in this order"),
    ],
)
def test_a_router_is_not_used_where_it_does_not_fit(
    tmp_path: Path, config: EnvConfig, message: str
) -> None:
    written(tmp_path)
    load_agent(tmp_path, configure("overload"))
    with pytest.raises(CheckpointError, match=message):
        load_agent(tmp_path, config)


@pytest.mark.parametrize(
    ("fields", "config"),
    [({}, EnvConfig(profile=TURNED)), ({"profile": "mine.toml"}, EnvConfig(profile=ONE_TASK))],
)
def test_of_an_older_card_the_tasks_are_those_of_its_profile(
    tmp_path: Path, fields: dict[str, str], config: EnvConfig
) -> None:
    written(tmp_path)
    path = tmp_path / CARD
    entries = json.loads(path.read_text()) | {"fields": fields}
    del entries["tasks"], entries["config_sha256"]
    path.write_text(json.dumps(entries))
    load_agent(tmp_path, EnvConfig())
    with pytest.raises(CheckpointError, match="tasks: got" if not fields else "got 13 columns"):
        load_agent(tmp_path, config)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    router = written(tmp_path)
    tensors = {name: tensor.clone() for name, tensor in router.state_dict().items()}
    name = next(iter(dict(router.named_parameters())))
    tensors[name].view(-1)[3] = value
    write_weights(tmp_path, tensors)
    with pytest.raises(CheckpointError, match=f"{name}: got {value}; accepted: finite numbers"):
        load_agent(tmp_path)
