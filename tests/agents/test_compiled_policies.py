"""Compiled routers decide as the Python ones do; rollouts do what they say."""

from __future__ import annotations

import numpy as np
import pytest

from agents.compiled import policies as compiled_policies
from agents.compiled.making import largest_feasible
from agents.compiled.policies import CompiledPolicy, episode_scores
from agents.compiled.rollouts import Trial, Tried, fork, try_actions, visit_and_try
from agents.heuristics import models as heuristics
from agents.heuristics.tuning import run_episodes, tune, validation_score
from agents.routers.build import compiled_router, guard
from agents.routers.networks import QNetwork, Router
from llmroute_env import ConfigError, EnvConfig, Pool, configure
from llmroute_env.simulation.simulation import Simulation

CONFIG = configure("overload", window_s=1.0)
MIXED = configure(
    "overload",
    window_s=1.0,
    pools=(Pool(2), Pool(1, models=("opt-125m",))),
    dispatcher="shortest-queue",
)
SEEDS = np.arange(5, dtype=np.uint64)


def begun(config: EnvConfig, envs: int) -> Simulation:
    simulation = Simulation(config, envs, logs_completions=False)
    simulation.begin(np.arange(envs, dtype=np.uint64))
    return simulation


@pytest.mark.parametrize("config", [CONFIG, MIXED])
@pytest.mark.parametrize("margin", [-0.5, 0.2, 0.45])
def test_compiled_heuristic_is_the_python_one(config: EnvConfig, margin: float) -> None:
    agent = heuristics.make("largest-feasible", config, margin)
    expected = run_episodes(agent, config, SEEDS)
    assert np.array_equal(episode_scores(largest_feasible(config, margin), config, SEEDS), expected)


class Greedy:
    """A router as an agent."""

    name = "greedy"
    observation = CONFIG.observation
    action = "model"

    def __init__(self, router: Router) -> None:
        self.router = router

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Remember nothing."""

    def act(self, observations: np.ndarray) -> np.ndarray:
        """As the router does."""
        return self.router.greedy(observations)


@pytest.mark.parametrize("dueling", [False, True])
def test_compiled_network_is_the_torch_one(dueling: bool) -> None:
    network = QNetwork(16, (24, 8), 3, dueling, seed=3)
    expected = run_episodes(Greedy(network), CONFIG, SEEDS)
    assert np.allclose(episode_scores(compiled_router(network, CONFIG), CONFIG, SEEDS), expected)


@pytest.mark.parametrize("caution", [0.0, 0.05, np.inf])
def test_guarded_network_compiled_and_not(caution: float) -> None:
    network = QNetwork(16, (24,), 3, False, seed=3)
    guarded = guard(network, CONFIG, largest_feasible(CONFIG, 0.3))
    guarded.caution.fill_(caution)
    scores = episode_scores(compiled_router(guarded, CONFIG), CONFIG, SEEDS)
    assert np.allclose(scores, run_episodes(Greedy(guarded), CONFIG, SEEDS))
    ends = {0.0: compiled_router(network, CONFIG), np.inf: largest_feasible(CONFIG, 0.3)}
    if caution in ends:
        assert np.array_equal(scores, episode_scores(ends[caution], CONFIG, SEEDS))


def test_network_of_another_shape_is_refused() -> None:
    for columns, actions in [(17, 3), (16, 4)]:
        network = QNetwork(columns, (4,), actions, False, seed=0)
        with pytest.raises(ValueError, match=f"got {columns} to {actions}; accepted: .* to 3"):
            compiled_router(network, CONFIG)


def test_a_fork_lives_on_like_its_source() -> None:
    simulation = begun(CONFIG, 3)
    for _ in range(400):
        simulation.step(np.array([0, 1, 2]))
    fork(simulation.world, 1, 0)
    rng = np.random.default_rng(0)
    for _ in range(400):
        action = int(rng.integers(3))
        simulation.step(np.array([action, action, 2]))
        assert np.array_equal(*simulation.outputs.observations[:2])
        assert simulation.outputs.rewards[0] == simulation.outputs.rewards[1]


def rollout(
    simulation: Simulation, e: int, action: int, base: CompiledPolicy, until_s: float
) -> float:
    """The obvious way: a deep copy, stepped from Python; then everything in flight is served."""
    assert base.kind == compiled_policies.LARGEST_FEASIBLE
    copy = begun(CONFIG, len(simulation.state.envs))
    copy.restore(simulation.snapshot())
    agent = heuristics.make("largest-feasible", CONFIG, float(base.margin))
    actions, total = np.zeros(len(copy.state.envs), np.int64), 0.0
    actions[e] = action
    while True:
        copy.step(actions)
        total += copy.outputs.rewards[e]
        if copy.state.envs[e]["over"] or copy.state.envs[e]["now_s"] > until_s:
            break
        actions = agent.act(copy.outputs.observations)
    if not copy.state.envs[e]["over"]:
        # As if the episode ended here: the clock runs until all that is in flight has been served.
        from llmroute_env.dynamics.routing import advance

        copy.state.envs[e]["step_in_time"] = 0.0
        advance(copy.world, e, np.inf)
        total += copy.state.envs[e]["step_in_time"]
    return total


@pytest.mark.parametrize("horizon_s", [0.0, 0.2, 100.0])
def test_values_of_actions_are_those_of_separate_rollouts(horizon_s: float) -> None:
    base = largest_feasible(CONFIG, 0.4)
    simulation = begun(CONFIG, 3)
    for _ in range(500):
        simulation.step(np.array([0, 2, 1]))
    values = np.zeros(3)
    before = simulation.state.copy()
    s = simulation.state
    try_actions(Trial(base, simulation.world, 2, horizon_s), 1, values)
    for array, old in zip(s.arrays, before.arrays, strict=True):
        assert np.array_equal(array[:2], old[:2])
    until_s = before.envs[1]["now_s"] + horizon_s
    for action in range(3):
        assert values[action] == pytest.approx(rollout(simulation, 1, action, base, until_s))


def test_visits_skip_as_many_decisions_as_asked() -> None:
    simulation = begun(CONFIG, 3)
    tried = Tried(np.zeros((2, 16), np.float32), np.zeros((2, 3)), np.zeros(0, np.int64))
    base = largest_feasible(CONFIG, 0.4)
    skips = np.array([7, 0])
    trial, out = Trial(base, simulation.world, 2, 0.1), simulation.outputs
    visit_and_try(base, trial, out, skips, tried)
    assert simulation.state.envs["decision"][:2].tolist() == [7, 0]
    assert not simulation.outputs.terminated[:2].any()
    visit_and_try(base, trial, out, np.array([50_000, 0]), tried)
    assert simulation.outputs.terminated[:2].tolist() == [True, False]
    assert simulation.outputs.final_envs["in_time"][0] > 0


def test_tuning_finds_the_best_of_its_grid() -> None:
    grid = heuristics.TUNABLE["largest-feasible"].grid
    best = tune("largest-feasible", CONFIG, episodes=8)
    scores = {m: validation_score("largest-feasible", CONFIG, m, 8) for m in grid}
    assert scores[best] == max(scores.values())
    assert scores[best] > scores[grid[0]]
    with pytest.raises(ConfigError, match="agent: got 'random'"):
        tune("random", CONFIG)
