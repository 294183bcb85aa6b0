"""Routers over (GPU, model) pairs: the heuristic, its compiled twin, the network, the rollouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.base import for_agent
from agents.columns import gpu_inputs
from agents.compiled.making import COMPILED, priced_pair
from agents.compiled.policies import episode_scores
from agents.compiled.rollouts import Trial, try_action, try_pairs
from agents.compiled.rules import NOWHERE, Price, leave_out, price_at
from agents.heuristics import table as controls
from agents.heuristics import tuning
from agents.heuristics.pairs import PricedPair
from agents.heuristics.tuning import best_tuned, run_episodes, setting_scores, validation_score
from agents.routers.build import compiled_router, guard, q_network
from agents.routers.networks import GuardedPairs
from agents.runs.card import write_card, write_weights
from agents.runs.plan import Plan
from agents.runs.trained import load_agent, make_router
from benchmarks.evaluation.runner import evaluate
from llmroute_env import ConfigError, EnvConfig, Pool, configure
from llmroute_env.dynamics.features import GPU_FEATURES, PAIR_FEATURES
from llmroute_env.simulation.simulation import Simulation
from traces.workloads import PoissonArrivals

PAIRS = {"action": "gpu-model", "observation": GPU_FEATURES}
CONFIG = configure("overload", window_s=0.5, **PAIRS)
MIXED = replace(CONFIG, pools=(Pool(2), Pool(1, models=("opt-125m",))))
SEEDS = np.arange(4, dtype=np.uint64)
SMALL, MIDDLE, LARGE = 0, 1, 2


def observed(slack: np.ndarray, work: np.ndarray, load: float = 1.0) -> np.ndarray:
    """One observation of PAIR_FEATURES on 4 GPUs, of a request with the last task."""
    return np.array([[0, 0, 0, 1, np.log1p(load), *slack.ravel(), *work.ravel()]], np.float32)


def choice(price: float, slack: np.ndarray, work: np.ndarray, load: float = 1.0) -> tuple[int, int]:
    agent = PricedPair("priced-pair", CONFIG, price)
    action = int(agent.act(observed(slack, work, load))[0])
    return action // 3, action % 3


def test_the_price_decides_between_accuracy_and_gpu_time() -> None:
    slack, work = np.full((4, 3), 0.8), np.tile([0.7, 2.0, 5.6], (4, 1))
    assert choice(0.0, slack, work)[1] == LARGE
    assert choice(1.0, slack, work)[1] == SMALL
    assert choice(0.01, slack, work)[1] == LARGE
    # A burst makes GPU time dearer.
    assert choice(0.01, slack, work, load=16.0)[1] == MIDDLE


def test_a_waiting_batch_is_joined_and_a_late_pair_avoided() -> None:
    slack, work = np.full((4, 3), 0.8), np.tile([0.7, 2.0, 5.6], (4, 1))
    work[2, LARGE] = 0.6
    assert choice(0.02, slack, work) == (2, LARGE)
    slack[2, LARGE] = -0.1
    assert choice(0.02, slack, work)[0] != 2
    # Alike but for the slack: the GPU with the most.
    slack[:] = 0.6
    slack[3] = 0.7
    assert choice(0.0, slack, work) == (3, LARGE)


@pytest.mark.parametrize("config", [CONFIG, MIXED])
@pytest.mark.parametrize(
    ("name", "price"), [("priced-pair", 0.0), ("priced-pair", 0.02), ("steep-pair", 0.02)]
)
def test_compiled_heuristic_is_the_python_one(config: EnvConfig, name: str, price: float) -> None:
    agent, compiled = controls.make(name, config, price), COMPILED[name]
    expected = run_episodes(agent, config, SEEDS)
    assert np.array_equal(episode_scores(compiled(config, price), config, SEEDS), expected)
    own = for_agent(config, agent)
    assert np.array_equal(episode_scores(compiled(own, price), own, SEEDS), expected)


def test_only_hosts_are_chosen_and_bad_prices_refused() -> None:
    result = evaluate(controls.make("priced-pair", MIXED), MIXED, episodes=2, seed=0)
    assert result.values("rejected").sum() == 0
    with pytest.raises(ConfigError, match="priced-pair price: got -1; accepted: >= 0"):
        controls.make("priced-pair", MIXED, -1)


def test_choosing_the_gpu_too_beats_choosing_the_model() -> None:
    config = configure("stable", load=2.5, window_s=10.0)
    pairs = validation_score("priced-pair", config, 0.009, 8)
    assert pairs > validation_score("largest-feasible", config, 0.3, 8) + 0.02


def test_only_pairs_that_are_tried_are_taken() -> None:
    worths = np.array([0.3, 0.5, 0.5, 0.1, 0.4, 0.2 - NOWHERE])
    for tries, kept in ((1, [1, 2]), (2, [1, 2, 4]), (4, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4])):
        values = np.arange(6, dtype=np.float32)
        leave_out(values, worths, tries)
        assert np.flatnonzero(np.isfinite(values)).tolist() == kept
    # Where nothing leads anywhere, what the heuristic does is left.
    values = np.arange(6, dtype=np.float32)
    leave_out(values, worths - NOWHERE, 3)
    assert np.flatnonzero(np.isfinite(values)).tolist() == [1, 2]
    router = guard(q_network(CONFIG, (24, 8), seed=3), CONFIG, priced_pair(CONFIG, 0.02), 2)
    router.caution.fill_(0.0)
    simulation = begun(CONFIG, 300)
    rows = simulation.outputs.observations
    _, worths = router.choose(rows)  # type: ignore[union-attr]
    second = [np.unique(row)[-2] for row in worths]
    assert (worths[np.arange(len(rows)), router.greedy(rows)] >= second).all()


class Greedy:
    """A router as an agent."""

    name, observation, action = "router", GPU_FEATURES, "gpu-model"

    def __init__(self, router: GuardedPairs) -> None:
        self.router = router

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """It remembers nothing."""

    def act(self, observations: np.ndarray) -> np.ndarray:
        """As the router does."""
        return self.router.greedy(observations)


@pytest.mark.parametrize(
    ("caution", "busiest", "tries", "growth"),
    [
        (0.0, np.inf, 0, 0.5),
        (0.1, np.inf, 3, 0.75),
        (0.1, 8.0, 2, 0.5),
        (np.inf, np.inf, 3, 0.75),
    ],
)
def test_guarded_pairs_compiled_and_not(
    caution: float, busiest: float, tries: int, growth: float
) -> None:
    for config in (CONFIG, MIXED):
        heuristic = priced_pair(config, 0.02, growth)
        router = guard(q_network(config, (24, 8), seed=3), config, heuristic, tries)
        router.caution.fill_(caution)
        router.busiest.fill_(np.log1p(busiest))
        scores = episode_scores(compiled_router(router, config), config, SEEDS)
        assert np.allclose(scores, run_episodes(Greedy(router), config, SEEDS))  # type: ignore[arg-type]
        usual = episode_scores(heuristic, config, SEEDS)
        assert np.array_equal(scores, usual) == np.isinf(caution)


def test_the_price_grows_with_a_power_of_the_load() -> None:
    assert price_at(Price(0.02), 16.0) == pytest.approx(0.08)
    assert price_at(Price(0.02, 0.75), 16.0) == pytest.approx(0.16)
    assert price_at(Price(0.02, 0.75), -1e-9) == 0.0
    scores = setting_scores(("priced-pair", "steep-pair"), CONFIG, episodes=2)
    assert scores["priced-pair", 0.0] == scores["steep-pair", 0.0]
    assert scores["priced-pair", 0.02] != scores["steep-pair", 0.02]
    assert best_tuned(("priced-pair", "steep-pair"), CONFIG, 2).score == max(scores.values())


class Own(PoissonArrivals):
    """A workload of a user's own."""


def test_what_heuristics_earn_is_played_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workload of a user's own, which has no fingerprint, is played whenever it is asked for."""
    played: list[object] = []

    def counted(name: str, config: EnvConfig, setting: float, episodes: int) -> float:
        played.append(setting)
        return validation_score(name, config, setting, episodes)

    monkeypatch.setattr(tuning, "KNOWN", {})
    monkeypatch.setattr(tuning, "validation_score", counted)
    first = setting_scores(("priced-pair",), CONFIG, 2)
    asked = len(first)
    assert len(played) == asked
    said = dict(first)
    first.clear()
    assert setting_scores(["priced-pair"], replace(CONFIG, load=(4, 16)), 2) == said
    assert len(played) == asked
    assert setting_scores(("priced-pair",), replace(CONFIG, load=6.0), 2) != said
    assert setting_scores(("priced-pair",), CONFIG, 3) != said
    assert len(played) == 3 * asked
    own = replace(CONFIG, workload=Own(**vars(CONFIG.workload)))
    for times in (4, 5):
        assert setting_scores(("priced-pair",), own, 2) == said
        assert len(played) == times * asked


@pytest.mark.parametrize("dueling", [False, True])
def test_gpus_that_change_places_change_values(dueling: bool) -> None:
    network = q_network(CONFIG, (16,), dueling, seed=1)
    inputs = gpu_inputs(CONFIG.layout)
    low = int(inputs.max()) + 1
    rows = np.random.default_rng(0).normal(size=(5, low)).astype(np.float32)
    turned = rows.copy()
    order = [2, 0, 3, 1]
    for gpu, other in enumerate(order):
        turned[:, inputs[gpu, -12:]] = rows[:, inputs[other, -12:]]
    values = network.preferences(rows).reshape(5, 4, 3)
    assert np.allclose(network.preferences(turned).reshape(5, 4, 3), values[:, order], atol=1e-6)
    assert not np.allclose(values[:, order], values)


def test_one_router_serves_any_number_of_gpus(tmp_path: Path) -> None:
    card = Plan(tmp_path, "stable", algorithm="rollout-pi").card()
    router = make_router(card)
    write_card(tmp_path, card)
    write_weights(tmp_path, router.state_dict())
    for gpus in (2, 8):
        config = configure("stable", pools=(Pool(gpus),), window_s=1.0)
        agent = load_agent(tmp_path, config)
        assert isinstance(agent.network, GuardedPairs)
        agent.network.caution.fill_(0.0)
        completions = evaluate(agent, config, episodes=1, seed=0).episodes[0].completions
        assert set(completions["gpu"]) <= set(range(gpus))


def begun(config: EnvConfig, steps: int) -> Simulation:
    simulation = Simulation(config, 2, logs_completions=False)
    simulation.begin(SEEDS[:2])
    rng = np.random.default_rng(0)
    for _ in range(steps):
        simulation.step(rng.integers(simulation.actions, size=2))
    return simulation


def feature(simulation: Simulation, name: str, e: int = 0) -> np.ndarray:
    """One feature with a column per (GPU, model), shape (G, M)."""
    config = simulation.config
    first = config.layout.first(name)
    size = config.gpus * len(config.models)
    return simulation.outputs.observations[e, first : first + size].reshape(config.gpus, -1)


def test_features_of_gpus_are_what_they_say() -> None:
    simulation = begun(MIXED, 300)
    s, cluster = simulation.state, simulation.cluster
    unit_s = MIXED.gpus / MIXED.load_1_per_s
    waiting = s.queues["waiting"][0]
    assert waiting.max() > 1
    assert np.allclose(feature(simulation, "gpu_backlog"), np.log1p(waiting), atol=1e-6)
    for gpu in range(MIXED.gpus):
        pool = cluster.pool_of[gpu]
        for model in range(3):
            left_s = s.contests["key"][0, 0, gpu] - s.envs["now_s"][0]
            runs = s.gpus["model"][0, gpu] == model
            expected = np.log1p(left_s / unit_s) if runs else 0.0
            assert feature(simulation, "gpu_running")[gpu, model] == pytest.approx(
                expected, abs=1e-5
            )
            limit = cluster.batch_limit[pool, model]
            work = feature(simulation, "gpu_work")[gpu, model]
            if limit == 0:
                assert work == 16.0
                continue
            rest = waiting[gpu, model] % limit
            batch_s = cluster.service.batch_s[pool, model]
            added_s = batch_s[rest + 1] - batch_s[rest]
            assert work == pytest.approx(added_s / unit_s, rel=1e-5)


def test_pairs_that_are_tried_have_the_values_of_their_rollouts() -> None:
    base = priced_pair(CONFIG, 0.02)
    simulation = begun(CONFIG, 40)
    values, picks = np.zeros(12), np.zeros(4, np.int64)
    trial = Trial(base, simulation.world, 1, 0.2)
    try_pairs(trial, 0, values, picks)
    alone = [try_action(trial, 0, int(pick))[0] for pick in picks]
    assert np.allclose(values[picks], np.array(alone) - alone[0])
    assert len(set(picks.tolist())) == 4


def test_idle_gpus_are_tried_once_and_the_others_valued_as_the_heuristic_does() -> None:
    base = priced_pair(CONFIG, 0.02)
    simulation = begun(CONFIG, 0)
    values, picks = np.zeros(12), np.zeros(5, np.int64)
    trial = Trial(base, simulation.world, 1, 0.1)
    try_pairs(trial, 0, values, picks)
    assert sorted(picks[:3].tolist()) == [0, 1, 2]
    assert picks[3:].tolist() == [-1, -1]
    assert np.array_equal(values.reshape(4, 3), np.tile(values[:3], (4, 1)))
    few = np.zeros(1, np.int64)
    try_pairs(trial, 0, values, few)
    assert values.max() == values[few[0]] == 0.0
    assert len(set(values.tolist())) == 3


def test_priced_pair_reads_only_its_features() -> None:
    assert PricedPair.observation == PAIR_FEATURES
    with pytest.raises(ConfigError, match="gpu_work among them"):
        priced_pair(configure("stable"), 0.1)
