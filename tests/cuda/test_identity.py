"""What threads do, run on the CPU: the device's layout, bodies and launches change no number."""

import re

import gymnasium
import numpy as np
import pytest

from agents.compiled.making import largest_feasible
from agents.compiled.policies import episode_scores
from agents.compiled.threads import device_scores
from llmroute_env import ConfigError
from llmroute_env.config import EnvConfig
from llmroute_env.cuda.memory import Host
from llmroute_env.cuda.simulation import LOG, RING, DeviceSimulation
from llmroute_env.cuda.vector_env import LLMRouteCudaVectorEnv
from llmroute_env.dynamics.stepping import NEXT_STEP, SAME_STEP
from llmroute_env.failure_specs import ExponentialTimes, Failures
from llmroute_env.scenarios import configure
from llmroute_env.signal_specs import Signals
from llmroute_env.specs import RequestClass
from llmroute_env.vector_env import LLMRouteVectorEnv
from tests.cuda.same_envs import Both
from tests.scenario_windows import short_workload

ENVS = 70
"""Two tiles that are full and one that is not."""


def unpredictable() -> EnvConfig:
    """The usual scenario in episodes that are so short that many end."""
    workload = short_workload(configure("unpredictable-1"))
    return configure("unpredictable-1", window_s=0.2, workload=workload)


@pytest.mark.parametrize("autoreset", [SAME_STEP, NEXT_STEP])
def test_trajectories_are_those_of_the_cpu_state_for_state(autoreset: int):
    both = Both(unpredictable(), ENVS, Host(), autoreset)
    both.check_outputs()
    both.check_states()
    for step in range(200):
        both.step()
        both.check_outputs()
        both.check_completions()
        if step % 50 == 49:
            both.check_states()
    assert both.ended > ENVS
    both.check_summaries()


def test_rings_and_logs_grow_when_they_are_full_and_nothing_is_lost():
    both = Both(configure("overload", window_s=1.0), ENVS, Host(), SAME_STEP)
    before = both.device.bytes_per_env
    for _ in range(400):
        both.step()
        both.check_completions()
    both.check_states()
    rings, log = both.device.world.state.service.requests, both.device.world.log.records
    _, gpus, models = both.cpu.state.queues.shape
    assert rings.shape[2] > RING * gpus * models
    assert log.shape[2] > LOG
    assert both.device.bytes_per_env > before


def test_a_refused_action_changes_nothing():
    both = Both(unpredictable(), ENVS, Host(), SAME_STEP)
    for _ in range(20):
        both.step()
    actions = np.zeros(ENVS, np.int64)
    actions[[40, 66]] = 3, -1
    with pytest.raises(ConfigError, match=re.escape("action of env 40: got 3; accepted: an int")):
        both.device.step(actions)
    both.check_states()
    with pytest.raises(ConfigError, match=r"actions: got .*float64 of shape \(70,\).*int64"):
        both.device.step(np.zeros(ENVS))
    both.step()
    both.check_states()


def test_the_vector_env_tells_what_that_of_the_cpu_does():
    own = unpredictable()
    options = {"scenario": "unpredictable-1", "window_s": own.window_s, "workload": own.workload}
    options["completions"] = True
    ours = LLMRouteCudaVectorEnv(ENVS, autoreset_mode="SameStep", memory=Host(), **options)
    theirs = LLMRouteVectorEnv(ENVS, autoreset_mode="SameStep", **options)
    assert ours.observation_space == theirs.observation_space
    with pytest.raises(gymnasium.error.ResetNeeded):
        ours.step(np.zeros(ENVS, np.int64))
    np.testing.assert_array_equal(ours.reset(seed=5)[0], theirs.reset(seed=5)[0])
    rng, ended = np.random.default_rng(1), 0
    for _ in range(200):
        actions = rng.integers(3, size=ENVS)
        *mine, infos = ours.step(actions)
        *expected, told = theirs.step(actions)
        for a, b in zip(mine, expected, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(infos["utility_of_peak"], told["utility_of_peak"])
        np.testing.assert_array_equal(ours.completions(), told["completions"])
        over = {e: theirs.simulation.final_summary(e) for e in ours.ended().tolist()}
        assert ours.final_summaries() == over
        for e in over:
            np.testing.assert_array_equal(infos["final_obs"][e], told["final_obs"][e])
        ended += len(over)
    assert ended > ENVS
    episode = {"episode": 3}
    np.testing.assert_array_equal(ours.reset(options=episode)[0], theirs.reset(options=episode)[0])


def test_a_mode_that_a_device_does_not_have_is_refused():
    with pytest.raises(ConfigError, match=r"autoreset_mode: got 'Disabled'.*NextStep, SameStep"):
        LLMRouteCudaVectorEnv(2, autoreset_mode="Disabled", memory=Host())


def test_neighbouring_threads_read_neighbouring_words():
    device = DeviceSimulation(unpredictable(), ENVS, Host())
    state, rows = device.world.state, device.outputs["observations"]
    for array in state.arrays:
        if array.size > 0:
            assert array.strides[1] == 8
    now_s = state.envs["now_s"]
    assert now_s.strides[1] == now_s.itemsize
    assert rows.strides[0] == rows.itemsize
    for field in state.gpus.dtype.names:
        assert state.gpus[field].strides[1] == 8


KINDS = RequestClass("chat"), RequestClass("batch", weight=0.5)
TIMES = ExponentialTimes(1.0), ExponentialTimes(0.3)


@pytest.mark.verify
@pytest.mark.parametrize(
    ("scenario", "fields"),
    [
        ("unpredictable-1", {"action": "gpu-model", "reject": True, "classes": KINDS}),
        ("unpredictable-1", {"signals": Signals(scrape_interval_s=0.05, delay_s=0.01, noise=0.2)}),
        ("unpredictable-1", {"failures": Failures(*TIMES)}),
        ("chat-and-code", {}),
    ],
)
def test_other_worlds_are_the_same_too(scenario: str, fields: dict):
    window_s = 20.0 if scenario == "chat-and-code" else 1.0
    both = Both(configure(scenario, window_s=window_s, **fields), ENVS, Host(), SAME_STEP)
    for step in range(400):
        both.step()
        both.check_outputs()
        both.check_completions()
        if step % 100 == 99:
            both.check_states()
    assert both.ended > 0
    both.check_summaries()


@pytest.mark.verify
def test_heuristics_decide_the_same():
    config, seeds = configure("unpredictable-1", window_s=2.0), np.arange(ENVS, dtype=np.uint64)
    policy = largest_feasible(config, 0.4)
    expected = episode_scores(policy, config, seeds)
    np.testing.assert_array_equal(device_scores(policy, config, seeds, Host()), expected)
