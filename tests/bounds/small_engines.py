"""Continuous batching so small that everything can be tried."""

import math
from dataclasses import replace

import numpy as np

from llmroute_env.config import EnvConfig
from llmroute_env.engine_specs import Engine, Line, StepTimes, Surface
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import GpuSpec, ModelSpec, Pool, Profile
from tests.reference.continuous_adapter import config_of
from tests.reference.continuous_case import Case
from tests.reference.continuous_cases import random_case
from traces.trace import Provenance, Trace

NOTHING = Surface((1,), (1,), ((0.0,),))


def alike(seconds: float) -> StepTimes:
    """Every step takes as long as every other."""
    return StepTimes(Line((1,), (0.0,)), NOTHING, NOTHING, Line((1,), (0.0,)), host_s=seconds)


def engine_config(requests, deadline, times, seqs=8, **fields):
    """One instance with an accuracy of 0.5; `requests`: (arrival, prompt, answer) each."""
    model = ModelSpec("only", 1, 0, 16, (), (0.5,), step_times={"card": times})
    return EnvConfig(
        **{
            "profile": Profile("one", ("any",), (model,), (GpuSpec("card", 10**9),)),
            "pools": (Pool(1, ("only",)),),
            "service": "continuous",
            "engine": Engine(seqs, 64, kv_blocks={"only": 64}),
            "deadline": deadline,
            "workload": trace_of(requests),
            "load": None,
            "split": "all",
            "window_s": math.inf,
            **fields,
        }
    )


def trace_of(requests) -> Trace:
    arrival_s, prompt, answer = (np.array(column) for column in zip(*requests, strict=True))
    return Trace(
        arrival_s=arrival_s.astype(float),
        task=np.zeros(len(arrival_s), np.int16),
        prompt_tokens=prompt.astype(np.int32),
        output_tokens=answer.astype(np.int32),
        span_s=float(arrival_s[-1]) + 1.0,
        provenance=Provenance("small engine"),
        tasks=("any",),
    )


def tiny_case(seed: int) -> Case:
    """Two instances at most and five requests: deadlines of every kind, classes, tiny caches."""
    for other in range(seed * 1000, seed * 1000 + 1000):
        case = random_case(other)
        if len(case.instances) <= 2:
            return replace(case, requests=case.requests[:5])
    raise AssertionError("no case has two instances")


def tiny_config(seed: int) -> EnvConfig:
    return config_of(tiny_case(seed))


def played_at_random(config: EnvConfig, seed: int, envs: int) -> tuple[Simulation, float]:
    """The best of `envs` random routers that send to hosts, in the episode of seed 0."""
    simulation, rng = Simulation(config, envs, logs_completions=False), np.random.default_rng(seed)
    simulation.begin(np.zeros(envs, np.uint64))
    limits = simulation.cluster.batch_limit[simulation.cluster.pool_of]
    hosting = np.flatnonzero(limits.ravel())
    while not simulation.state.envs["over"].all():
        simulation.step(rng.choice(hosting, envs))
    return simulation, float(simulation.state.envs["utility"].max())
