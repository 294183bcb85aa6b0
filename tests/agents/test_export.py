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

from agents.compiled.making import COMPILED
from agents.compiled.rules import leave_out_of_rows
from agents.loading import load, load_trained
from agents.routers.build import guard, q_network
from agents.routers.networks import Guarded, GuardedPairs, QNetwork, Router
from agents.runs.card import write_card, write_weights
from agents.runs.checkpoint import CheckpointError
from agents.runs.plan import Plan
from agents.runs.trained import TrainedRouter, load_agent, make_router
from agents.serving.compiled import CompiledRouter
from agents.serving.export import export
from agents.serving.onnx import OnnxRouter
from agents.serving.ways import ways_to_decide
from agents.settings.own import RolloutSettings
from benchmarks.cli import main
from benchmarks.speed.decisions import visited
from llmroute_env import ConfigError, EnvConfig, Pool, configure, profiles
from llmroute_env.simulation.simulation import Simulation

OBSERVATIONS = 5_000
CONFIG = configure("unpredictable-1", split="test")
GUARDS = {
    "gpu-model": ("priced-pair", 0.02),
    "model": ("largest-feasible", 0.3),
    "generalist": ("steep-pair", 0.02),
}
"""The heuristic that guards a router and its setting, by its name or what it decides."""


def untrained(algorithm: str, folder: Path) -> TrainedRouter:
    """A router with random weights; a guarded one is as cautious as a trained one may be."""
    plan = Plan(folder, "unpredictable-1", algorithm=algorithm)
    config, router = plan.config("test"), make_router(plan.card())
    if isinstance(router, Guarded):
        network = q_network(config, plan.resolved_settings.hidden, router.network.dueling, seed=1)
        tries = getattr(plan.resolved_settings, "tries", 0)
        name, setting = GUARDS.get(algorithm, GUARDS[config.action])
        router = guard(network, config, COMPILED[name](config, setting), tries)
        router.caution.fill_(0.05)
        router.busiest.fill_(1.5)
    return TrainedRouter(plan.card(), router)


def values_of(router: Router, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What torch computes."""
    network = router if isinstance(router, QNetwork) else router.network
    with torch.inference_mode():
        return network(torch.from_numpy(rows)).numpy()


ROUNDING = 1e-6
"""By which values differ between runtimes."""


def decided(router: Guarded, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows in which no comparison with the width of a tie hangs on rounding: almost all."""
    values, network = values_of(router, rows), router.network
    if network.tie == 0.0:
        return rows
    assert isinstance(router, GuardedPairs)
    if router.tries > 0:
        leave_out_of_rows(values, router.choose(rows)[1], router.tries)
    number = np.arange(len(rows))
    largest = values.max(axis=1, keepdims=True)
    gain = values[number, network.best(values)] - values[number, router.usual(rows)]
    hangs = np.abs(values - (largest - network.tie)).min(axis=1) < ROUNDING
    for caution in (0.0, float(router.caution)):
        hangs |= np.abs(gain - caution - network.tie) < ROUNDING
    assert hangs.mean() < 0.03
    kept: NDArray[np.float32] = rows[~hangs]
    return kept


LEARNED = ["rollout-pi", "rollout-pi-model", "generalist", "ddqn", "ddqn-paper", "sb3-dqn"]


@pytest.mark.parametrize("algorithm", ["pretrained", *LEARNED])
def test_same_decisions_on_the_way_of_the_router(tmp_path: Path, algorithm: str):
    trained = algorithm == "pretrained"
    agent = load_trained("pretrained:unpredictable") if trained else untrained(algorithm, tmp_path)
    if isinstance(agent.network, Guarded):
        agent.network.caution.fill_(0.05)
    rows = visited(agent, CONFIG, OBSERVATIONS)
    if isinstance(agent.network, Guarded):
        rows = decided(agent.network, rows)
    assert len(np.unique(rows, axis=0)) > OBSERVATIONS / 2
    expected = agent.act(rows)
    export(agent, tmp_path / "router.onnx")
    runtime = OnnxRouter(tmp_path / "router.onnx")
    actions, values = runtime.session.run(["actions", "values"], {"observations": rows})
    np.testing.assert_array_equal(actions, expected)
    np.testing.assert_allclose(values, values_of(agent.network, rows), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(CompiledRouter(agent, CONFIG).act(rows), expected)
    if isinstance(agent.network, Guarded):
        overruled = (expected != agent.network.usual(rows)).mean()
        assert 0 < overruled < 1, "the heuristic or the network alone decides"
    for way, decide in ways_to_decide(agent, CONFIG).items():
        assert [decide(row) for row in rows[:200]] == expected[:200].tolist(), way


def test_pairs_that_lead_nowhere_are_never_taken(tmp_path: Path):
    # More pairs may be taken than there are on GPUs of which each has one model.
    apart = {"pools": tuple(Pool(1, (name,)) for name in CONFIG.model_names)}
    settings = replace(RolloutSettings(), tries=9)
    plan = Plan(tmp_path, fields=apart, algorithm="rollout-pi", settings=settings)
    config = plan.config("test")
    router = guard(
        q_network(config, (24, 8), seed=1), config, COMPILED["steep-pair"](config, 0.02), 9
    )
    router.caution.fill_(0.0)
    agent = TrainedRouter(plan.card(), router)
    hosted = Simulation(config).hosted_actions()
    rows = visited(agent, config, 1000)
    actions = agent.act(rows)
    assert hosted[actions].all()
    assert not hosted[router.network.greedy(rows)].all(), "the network alone would"
    export(agent, tmp_path / "router.onnx")
    session = OnnxRouter(tmp_path / "router.onnx").session
    np.testing.assert_array_equal(session.run(["actions"], {"observations": rows})[0], actions)
    np.testing.assert_array_equal(CompiledRouter(agent, config).act(rows), actions)


@pytest.mark.parametrize("algorithm", ["rollout-pi", "ddqn"])
def test_the_guard_is_in_the_file(tmp_path: Path, algorithm: str):
    agent = untrained(algorithm, tmp_path)
    assert isinstance(agent.network, Guarded)
    rows = decided(agent.network, visited(agent, configure("overload"), 4000))
    usual, values = agent.network.usual(rows), values_of(agent.network, rows)
    if isinstance(agent.network, GuardedPairs):
        leave_out_of_rows(values, agent.network.choose(rows)[1], agent.network.tries)
    best = agent.network.network.best(values)
    gain = values[np.arange(len(rows)), best] - values[np.arange(len(rows)), usual]
    anywhere = np.where(gain > agent.network.network.tie, best, usual)
    calm = rows[:, int(agent.network.rate)] <= np.float32(1.5)
    overruled = np.where(calm, anywhere, usual)
    assert 0 < (overruled != usual).sum() < (anywhere != usual).sum()
    for caution, busiest, expected in (
        (np.inf, np.inf, usual),
        (0.0, 1.5, overruled),
        (0.0, np.inf, anywhere),
    ):
        agent.network.caution.fill_(caution)
        agent.network.busiest.fill_(busiest)
        export(agent, tmp_path / "router.onnx")
        np.testing.assert_array_equal(OnnxRouter(tmp_path / "router.onnx").act(rows), expected)
    assert (usual != best).any()
    assert len(np.unique(usual)) > 1


def test_gpus_alike_up_to_rounding_are_alike(tmp_path: Path):
    guarded = untrained("rollout-pi", tmp_path)
    agent = TrainedRouter(guarded.card, guarded.network.network)
    rows = visited(agent, CONFIG, 4000)
    inputs = agent.network.inputs.numpy()
    # Every GPU is in the state of the first but for rounding.
    rows[:, inputs[1:, -12:]] = rows[:, None, inputs[0, -12:]]
    noise = np.random.default_rng(0).uniform(-1e-7, 1e-7, rows.shape).astype(np.float32)
    expected = agent.act(rows)
    assert expected.max() < 3
    np.testing.assert_array_equal(agent.act(rows + noise), expected)
    export(agent, tmp_path / "router.onnx")
    for router in (OnnxRouter(tmp_path / "router.onnx"), CompiledRouter(agent, CONFIG)):
        np.testing.assert_array_equal(router.act(rows + noise), expected)


def test_a_router_over_pairs_is_exported_for_the_gpus_it_was_loaded_for(tmp_path: Path):
    few = untrained("rollout-pi", tmp_path)
    write_card(tmp_path / "run", few.card)
    write_weights(tmp_path / "run", few.network.state_dict())
    config = configure("unpredictable-1", split="test", pools=(Pool(6),))
    agent = load_agent(tmp_path / "run", config)
    export(agent, tmp_path / "router.onnx")
    router = load(str(tmp_path / "router.onnx"), config)
    rows = visited(agent, config, 1000)
    expected = agent.act(rows)
    np.testing.assert_array_equal(router.act(rows), expected)
    np.testing.assert_array_equal(CompiledRouter(agent, config).act(rows), expected)
    model = onnx.load(tmp_path / "router.onnx")
    written = {entry.key: entry.value for entry in model.metadata_props}
    assert (written["action"], written["gpus"], written["actions"]) == ("gpu-model", "6", "18")
    accepted = r"router.onnx: 6, as with pools=\[\{gpus=6\}\]"
    with pytest.raises(CheckpointError, match=f"gpus: got 4; accepted by .*{accepted}"):
        load(str(tmp_path / "router.onnx"), CONFIG)
    one = profiles.load("opt-a100")
    few = configure("stable", profile=replace(one, models=one.models[:2]), pools=(Pool(6),))
    with pytest.raises(CheckpointError, match="models, actions, columns: got"):
        load(str(tmp_path / "router.onnx"), few)


def test_the_file_says_what_it_is(tmp_path: Path):
    agent = load_trained("pretrained:unpredictable")
    export(agent, tmp_path / "new" / "router.onnx")
    model = onnx.load(tmp_path / "new" / "router.onnx")
    written = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(written["observation"]) == list(agent.observation)
    assert json.loads(written["models"]) == list(agent.card.models)
    assert written["scenario"] == "unpredictable-1"
    assert written["action"] == agent.action
    assert written["command"] == agent.card.command


def test_for_as_many_gpus_as_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = str(tmp_path / "router.onnx")
    arguments = ["export", "pretrained:unpredictable", "--out", path, "--gpus"]
    assert main([*arguments, "6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["actions"] == 18
    load(path, configure("stable", pools=(Pool(6),)))
    assert main([*arguments, "0"]) == 2
    assert "got 0" in capsys.readouterr().err


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "router.onnx"
    assert main(["export", "pretrained:unpredictable", "--out", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["bytes"] == path.stat().st_size
    rows = []
    for name in (str(path), "pretrained:unpredictable"):
        assert main(["evaluate", name, "--episodes", "2", "--json", "--set", "window_s=4.0"]) == 0
        rows.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
        del rows[-1]["agent"]
    # A file does not tell the heuristic from the network that overrules it.
    assert rows[1].pop("guard")["overruled"] > 0.0
    assert rows[0] == rows[1]


def test_what_was_exported_for_other_gpus_is_evaluated_on_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, eight = str(tmp_path / "router.onnx"), ("--set", "pools=[{gpus=8}]")
    assert main(["export", "pretrained:generalist", "--out", path, *eight]) == 0
    rows = []
    for name in (path, "pretrained:generalist"):
        words = ["evaluate", name, "--episodes", "1", "--json", *eight, "window_s=2.0"]
        assert main(words) == 0
        rows.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
        del rows[-1]["agent"]
    # A file does not tell the heuristic from the network that overrules it.
    assert rows[1].pop("guard")["overruled"] > 0.0
    assert rows[0] == rows[1]
    assert main(["evaluate", path]) == 2
    assert "gpus: got 4; accepted by" in capsys.readouterr().err


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
    export(untrained("ddqn", tmp_path), tmp_path / "router.onnx")
    load(str(tmp_path / "router.onnx"), EnvConfig(pools=(Pool(8),)))
    with pytest.raises(CheckpointError, match="models, actions, columns: got"):
        load(str(tmp_path / "router.onnx"), EnvConfig(pools=(Pool(4, ("opt-125m",)),)))
    known = profiles.load("opt-a100")
    models = tuple(replace(model, accuracy=model.accuracy[::-1]) for model in known.models)
    turned = replace(known, tasks=known.tasks[::-1], models=models)
    with pytest.raises(CheckpointError, match=r"tasks: got .*, in this order"):
        load(str(tmp_path / "router.onnx"), EnvConfig(profile=turned))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(Exception, match=r"accepted: after `pip install 'llmroute\[export\]'`"):
        export(untrained("ddqn", tmp_path), tmp_path / "router.onnx")
    with pytest.raises(ConfigError, match="out: got"):
        export(untrained("ddqn", tmp_path), tmp_path / "router")
