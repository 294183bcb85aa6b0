"""Attention over GPUs: each sees all others, alike in every runtime and whatever their number."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.base import for_agent
from agents.columns import gpu_inputs
from agents.compiled.networks import TIE, evaluate
from agents.compiled.policies import COMPILED, episode_scores
from agents.compiled.threads import device_scores
from agents.heuristics.tuning import run_episodes
from agents.routers.build import compiled_router, guard, q_network
from agents.routers.networks import GuardedPairs, QNetwork
from agents.runs.card import (
    CARD,
    CHECKPOINTS,
    WEIGHTS,
    TrainedRouter,
    load_agent,
    read_card,
    write_card,
    write_weights,
)
from agents.runs.checkpoint import CheckpointError, read_tensors
from agents.runs.plan import Plan
from agents.serving.compiled import CompiledRouter
from agents.serving.export import export
from agents.serving.onnx import OnnxRouter
from agents.serving.ways import ways_to_decide
from agents.settings.own import DoubleDQNSettings, RolloutSettings
from agents.settings.parts import Settings
from agents.training.training import Status, train
from benchmarks.cli import main
from benchmarks.speed.decisions import visited
from llmroute_env import ConfigError, EnvConfig, Pool, configure
from llmroute_env.cuda.memory import Host
from llmroute_env.dynamics.features import GPU_FEATURES

CONFIG = configure("overload", window_s=1.0, action="gpu-model", observation=GPU_FEATURES)
SEEDS = np.arange(4, dtype=np.uint64)
OWN = 12
"""Columns that belong to a GPU: the last ones of its row of inputs."""
ATTENDING = RolloutSettings(hidden=(24, 8), attention=8)


def network(dueling: bool = False, config: EnvConfig = CONFIG, attention: int = 8) -> QNetwork:
    return q_network(config, (24, 8), dueling, seed=3, attention=attention)


def random_rows(config: EnvConfig = CONFIG, count: int = 50) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, config.layout.width)).astype(np.float32)


def by_torch(net: QNetwork, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Up to what is common to all actions."""
    with torch.inference_mode():
        values = net(torch.from_numpy(rows)).numpy()
    return values - values.mean(axis=1, keepdims=True)


def by_numpy(net: QNetwork, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    values = net.preferences(rows)
    return values - values.mean(axis=1, keepdims=True)


def compiled(net: QNetwork, rows: NDArray[np.float32], config: EnvConfig) -> NDArray[np.float32]:
    own, found = compiled_router(net, config).network, []
    for row in rows:
        own.observation[:] = row
        evaluate(own)
        found.append(own.outputs - own.outputs.mean())
    return np.array(found)


def with_gpus(
    rows: NDArray[np.float32], order: list[int], config: EnvConfig = CONFIG
) -> NDArray[np.float32]:
    """Where each GPU is in the state that another one was in."""
    inputs, turned = gpu_inputs(config.layout), rows.copy()
    for gpu, other in enumerate(order):
        turned[:, inputs[gpu, -OWN:]] = rows[:, inputs[other, -OWN:]]
    return turned


@pytest.mark.parametrize("dueling", [False, True])
def test_gpus_that_change_places_change_values(dueling: bool) -> None:
    net, rows, order = network(dueling), random_rows(), [2, 0, 3, 1]
    turned = with_gpus(rows, order)
    for values_of in (by_torch, by_numpy):
        values = values_of(net, rows).reshape(-1, 4, 3)
        after = values_of(net, turned).reshape(-1, 4, 3)
        np.testing.assert_allclose(after, values[:, order], atol=1e-6)
        assert np.abs(values[:, order] - values).max() > 0.01


def test_a_gpu_sees_the_others_only_by_attention() -> None:
    rows = random_rows()
    changed = with_gpus(rows, [0, 1, 2, 2])
    for attention in (0, 8):
        net = network(attention=attention)
        moved = (net.preferences(changed) - net.preferences(rows)).reshape(-1, 4, 3)
        assert np.abs(moved[:, 3]).max() > 0.01
        assert bool(np.abs(moved[:, :3]).max() > 1e-3) == (attention > 0)


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("gpus", [1, 2, 4, 9])
def test_one_network_says_the_same_in_all_forms_of_any_number_of_gpus(
    gpus: int, dueling: bool
) -> None:
    config = replace(CONFIG, pools=(Pool(gpus),))
    made, here = network(dueling), network(dueling, config)
    rows, weights = random_rows(config), made.state_dict()
    here.load_state_dict(weights)
    values = by_torch(here, rows)
    with torch.inference_mode():
        told = made(torch.from_numpy(rows), torch.from_numpy(gpu_inputs(config.layout))).numpy()
    np.testing.assert_array_equal(told - told.mean(axis=1, keepdims=True), values)
    np.testing.assert_allclose(by_numpy(here, rows), values, atol=2e-6)
    np.testing.assert_allclose(compiled(made, rows, config), values, atol=2e-6)


def test_scores_of_any_size_stay_numbers() -> None:
    net = network()
    with torch.no_grad():
        net.attention.projection.weight.mul_(1e4)  # type: ignore[union-attr]
    rows = random_rows()
    values = by_torch(net, rows)
    assert np.isfinite(values).all()
    for found in (by_numpy(net, rows), compiled(net, rows, CONFIG)):
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-4 * np.abs(values).max())


def test_gpus_in_the_same_state_have_the_same_values() -> None:
    net, rows = network(), with_gpus(random_rows(), [0, 1, 0, 1])
    exact = compiled(net, rows, CONFIG).reshape(-1, 4, 3)
    np.testing.assert_array_equal(exact[:, 2:], exact[:, :2])
    for values in (by_torch(net, rows), by_numpy(net, rows)):
        twins = values.reshape(-1, 4, 3)
        assert np.abs(twins[:, 2:] - twins[:, :2]).max() < TIE / 4
    assert (net.greedy(rows) < 6).all(), "the first of those that tie is taken"


class Greedy:
    """A router as an agent."""

    name, observation, action = "router", GPU_FEATURES, "gpu-model"

    def __init__(self, router: GuardedPairs) -> None:
        self.router = router

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """It remembers nothing."""

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """As the router does."""
        return self.router.greedy(observations)


@pytest.mark.parametrize("caution", [0.0, 0.1, np.inf])
def test_whole_episodes_are_the_same_compiled_and_not(caution: float) -> None:
    config = replace(CONFIG, pools=(Pool(2), Pool(1, models=("opt-125m",))))
    heuristic = COMPILED["priced-pair"](config, 0.02)
    router = guard(network(config=config), config, heuristic, 3)
    router.caution.fill_(caution)
    scores = episode_scores(compiled_router(router, config), config, SEEDS)
    assert np.allclose(scores, run_episodes(Greedy(router), config, SEEDS))  # type: ignore[arg-type]
    assert np.array_equal(scores, episode_scores(heuristic, config, SEEDS)) == np.isinf(caution)


def written(folder: Path) -> TrainedRouter:
    """A router with random weights, loaded from its run directory; its network decides."""
    plan = Plan(folder, "unpredictable-1", algorithm="rollout-pi", settings=ATTENDING)
    config = plan.config("test")
    router = guard(network(config=config), config, COMPILED["priced-pair"](config, 0.02), 3)
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
    expected = by_torch(agent.network.network, rows)
    centred = values - values.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(centred, expected, rtol=1e-4, atol=1e-5)
    # A comparison may hang on rounding; no more than a few do.
    assert (found == actions).mean() > 0.99
    assert (CompiledRouter(agent, config).act(rows) == actions).mean() > 0.99
    for way, decide in ways_to_decide(agent, config).items():
        assert np.mean([decide(row) for row in rows[:200]] == actions[:200]) > 0.99, way


def least_loaded_error(attention: int, steps: int = 400) -> float:
    """Mean squared error of what is learned of "is this GPU the least loaded?", 3/16 at first."""
    net, rng = network(attention=attention), np.random.default_rng(1)
    load = gpu_inputs(CONFIG.layout)[:, -OWN]
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=1e-2), []
    for _ in range(steps):
        rows = torch.zeros(256, CONFIG.layout.width)
        rows[:, load] = torch.from_numpy(rng.uniform(size=(256, 4))).float()
        wanted = (rows[:, load] == rows[:, load].amin(dim=1, keepdim=True)).float()
        loss = (net(rows).reshape(256, 4, 3) - wanted[:, :, None]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[-50:]))


def test_what_needs_the_other_gpus_is_learned() -> None:
    # A GPU that sees only its own load u knows that it is the least of 4 with p = (1 - u)^3: what
    # is left is the mean of p (1 - p).
    alone = 1 / 4 - 1 / 7
    blind, seeing = least_loaded_error(0), least_loaded_error(16)
    assert alone * 0.95 < blind < alone * 1.1
    assert seeing < alone / 4


def test_without_attention_a_network_is_what_it_was() -> None:
    plain, seeing = network(attention=0), network()
    assert [name for name, _ in plain.named_parameters()] == [
        f"body.{layer}.{part}" for layer in (0, 2, 4) for part in ("weight", "bias")
    ]
    for own, other in zip(plain.body.parameters(), seeing.body.parameters(), strict=True):
        assert torch.equal(own, other)


def tiny(directory: Path, algorithm: str) -> Plan:
    common = {"hidden": (8,), "attention": 4, "validation_episodes": 2, "validations": 2}
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
        fields={"window_s": 1.0},
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
    config = for_agent(CONFIG, agent)
    with pytest.raises(ConfigError, match="attention: got 8; accepted: 0 on a device"):
        device_scores(agent.compiled(config), config, SEEDS, Host())
