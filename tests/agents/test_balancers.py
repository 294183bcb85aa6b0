"""Load balancers decide the same as compiled code and in Python, one decision after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.base import Actions, Agent, Observations
from agents.compiled.balancers import balancing, two_of_each
from agents.compiled.policies import CompiledPolicy, RunsCompiled
from agents.compiled.rollouts import Trial, try_pairs
from agents.heuristics.table import make
from benchmarks.evaluation.runner import Evaluation, evaluate
from llmroute_env import ConfigError, EnvConfig, Pool, configure
from llmroute_env.failure_specs import ExponentialTimes, Failures
from llmroute_env.signal_specs import Signals
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import RequestClass
from tests.env.small_engines import small_engines

NAMES = ("least-requests", "least-kv", "least-ttft", "power-of-two", "circuit-breaker")
STATIC = configure("overload", window_s=1.0)
MIXED = replace(STATIC, pools=(Pool(2), Pool(1, models=("opt-125m",))), reject=True)
ENGINES = small_engines(load=2.0, window_s=6.0)
TWINS = replace(
    ENGINES,
    pools=(Pool(3, ("small",)), Pool(1, ("middle",)), Pool(2, ("large",))),
    queue_capacity=2,
    load=6.0,
    reject=True,
    classes=(RequestClass("calm"), RequestClass("hasty", weight=2.0)),
)
FAILING = replace(
    MIXED,
    window_s=4.0,
    failures=Failures(ExponentialTimes(0.5), ExponentialTimes(0.5), tries=2),
    signals=Signals(0.5, noise=0.1),
)


class Stepwise:
    """An agent without its compiled form."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.name, self.observation, self.action = agent.name, agent.observation, agent.action
        self.breaks_circuits = getattr(agent, "breaks_circuits", False)

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        self.agent.begin(envs, rng)

    def act(self, observations: Observations) -> Actions:
        return self.agent.act(observations)


def run(agent: Agent, config: EnvConfig, seed: int = 1) -> Evaluation:
    return evaluate(agent, config, episodes=3, seed=seed)


def compiled_of(name: str, config: EnvConfig) -> tuple[CompiledPolicy, EnvConfig]:
    agent = make(name, config)
    assert isinstance(agent, RunsCompiled)
    own = replace(config, observation=agent.observation, action=agent.action)
    return agent.compiled(own), own


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("config", [STATIC, MIXED, ENGINES, TWINS, FAILING])
def test_compiled_decisions_are_the_python_ones(config: EnvConfig, name: str) -> None:
    agent = make(name, config)
    assert isinstance(agent, RunsCompiled)
    assert not isinstance(Stepwise(agent), RunsCompiled)
    found, expected = run(agent, config), run(Stepwise(agent), config)
    for ours, theirs in zip(found.episodes, expected.episodes, strict=True):
        np.testing.assert_array_equal(ours.completions, theirs.completions)
        assert ours.summary == theirs.summary
        if name != "least-kv":
            assert len(np.unique(ours.completions["gpu"])) > 1
    if config is TWINS:
        assert found.values("rejected").sum() > 0
    if config is FAILING:
        retried, lost = found.values("retried").sum(), found.values("lost").sum()
        assert lost > 0
        # To whom a machine that is down looks idle, it does so again at once.
        assert retried > lost if name in ("power-of-two", "circuit-breaker") else retried == lost


def test_two_choices_repeat_with_their_seed_and_differ_with_another() -> None:
    agent = make("power-of-two", TWINS)
    gpus = [
        np.concatenate([e.completions["gpu"] for e in run(agent, TWINS, seed).episodes])
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(gpus[0], gpus[1])
    assert not np.array_equal(gpus[0], gpus[2])


def test_two_choices_are_different_pairs_and_all_alike() -> None:
    keys = np.random.default_rng(0).integers(2**64, size=1000, dtype=np.uint64)
    seen, ones, others = np.zeros((5, 5)), np.empty(1000, np.int64), np.empty(1000, np.int64)
    for decision in range(40):
        two_of_each(5, keys, decision, ones, others)
        np.add.at(seen, (ones, others), 1)
    assert np.diag(seen).sum() == 0
    # 2000 of each of the other 20, within five standard deviations.
    assert np.abs(seen[~np.eye(5, dtype=bool)] - 2000).max() < 5 * np.sqrt(2000)
    two_of_each(1, keys, 0, ones, others)
    assert not ones.any()
    assert not others.any()


def test_rollouts_that_follow_one_try_what_is_hosted() -> None:
    policy, config = compiled_of("least-ttft", ENGINES)
    simulation = Simulation(config, 2, logs_completions=False)
    simulation.begin(np.arange(2, dtype=np.uint64))
    hosted = np.flatnonzero(simulation.action_masks())
    picks, values = np.zeros(2, np.int64), np.zeros(config.actions)
    assert try_pairs(Trial(policy, simulation.world, 1, 0.5), 0, values, picks) > 0
    assert np.isin(picks, hosted).all()
    assert len(hosted) < config.actions


def test_observations_and_actions_that_do_not_fit_are_refused() -> None:
    _, config = compiled_of("least-kv", ENGINES)
    none = np.zeros(0, np.uint64)
    with pytest.raises(ConfigError, match=r"observation: got .*; accepted: gpu_held among them"):
        balancing(config, "gpu_held", none)
    with pytest.raises(ConfigError, match="action: got 'model'; accepted: 'gpu-model'"):
        balancing(replace(config, action="model"), "gpu_kv", none)
