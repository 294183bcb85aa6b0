"""Routers where users differ: they read the class, know its weight, and learn what it is worth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.base import for_agent
from agents.columns import utilities
from agents.compiled.making import COMPILED
from agents.compiled.policies import episode_scores
from agents.heuristics import table as controls
from agents.heuristics.pairs import PricedPair
from agents.heuristics.tuning import run_episodes
from agents.learners.double_dqn import mean_peak
from agents.loading import load_trained
from agents.runs.card import CARD
from agents.runs.checkpoint import CheckpointError
from agents.runs.plan import Plan
from agents.runs.trained import load_agent
from agents.settings.own import DoubleDQNSettings
from agents.settings.presets import PRESETS
from agents.training.training import train
from benchmarks.bounds.upper import bound, bound_of_peak, episodes, peak
from benchmarks.evaluation.runner import run_compiled, run_stepwise
from benchmarks.suites.entries.every import ENTRIES
from llmroute_env import ConfigError, Deadline, RequestClass, configure
from llmroute_env.dynamics.features import PAIR_FEATURES
from llmroute_env.simulation.episodes import episode_seeds
from llmroute_env.simulation.simulation import Simulation

CONFIG = configure("priority", split="test", window_s=2.0)
SEEDS = np.arange(6, dtype=np.uint64)


@pytest.mark.parametrize("name", ["priced-pair", "steep-pair", "route-balance", "largest-feasible"])
def test_heuristics_read_the_class(name: str):
    agent = controls.make(name, CONFIG)
    assert agent.observation[-1] == "class"
    assert controls.make(name, configure("stable")).observation[-1] != "class"


@pytest.mark.parametrize("name", ["priced-pair", "steep-pair"])
def test_compiled_heuristics_weigh_alike(name: str):
    agent = controls.make(name, CONFIG, 0.03)
    own = for_agent(CONFIG, agent)
    compiled = episode_scores(COMPILED[name](own, 0.03), own, SEEDS)
    np.testing.assert_array_equal(compiled, run_episodes(agent, CONFIG, SEEDS))


def test_a_weight_makes_gpu_time_worth_its_price():
    pairs = PricedPair("priced-pair", CONFIG, price=0.2)
    slack, work = np.full((4, 3), 0.9), np.tile([0.7, 2.0, 5.6], (4, 1))
    rows = np.array(
        [
            [1, 0, 0, 0, np.log1p(1.0), *slack.ravel(), *work.ravel(), *of_class]
            for of_class in ((1, 0), (0, 1))
        ],
        np.float32,
    )
    standard, priority = pairs.act(rows) % 3
    assert (standard, priority) == (0, 1)
    heavy = replace(CONFIG, classes=(CONFIG.classes[0], RequestClass("priority", weight=50.0)))
    assert PricedPair("priced-pair", heavy, price=0.2).act(rows)[1] % 3 == 2


def test_believing_the_opposite_costs():
    config, seeds = replace(CONFIG, window_s=10.0), episode_seeds(3, 8)
    opposite = tuple(replace(users, weight=1.0 / users.weight) for users in config.classes)
    own = for_agent(config, controls.make("steep-pair", config))
    knows, errs = (
        episode_scores(COMPILED["steep-pair"](replace(own, classes=known), 0.03), own, seeds)
        for known in (config.classes, opposite)
    )
    assert (knows - errs).mean() > 0.005


def test_routers_that_lack_the_class_are_refused():
    with pytest.raises(ConfigError, match=r"observation: got .* class among them"):
        COMPILED["priced-pair"](replace(CONFIG, observation=PAIR_FEATURES), 0.02)


def test_rewards_are_centred_by_the_mean_weight():
    largest = np.mean(CONFIG.largest_model.accuracy)
    assert mean_peak(CONFIG) == pytest.approx(largest * (0.9 + 0.1 * 5.0))
    assert mean_peak(configure("stable")) == float(largest)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over pairs that has hardly learned, with a guard."""
    directory = tmp_path_factory.mktemp("classes") / "run"
    settings = replace(
        PRESETS["ddqn-pairs"], envs=4, batch_size=64, cautions=(0.0,), validation_episodes=2,
        validations=1, validation_window_s=1.0, warmup_decisions=64,
    )  # fmt: skip
    assert isinstance(settings, DoubleDQNSettings)
    short = {"window_s": 0.5}
    plan = Plan(directory, "priority", short, 1, decisions=4096, algorithm="ddqn-pairs")
    train(replace(plan, settings=settings), shows_progress=False)
    return directory


def test_a_learned_router_reads_the_class_and_runs_compiled(trained: Path):
    agent = load_trained(str(trained), CONFIG)
    assert agent.observation[-1] == "class"
    assert agent.card.classes == ("standard", "priority")
    fast, slow = (Simulation(for_agent(CONFIG, agent), len(SEEDS)) for _ in range(2))
    for simulation in (fast, slow):
        simulation.begin(SEEDS)
    agent.begin(len(SEEDS), np.random.default_rng(0))
    run_compiled(agent, fast)
    run_stepwise(agent, slow)
    np.testing.assert_array_equal(fast.state.envs["utility"], slow.state.envs["utility"])


def test_a_router_believes_the_weights_that_it_was_trained_with(trained: Path):
    other = replace(CONFIG, classes=(CONFIG.classes[0], RequestClass("priority", weight=99.0)))
    agent = load_trained(str(trained), other)
    policy = agent.compiled(for_agent(other, agent))
    np.testing.assert_array_equal(policy.utility, utilities(CONFIG))


def test_a_router_for_other_classes_is_refused(trained: Path):
    with pytest.raises(CheckpointError, match="classes: got"):
        load_agent(trained, configure("stable"))
    renamed = tuple(replace(users, name=f"{users.name}s") for users in CONFIG.classes)
    with pytest.raises(CheckpointError, match="classes: got"):
        load_agent(trained, replace(CONFIG, classes=renamed, class_mix={}))


def test_cards_from_before_there_were_classes_are_read(trained: Path, tmp_path: Path):
    card = json.loads((trained / CARD).read_text())
    assert card["classes"] == ["standard", "priority"]
    shipped = load_trained("pretrained:soft")
    assert shipped.card.classes == ()


def test_the_bound_weighs_and_knows_every_deadline():
    for seed in (1, 2):
        (instance,) = episodes(CONFIG, np.array([seed], np.uint64))
        simulation = Simulation(CONFIG)
        simulation.begin(np.array([seed], np.uint64))
        while not simulation.outputs.terminated.all():
            simulation.step(np.array([1]))
        assert peak(instance) == pytest.approx(simulation.state.envs["peak_utility"][0])
    seeds = episode_seeds(0, 6)
    most = bound_of_peak(CONFIG, seeds)
    for name in ("steep-pair", "largest-feasible", "opt-125m"):
        scores = run_episodes(controls.make(name, CONFIG), CONFIG, seeds)
        assert (scores <= most + 1e-9).all()
    assert (most < 1.0).any()


def test_a_longer_deadline_for_some_users_raises_the_bound():
    busy = replace(CONFIG, load=12.0, window_s=0.5)
    strict, loose = (
        replace(busy, classes=(busy.classes[0], RequestClass("priority", 5.0, deadline)))
        for deadline in (Deadline(0.06), Deadline(0.4, "linear", grace_s=0.4))
    )
    found = [bound(episodes(c, SEEDS[:1])[0], 10) for c in (strict, busy, loose)]
    assert found[0] < found[1] < found[2]


def test_wrong_weights_are_believed_and_true_ones_count():
    entry = ENTRIES["priority-weight-25"]
    believed = ENTRIES[entry.tuned_on].config("test")
    assert entry.config("test").classes[1].weight == 5.0
    assert believed.classes[1].weight == 25.0
    assert entry.trained_on == entry.tuned_on
