"""Routers whose GPUs see each other: served, resumed, described by cards, and refused."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.base import for_agent
from agents.compiled.making import COMPILED
from agents.compiled.threads import device_scores
from agents.routers.build import guard, q_network
from agents.routers.networks import GuardedPairs
from agents.runs.card import CARD, CHECKPOINTS, WEIGHTS, read_card, write_card, write_weights
from agents.runs.checkpoint import CheckpointError, read_tensors
from agents.runs.plan import Plan
from agents.runs.trained import TrainedRouter, load_agent
from agents.serving.compiled import CompiledRouter
from agents.serving.export import export
from agents.serving.onnx import OnnxRouter
from agents.serving.ways import ways_to_decide
from agents.settings.own import DoubleDQNSettings, RolloutSettings
from agents.settings.parts import Settings
from agents.training.training import Status, train
from benchmarks.cli import main
from benchmarks.speed.decisions import visited
from llmroute_env import ConfigError, Pool, configure
from llmroute_env.cuda.memory import Host
from llmroute_env.dynamics.features import GPU_FEATURES

ATTENDING = RolloutSettings(hidden=(24, 8), attention=8)


def written(folder: Path) -> TrainedRouter:
    """A router with random weights, loaded from its run directory; its network decides."""
    plan = Plan(folder, "unpredictable-1", algorithm="rollout-pi", settings=ATTENDING)
    config = plan.config("test")
    network = q_network(config, (24, 8), seed=3, attention=8)
    generator = torch.Generator().manual_seed(3)
    for parameter in network.attention.parameters():  # type: ignore[union-attr]
        # As weights begin, what others do decides nothing.
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    router = guard(network, config, COMPILED["priced-pair"](config, 0.02), 3)
    router.caution.fill_(0.02)
    write_card(folder, plan.card())
    write_weights(folder, router.state_dict())
    found = load_agent(folder)
    assert isinstance(found, TrainedRouter)
    return found


@pytest.mark.parametrize("gpus", [4, 8])
def test_all_ways_to_serve_decide_alike(tmp_path: Path, gpus: int) -> None:
    written(tmp_path / "run")
    config = configure("unpredictable-1", split="test", pools=(Pool(gpus),))
    agent = load_agent(tmp_path / "run", config)
    assert isinstance(agent, TrainedRouter)
    rows = visited(agent, config, 2000)
    assert len(np.unique(rows, axis=0)) > 1000
    actions = agent.act(rows)
    assert isinstance(agent.network, GuardedPairs)
    assert 0 < (actions != agent.network.usual(rows)).mean() < 1
    export(agent, tmp_path / "router.onnx")
    session = OnnxRouter(tmp_path / "router.onnx").session
    found, values = session.run(["actions", "values"], {"observations": rows})
    with torch.inference_mode():
        expected = agent.network.network(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    # A comparison may hang on rounding; no more than a few do.
    assert (found == actions).mean() > 0.998
    assert (CompiledRouter(agent, config).act(rows) == actions).mean() > 0.998
    for way, decide in ways_to_decide(agent, config).items():
        assert np.mean([decide(row) for row in rows[:200]] == actions[:200]) > 0.98, way


def tiny(directory: Path, algorithm: str) -> Plan:
    common = {"hidden": (8,), "attention": 4, "validation_episodes": 2, "validations": 2}
    common["cautions"] = (0.0, 0.4)
    settings: dict[str, Settings] = {
        "rollout-pi": RolloutSettings(
            envs=4, states_per_round=16, batch_size=32, capacity=500, **common
        ),
        "ddqn-pairs": DoubleDQNSettings(
            action="gpu-model",
            observation=GPU_FEATURES,
            envs=4,
            collect_steps=16,
            warmup_decisions=64,
            batch_size=32,
            n_step=4,
            **common,
        ),
    }
    budget = {"rollout-pi": 300_000, "ddqn-pairs": 1024}
    return Plan(
        directory,
        fields={"window_s": 0.25},
        decisions=budget[algorithm],
        algorithm=algorithm,
        settings=settings[algorithm],
    )


@pytest.mark.parametrize(
    "algorithm", ["ddqn-pairs", pytest.param("rollout-pi", marks=pytest.mark.verify)]
)
def test_stopped_and_resumed_ends_with_the_same_weights(tmp_path: Path, algorithm: str) -> None:
    def interrupt(status: Status) -> None:
        if status.decisions >= tiny(tmp_path, algorithm).budget // 3:
            os.kill(os.getpid(), signal.SIGINT)

    cut, whole = (tiny(tmp_path / name, algorithm) for name in ("cut", "whole"))
    assert train(cut, shows_progress=False, callback=interrupt).interrupted
    train(cut, resume=True, shows_progress=False)
    train(whole, shows_progress=False)
    ends = [max((p.directory / CHECKPOINTS).iterdir()) for p in (cut, whole)]
    mine, theirs = (read_tensors(end / "tensors.safetensors") for end in ends)
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name]), name
    assert (cut.directory / WEIGHTS).read_bytes() == (whole.directory / WEIGHTS).read_bytes()
    names = [n for n in mine if n.endswith("attention.projection.weight")]
    (average,) = (n for n in names if n.startswith("average."))
    (learned,) = (n for n in names if n.startswith(("online.", "network.")))
    assert not torch.equal(mine[average], mine[learned]), "attention learns, and is followed"


def test_cards_say_it_where_there_is_some(tmp_path: Path) -> None:
    agent = written(tmp_path)
    assert agent.card == read_card(tmp_path)
    assert agent.card.settings.attention == 8
    command = agent.card.command
    assert command is not None
    assert "--hyper 'hidden=[24, 8]' attention=8 --seed" in command
    said = json.loads((tmp_path / CARD).read_text())
    assert list(said["settings"])[3:5] == ["hidden", "attention"]
    said["settings"]["attention"] = 4
    (tmp_path / CARD).write_text(json.dumps(said))
    with pytest.raises(CheckpointError, match=r"attention.joining.weight: got shape \(24, 8\)"):
        load_agent(tmp_path)
    del said["settings"]["attention"]
    (tmp_path / CARD).write_text(json.dumps(said))
    with pytest.raises(CheckpointError, match=r"attention.joining.*; accepted: None"):
        load_agent(tmp_path)
    assert "attention" not in RolloutSettings().to_json()


REFUSED = {
    "over models": (["ddqn", "attention=8"], "attention: got 8; accepted: 0 where action is 'mod"),
    "negative": (["rollout-pi", "attention=-1"], "attention: got -1; accepted: >= 0"),
    "no layer": (["ddqn-pairs", "attention=8", "hidden=[]"], "accepted: 0 without a hidden layer"),
    "no number": (["rollout-pi", "attention=0.5"], "attention: got 0.5; accepted: an integer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_attend_is_refused(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (algorithm, *changes), message = REFUSED[case]
    words = ["train", algorithm, "--hyper", *changes, "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_devices_refuse_it(tmp_path: Path) -> None:
    agent = written(tmp_path)
    config = for_agent(configure("unpredictable-1", window_s=1.0), agent)
    with pytest.raises(ConfigError, match="attention: got 8; accepted: 0 on a device"):
        device_scores(agent.compiled(config), config, np.arange(2, dtype=np.uint64), Host())
