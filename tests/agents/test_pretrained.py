"""The routers that the package ships: small, reproducible, and better than the heuristic."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.base import for_agent
from agents.compiled.policies import episode_scores
from agents.heuristics import models as heuristics
from agents.heuristics.tuning import STRONGEST, best_tuned, heuristic_scores, run_episodes
from agents.loading import SHIPPED, load, load_trained, run_of, shipped
from agents.routers.build import compiled_router
from agents.runs.card import CARD, WEIGHTS
from agents.runs.trained import load_agent
from agents.serving.export import export
from agents.settings.families import configurations
from agents.settings.presets import PRESETS, SETTINGS
from benchmarks.cli import main, parse
from benchmarks.commands.train import Train
from benchmarks.evaluation.runner import run_compiled, run_stepwise
from benchmarks.shipping import pretrained
from benchmarks.suites import bench
from llmroute_env import ConfigError, EnvConfig, configure
from llmroute_env.simulation.episodes import episode_seeds
from llmroute_env.simulation.simulation import Simulation

MOST_BYTES = 5_000_000
EPISODES = 8
LEAST = 0.003
"""Utility of peak that so few episodes cannot tell apart."""
LEAST_IN_A_FAMILY = 0.01
"""What one router for everything may lose to a heuristic that is tuned to the environment."""


@pytest.mark.parametrize("name", shipped())
def test_the_card_holds_the_command_that_trains_it(name: str):
    card = load_trained(name).card
    written = json.loads((run_of(name) / CARD).read_text())["command"]
    command = parse(shlex.split(written)[1:])
    assert isinstance(command, Train)
    assert written.startswith("llmroute train ")
    assert command.plan().card() == card


RECIPE = "pretrained:paper"
"""The paper's own recipe, which has no heuristic to begin with."""


FAMILIAR = "pretrained:unpredictable"
"""The one that most users try; the others take half a minute together."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == FAMILIAR else pytest.mark.verify)
        for name in shipped()
        if name != RECIPE
    ],
)
def test_shipped_routers_beat_a_tuned_heuristic(name: str):
    agent = load_trained(name)
    seeds = episode_seeds(11, EPISODES)
    configs = configurations(agent.card.scenario, {"split": "test"})
    is_alone = len(configs) == 1
    for config in configs[::4]:
        own = for_agent(config, agent)
        learned = episode_scores(compiled_router(agent.network, own), own, seeds)
        over_models, other = (
            best_tuned(names, config, episodes=12) for names in (STRONGEST[:1], STRONGEST[1:])
        )
        best = max(over_models, other, key=lambda tuned: tuned.score)
        gains = [
            np.mean(learned - heuristic_scores(tuned.name, config, tuned.setting, seeds))
            for tuned in (over_models, best)
        ]
        assert gains[0] > 0
        assert gains[1] > -(LEAST if is_alone else LEAST_IN_A_FAMILY), "below its own heuristic"


def test_the_papers_recipe_beats_every_model_alone_in_the_papers_setting():
    agent = load_trained(RECIPE)
    assert agent.columns == 8, "one-hot task, requests of each model, arrival rate"
    config = configure("paper", split="test")
    own, seeds = for_agent(config, agent), episode_seeds(11, EPISODES)
    learned = episode_scores(compiled_router(agent.network, own), own, seeds)
    for model in config.model_names:
        alone = run_episodes(heuristics.make(model, config), config, seeds)
        assert np.mean(learned - alone) > 0.05, model


def test_every_one_that_can_be_trained_again_is_shipped_and_nothing_else():
    assert shipped() == tuple(sorted(f"pretrained:{name}" for name in pretrained.RECIPES))
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {CARD, WEIGHTS}
    assert sum(path.stat().st_size for path in files) < MOST_BYTES


def test_they_are_trained_again_by_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    quick = replace(SETTINGS["ddqn-paper"], validations=1, validation_episodes=2)
    monkeypatch.setitem(SETTINGS, "ddqn-paper", quick)
    monkeypatch.setattr(pretrained, "RECIPES", {"calm": pretrained.Recipe("stable", "ddqn-paper")})
    pretrained.retrain("calm", tmp_path, timesteps=1500)
    assert load_agent(tmp_path / "calm").card.scenario == "stable"
    assert {path.name for path in (tmp_path / "calm").iterdir()} == {CARD, WEIGHTS}
    with pytest.raises(ConfigError, match="name: got 'nix'; accepted: calm"):
        pretrained.retrain("nix", tmp_path)


def test_the_suites_take_them(tmp_path: Path):
    bench.adopt([Path("pretrained:unpredictable")], tmp_path)
    copied = tmp_path / "given" / "pretrained-unpredictable" / WEIGHTS
    assert copied.read_bytes() == (SHIPPED / "unpredictable" / WEIGHTS).read_bytes()


@pytest.mark.parametrize("command", ["record", "timeline"])
def test_episodes_take_them(command: str, tmp_path: Path):
    out = tmp_path / "out.json"
    arguments = ["pretrained:unpredictable", "--steps", "50", "--out", str(out)]
    assert main([command, *arguments]) == 0
    assert out.stat().st_size > 1000


def test_an_unknown_name_lists_them():
    with pytest.raises(ConfigError) as refusal:
        load("pretrained:nix", configure("stable"))
    assert str(refusal.value).endswith("a run directory, or one of " + ", ".join(shipped()))


DOCUMENT = (Path(__file__).parents[2] / "docs" / "learners.md").read_text()


def test_the_document_names_them_all():
    rows = re.findall(r"^\| `(pretrained:[^`]+)` \| `([^`]+)` \|$", DOCUMENT, re.MULTILINE)
    assert dict(rows) == {f"pretrained:{n}": r.scenario for n, r in pretrained.RECIPES.items()}
    assert all(f"`{algorithm}`" in DOCUMENT for algorithm in PRESETS)


def test_the_program_in_the_document_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    export(load_trained("pretrained:unpredictable"), Path("router.onnx"))
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    exec(compile(program, "learners.md", "exec"), {})
    assert capsys.readouterr().out.strip() in EnvConfig().model_names


@pytest.mark.parametrize("name", ["pretrained:soft", "pretrained:generalist"])
def test_whole_episodes_run_compiled_as_decision_by_decision(name: str):
    config = configure("soft", split="test", window_s=1.0)
    agent = load_trained(name, config)
    seeds = episode_seeds(5, 3)
    fast, slow = (Simulation(for_agent(config, agent), len(seeds)) for _ in range(2))
    for simulation in (fast, slow):
        simulation.begin(seeds)
    agent.begin(len(seeds), np.random.default_rng(0))
    (mine, _), theirs = run_compiled(agent, fast), run_stepwise(agent, slow)
    for e in range(len(seeds)):
        np.testing.assert_array_equal(mine[mine["env"] == e], theirs[theirs["env"] == e])
    np.testing.assert_array_equal(fast.state.envs["utility"], slow.state.envs["utility"])
