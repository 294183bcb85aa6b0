"""Exported and compiled routers decide as the trained ones do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from agents.base import for_agent
from agents.checkpoint import CheckpointError
from agents.compiled_decisions import CompiledRouter
from agents.decisions import ways_to_decide
from agents.export import export
from agents.heuristics import largest_first, most_feasible
from agents.loading import load, load_trained
from agents.networks import GuardedNetwork, GuardedPairs, QNetwork, Router
from agents.onnx_router import OnnxRouter
from agents.plan import Plan
from agents.routers import guard, q_network
from agents.run_directory import TrainedRouter, make_router
from benchmarks.cli import main
from benchmarks.decision_time import visited
from llmroute_env import ConfigError, EnvConfig, Pool, configure

OBSERVATIONS = 10_000
CONFIG = configure("unpredictable-1", split="test")


def untrained(algorithm: str, folder: Path) -> TrainedRouter:
    """A router with random weights; a guarded one is as cautious as a trained one may be."""
    card = Plan(folder, "unpredictable-1", algorithm=algorithm).card()
    router = make_router(card)
    if isinstance(router, GuardedNetwork):
        network = QNetwork(card.columns, (64, 64), card.actions, router.network.dueling, seed=1)
        router = guard(network, CONFIG, 0.3)
        router.caution.fill_(0.05)
    if isinstance(router, GuardedPairs):
        config = replace(CONFIG, observation=card.settings.observation, action="gpu-model")
        router = guard(q_network(config, (64, 64), seed=1), config, 0.02)
        router.caution.fill_(0.05)
    return TrainedRouter(card, router)


def values_of(router: Router, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What torch computes."""
    network = router if isinstance(router, QNetwork) else router.network
    with torch.inference_mode():
        return network(torch.from_numpy(rows)).numpy()


def assert_same(
    actions: NDArray[np.int64],
    expected: NDArray[np.int64],
    values: NDArray[np.float32],
    message: str = "",
) -> None:
    """Alike but where GPUs in the same state make two pairs as good, up to rounding."""
    rows = np.flatnonzero(actions != expected)
    gap = np.abs(values[rows, actions[rows]] - values[rows, expected[rows]])
    assert len(rows) <= len(actions) / 20, message
    assert (gap < 1e-5).all(), message


@pytest.mark.parametrize("algorithm", ["pretrained", "rollout-pi", "ddqn", "ddqn-paper", "sb3-dqn"])
def test_same_decisions_on_the_way_of_the_router(tmp_path: Path, algorithm: str):
    trained = algorithm == "pretrained"
    agent = load_trained("pretrained:unpredictable") if trained else untrained(algorithm, tmp_path)
    rows = visited(agent, CONFIG, OBSERVATIONS)
    assert len(np.unique(rows, axis=0)) > OBSERVATIONS / 2
    expected = agent.act(rows)
    export(agent, tmp_path / "router.onnx")
    runtime = OnnxRouter(tmp_path / "router.onnx")
    actions, values = runtime.session.run(["actions", "values"], {"observations": rows})
    assert_same(actions, expected, values)
    np.testing.assert_allclose(values, values_of(agent.network, rows), rtol=1e-4, atol=1e-4)
    config = for_agent(CONFIG, agent)
    assert_same(CompiledRouter(agent, config).act(rows), expected, values)
    if trained:
        best = values_of(agent.network, rows).argmax(axis=1)
        assert 0 < (expected != best).mean() < 0.9, "neither guard nor network alone decides"
    for way, decide in ways_to_decide(agent, config).items():
        found = np.array([decide(row) for row in rows[:200]])
        assert_same(found, expected[:200], values[:200], way)


def test_the_guard_is_in_the_file(tmp_path: Path):
    agent = untrained("ddqn", tmp_path)
    assert isinstance(agent.network, GuardedNetwork)
    rows = visited(agent, configure("overload"), 4000)
    order, first = np.array(largest_first(CONFIG)), int(agent.network.slack)
    usual = most_feasible(rows[:, first : first + 3], np.float32(0.3), order)
    best = values_of(agent.network, rows).argmax(axis=1)
    for caution, expected in ((np.inf, usual), (0.0, best)):
        agent.network.caution.fill_(caution)
        export(agent, tmp_path / "router.onnx")
        np.testing.assert_array_equal(OnnxRouter(tmp_path / "router.onnx").act(rows), expected)
    assert (usual != best).any()
    assert len(np.unique(usual)) > 1


def test_the_file_says_what_it_is(tmp_path: Path):
    agent = load_trained("pretrained:unpredictable")
    export(agent, tmp_path / "new" / "router.onnx")
    model = onnx.load(tmp_path / "new" / "router.onnx")
    written = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(written["observation"]) == list(agent.observation)
    assert json.loads(written["models"]) == list(agent.card.models)
    assert written["scenario"] == "unpredictable-1"
    assert written["command"] == agent.card.command


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "router.onnx"
    assert main(["export", "pretrained:unpredictable", "--out", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["bytes"] == path.stat().st_size
    rows = []
    for name in (str(path), "pretrained:unpredictable"):
        assert main(["evaluate", name, "--episodes", "2", "--json"]) == 0
        rows.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
        del rows[-1]["agent"]
    assert rows[0] == rows[1]


REFUSED = {
    "suffix": (["pretrained:unpredictable", "--out", "x.pt"], "out: got 'x.pt'; accepted: a name"),
    "heuristic": (["largest-feasible"], "got 'largest-feasible'; accepted: a trained router: "),
    "shipped": (["pretrained:nix"], "a run directory, or one of pretrained:azure-code, "),
    "unknown": (["nix"], "agent: got 'nix'; accepted: a trained router"),
    "directory": (["tests"], "tests: is not a run directory"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exported(
    case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(Path(__file__).parents[2])
    arguments, message = REFUSED[case]
    assert main(["export", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_files_that_are_no_routers_are_refused(tmp_path: Path):
    path = tmp_path / "router.onnx"
    with pytest.raises(CheckpointError, match=r"router\.onnx: is missing"):
        load(str(path), CONFIG)
    export(untrained("ddqn-paper", tmp_path), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="is not a readable ONNX model"):
        load(str(path), CONFIG)
    model = onnx.load_model_from_string(content)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(CheckpointError, match="is not an exported router: lacks"):
        load(str(path), CONFIG)


def test_an_exported_router_is_not_used_where_it_does_not_fit(tmp_path: Path):
    config = EnvConfig(pools=(Pool(4, ("opt-125m",)),))
    export(untrained("ddqn", tmp_path), tmp_path / "router.onnx")
    with pytest.raises(CheckpointError, match="models, actions, columns: got"):
        load(str(tmp_path / "router.onnx"), config)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(Exception, match=r"accepted: after `pip install 'llmroute\[export\]'`"):
        export(untrained("ddqn", tmp_path), tmp_path / "router.onnx")
    with pytest.raises(ConfigError, match="out: got"):
        export(untrained("ddqn", tmp_path), tmp_path / "router")
