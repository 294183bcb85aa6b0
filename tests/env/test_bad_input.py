"""Every refusal names the field, the value received and what is accepted."""

import dataclasses
import math

import gymnasium
import numpy as np
import pytest

from llmroute_env import ConfigError, Deadline, EnvConfig, GpuSpec, ModelSpec, Pool
from llmroute_env.env import LLMRouteEnv
from llmroute_env.scenarios import configure
from llmroute_env.vector_env import LLMRouteVectorEnv
from traces.tasks import TaskMix
from traces.trace import Provenance, Trace, TraceError
from traces.workloads import RegimeSwitching, TraceReplay

CASES = {
    "scenario": (lambda: configure("nix"), "'nix' is unknown; accepted: stable"),
    "field": (lambda: configure("stable", colour=1), "colour: is not a setting; accepted: profile"),
    "profile": (lambda: EnvConfig(profile="h100"), "'h100' is unknown; accepted: llama3, opt-a100"),
    "model": (lambda: EnvConfig(pools=(Pool(1, ("opt-9b",)),)), "'opt-9b' is unknown"),
    "gpu": (lambda: EnvConfig(pools=(Pool(1, gpu="t4"),)), "'t4' is unknown; accepted: a100-80gb"),
    "gpu of another": (
        lambda: EnvConfig(profile="opt-h100", pools=(Pool(1, gpu="a100-80gb"),)),
        "'a100-80gb' is unknown; accepted: h100-80gb",
    ),
    "no pool": (lambda: EnvConfig(pools=()), "pools: got"),
    "no gpu": (lambda: Pool(0), "pool gpus: got 0; accepted: 1 to 4096"),
    "twice": (lambda: Pool(1, ("opt-125m", "opt-125m")), "accepted: each model once"),
    "dispatcher": (lambda: EnvConfig(dispatcher="best"), "got 'best'; accepted: least-work"),
    "action": (lambda: EnvConfig(action="gpu"), "got 'gpu'; accepted: model, gpu-model"),
    "capacity": (lambda: EnvConfig(queue_capacity=0), "queue_capacity: got 0"),
    "batch": (lambda: EnvConfig(max_batch={"opt-6.7b": 65}), "got 65; accepted: 1 to 64"),
    "batch of": (lambda: EnvConfig(max_batch={"gpt": 1}), "got 'gpt'; accepted: hosted models"),
    "rate": (lambda: EnvConfig(load=-1.0), "load: got -1.0; accepted: a number > 0"),
    "no rate": (lambda: EnvConfig(load=math.nan), "load: got nan"),
    "range": (lambda: EnvConfig(load=(2.0, 1.0)), r"load: got \(2.0, 1.0\)"),
    "own rate": (lambda: EnvConfig(load=None), "load: got None; accepted: a number"),
    "split": (lambda: EnvConfig(split="dev"), "got 'dev'; accepted: train, validation"),
    "window": (lambda: EnvConfig(window_s=0.0), "window_s: got 0.0; accepted: seconds > 0"),
    "feature": (lambda: EnvConfig(observation=("mood",)), "accepted: one or more of task"),
    "rates": (lambda: EnvConfig(rate_windows_s=(0.0, 1.0)), "rate_windows_s: got"),
    "deadline": (lambda: Deadline(-1.0), "deadline_s: got -1.0; accepted: seconds >= 0"),
    "kind": (lambda: Deadline(1.0, "firm"), "got 'firm'; accepted: hard, linear"),
    "grace": (lambda: Deadline(1.0, "linear"), "grace_s: got 0.0; accepted: finite seconds > 0"),
    "hard grace": (lambda: Deadline(1.0, grace_s=1.0), "accepted: 0 with a hard deadline"),
    "accuracy": (lambda: ModelSpec("m", 1, 0, 0, (1.0,), (1.5,)), "got 1.5; accepted: a fraction"),
    "latency": (lambda: ModelSpec("m", 1, 0, 0, (0.0,), (1.0,)), "got 0.0; accepted: finite"),
    "speed": (lambda: GpuSpec("g", 1, 0.0), "relative_speed: got 0.0; accepted: finite, > 0"),
    "mix": (lambda: EnvConfig(mix=TaskMix((1.0,))), "mix: got .*; accepted: one weight per task"),
    "envs": (lambda: LLMRouteVectorEnv(0, "stable"), "num_envs: got 0; accepted: >= 1"),
}


@pytest.mark.parametrize("case", CASES)
def test_refusal_says_what_and_why(case: str):
    make, message = CASES[case]
    with pytest.raises(ValueError, match=message):
        make()


def test_weights_that_do_not_fit_the_gpu():
    profile = EnvConfig().resolved_profile
    small = GpuSpec("small", 10_000_000_000)
    profile = dataclasses.replace(profile, gpus=(small,))
    with pytest.raises(ConfigError, match=r"weights \(16.2 GB\) .* do not fit GPU 'small'"):
        EnvConfig(profile=profile, pools=(Pool(1, gpu="small"),))


@pytest.mark.parametrize("where", ["batch_latency_s", "latency_by_gpu"])
def test_batches_that_get_quicker_as_they_grow(where: str):
    model = EnvConfig().resolved_profile.models[0]
    tables = {"batch_latency_s": (0.02, 0.01), "latency_by_gpu": {"fast": (0.02, 0.02, 0.01)}}
    with pytest.raises(ConfigError, match=rf"{where}.*: got \[\(0.02, 0.01\)\]; accepted: .*never"):
        dataclasses.replace(model, **{where: tables[where]})
    level = dataclasses.replace(model, batch_latency_s=(0.02, 0.02))
    assert level.latency_s(GpuSpec("any", 1)) == (0.02, 0.02)


@pytest.mark.parametrize("action", [-1, 3, 1000])
def test_action_out_of_range_changes_nothing(action: int):
    env = LLMRouteEnv("stable")
    env.reset(seed=0)
    before = env.snapshot()
    with pytest.raises(ConfigError, match=f"got {action}; accepted: an integer from 0 to 2"):
        env.step(action)
    assert all(np.array_equal(a, b) for a, b in zip(before, env.snapshot(), strict=True))


def test_vector_action_out_of_range_names_the_env():
    env = LLMRouteVectorEnv(3, "stable")
    env.reset(seed=0)
    with pytest.raises(ConfigError, match="action of env 1: got 7"):
        env.step(np.array([0, 7, 0]))
    with pytest.raises(ConfigError, match=r"actions: got .* accepted: integers of shape"):
        env.step(np.zeros(2, np.int64))
    with pytest.raises(ConfigError, match="actions: got"):
        env.step(np.array([0.5, 1.0, 2.0]))


@pytest.mark.parametrize("action", [0.5, "a", None])
def test_action_that_is_no_integer(action: object):
    env = LLMRouteEnv("stable")
    env.reset(seed=0)
    with pytest.raises(ConfigError, match="action: got"):
        env.step(action)


def test_step_before_reset_and_after_the_end():
    for env in (LLMRouteEnv("stable", window_s=0.05), LLMRouteVectorEnv(1, "stable")):
        with pytest.raises(gymnasium.error.ResetNeeded, match=r"call reset\(\) first"):
            env.step(np.zeros(1, np.int64) if env.unwrapped.__class__ is LLMRouteVectorEnv else 0)
    env = LLMRouteEnv("stable", window_s=0.05)
    env.reset(seed=0)
    while not env.step(0)[2]:
        pass
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


def trace(arrival_s: list[float], span_s: float = 10.0) -> Trace:
    n = len(arrival_s)
    return Trace(
        arrival_s=np.array(arrival_s),
        task=np.zeros(n, np.int16),
        prompt_tokens=np.ones(n, np.int32),
        output_tokens=np.ones(n, np.int32),
        span_s=span_s,
        provenance=Provenance("test"),
    )


@pytest.mark.parametrize("arrival_s", [[1.0, math.nan], [-1.0], [2.0, 1.0], [11.0], [math.inf]])
def test_a_trace_with_impossible_times(arrival_s: list[float]):
    with pytest.raises(TraceError, match=r"arrival_s\[\d\]: got .*; accepted: "):
        trace(arrival_s)


def test_an_empty_trace_is_no_workload():
    with pytest.raises(ConfigError, match="a Trace with at least one request"):
        LLMRouteEnv("stable", workload=trace([]), load=None)
    with pytest.raises(ConfigError, match="split: 'validation' of the workload has no request"):
        LLMRouteEnv("stable", workload=trace([1.0]), load=None, split="validation")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (TraceReplay("nix"), "trace name: got 'nix'; accepted: maf2019"),
        (RegimeSwitching(regimes=1), "regimes: got 1; accepted: >= 2"),
    ],
)
def test_a_recipe_that_cannot_be_built(recipe: TraceReplay | RegimeSwitching, message: str):
    with pytest.raises(ConfigError, match=message):
        LLMRouteEnv("stable", workload=recipe)
