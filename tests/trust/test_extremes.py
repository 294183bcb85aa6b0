"""Extremes in the environment itself: a right answer, or an error that says what is accepted."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import cache

import numba
import numpy as np
import pytest

from llmroute_env import ConfigError, Deadline, EnvConfig, LLMRouteEnv, Pool, profiles
from llmroute_env.dynamics.episode import step_env
from llmroute_env.dynamics.features import FEATURE_NAMES
from llmroute_env.dynamics.state import (
    IN_TIME,
    REJECTED,
    SHED,
    Records,
    allocate_log,
)
from llmroute_env.dynamics.world import World
from llmroute_env.recording.recording import Recording, play
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import TICK_S
from traces.errors import InputError
from traces.trace import Provenance, Trace
from traces.workloads import PoissonArrivals


@cache
def played(name: str) -> Recording:
    """One of CONFIGS, every model in turn."""
    config, turn = CONFIGS[name], iter(range(10**9))
    return play(config, 0, lambda _: np.array([next(turn) % config.actions]))


def config_of(**fields: object) -> EnvConfig:
    short = {"workload": PoissonArrivals(5.0), "window_s": 0.5, "observation": FEATURE_NAMES}
    return EnvConfig(**{**short, **fields})


def trace_of(arrival_s: np.ndarray, span_s: float) -> Trace:
    n = len(arrival_s)
    zeros = np.zeros(n, np.int32)
    return Trace(arrival_s, zeros.astype(np.int16), zeros, zeros, span_s, Provenance("test"))


def own_trace(arrival_s: np.ndarray) -> dict[str, object]:
    trace = trace_of(arrival_s, float(arrival_s[-1]) + 1.0)
    return {"workload": trace, "load": None, "split": "all", "window_s": math.inf}


def many_models(count: int) -> dict[str, object]:
    base = profiles.load("opt-a100")
    models = tuple(
        dataclasses.replace(base.models[i % 3], name=f"model-{i}", weights_bytes=10**8)
        for i in range(count)
    )
    pools = (Pool(4, tuple(model.name for model in models)),)
    return {"profile": dataclasses.replace(base, models=models), "pools": pools}


CONFIGS = {
    "load 1000": config_of(load=1000.0, window_s=0.1, workload=PoissonArrivals(0.5)),
    "load 0.001": config_of(load=0.001, window_s=60.0, workload=PoissonArrivals(600.0)),
    "one GPU": config_of(pools=(Pool(1),)),
    "256 GPUs": config_of(pools=(Pool(256),), window_s=0.05, workload=PoissonArrivals(0.5)),
    "64 models": config_of(**many_models(64)),
    "deadline 0": config_of(deadline=Deadline(0.0)),
    "no deadline": config_of(deadline=Deadline(math.inf)),
    "capacity 1": config_of(queue_capacity=1, load=50.0),
    "GPU and model": config_of(action="gpu-model", pools=(Pool(2), Pool(2, ("opt-6.7b",)))),
    "simultaneous": config_of(**own_trace(np.zeros(3000))),
    "an hour of silence": config_of(**own_trace(np.array([0.0, 0.0, 3600.5, 3600.5]))),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_extreme_plays_to_its_end(name: str):
    config = CONFIGS[name]
    recording = played(name)
    env = LLMRouteEnv(**{f.name: getattr(config, f.name) for f in dataclasses.fields(config)})
    # The lowest and the highest of every column; a NaN would be both.
    assert env.observation_space.contains(recording.observations.min(axis=0))
    assert env.observation_space.contains(recording.observations.max(axis=0))
    assert recording.terminated[-1]
    assert recording.ended.sum() == len(recording.actions) >= 4
    assert np.isfinite(recording.rewards).all()
    assert (recording.elapsed_s >= 0).all()


def test_what_becomes_of_requests_at_the_extremes():
    def outcomes(name: str) -> np.ndarray:
        return played(name).completions["outcome"]

    assert (outcomes("load 1000") == REJECTED).mean() > 0.5
    assert (outcomes("load 0.001") == IN_TIME).all()
    assert (outcomes("deadline 0") == SHED).all()
    assert (outcomes("no deadline") == IN_TIME).all()
    assert (outcomes("capacity 1") == REJECTED).mean() > 0.5


def test_an_hour_of_silence_is_an_hour():
    recording = played("an hour of silence")
    assert recording.elapsed_s[:3].tolist() == [0.0, 3600.5, 0.0]
    assert recording.completions["start_s"].max() == 3600.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EnvConfig(load=math.inf), "load: got inf; accepted"),
        (lambda: EnvConfig(load=0.0), "load: got 0.0; accepted"),
        (lambda: Deadline(-1.0), "deadline_s: got -1.0"),
        (lambda: Pool(5000), "pool gpus: got 5000; accepted: 1 to 4096"),
        (lambda: EnvConfig(queue_capacity=10**7), "got 10000000; accepted: 1 to 1000000"),
    ],
)
def test_what_is_beyond_is_refused(make: Callable[[], object], message: str):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_load_too_low_for_one_request_is_refused():
    with pytest.raises(ConfigError, match=r"has no request at .* accepted: a higher load"):
        LLMRouteEnv("stable", load=1e-9)


def by_steps(simulation: Simulation) -> Iterator[Records]:
    """The completions of an episode with one action, step by step."""
    while not simulation.outputs.terminated[0]:
        simulation.step(np.zeros(1, np.int64))
        yield simulation.completions


def test_a_load_with_too_many_requests_is_refused_before_they_are_drawn():
    for scenario in ("stable", "unpredictable-1"):
        with pytest.raises(InputError, match=r"expected arrivals: got \d+; accepted: at most 100,"):
            LLMRouteEnv(scenario, load=1e4)


@numba.njit
def run_steps(world: World, steps: int) -> int:
    world.log.used[0] = 0
    for step in range(steps):
        if world.state.envs[0].over:
            return step
        step_env(world, 0, 0)
    return steps


def compiled(simulation: Simulation) -> Iterator[Records]:
    """The same without a step of Python per request."""
    log = allocate_log(400_000)
    while run_steps(simulation.world._replace(log=log), 100_000):
        yield log.records[: log.used[0]]


def check_clock(requests: int, play_all: Callable[[Simulation], Iterator[Records]]) -> str:
    """A single-server queue without batches against Lindley's recursion in integers.

    With services of D ticks the k-th request finishes at (k + 1) D + max over j <= k of
    (arrival_j - j D).
    """
    arrival_s = np.cumsum(np.random.default_rng(0).exponential(1 / 8.0, requests))
    simulation = Simulation(queue_of(arrival_s))
    simulation.begin(np.zeros(1, np.uint64))
    finish_s = np.concatenate([records["finish_s"].copy() for records in play_all(simulation)])
    ticks, order = np.rint(arrival_s / TICK_S).astype(np.int64), np.arange(requests)
    service = round(0.1 / TICK_S)
    expected = (order + 1) * service + np.maximum.accumulate(ticks - order * service)
    assert (finish_s == expected * TICK_S).all()
    rounding_s = np.abs(ticks * TICK_S - arrival_s).max()
    assert rounding_s <= TICK_S / 2
    return (
        f"{requests:,} requests over {arrival_s[-1]:,.0f} s: every finish exact; the clock is off "
        f"by the rounding of arrivals alone, at most {rounding_s:.2e} s (half a tick is "
        f"{TICK_S / 2:.2e} s)"
    )


def queue_of(arrival_s: np.ndarray) -> EnvConfig:
    """One GPU that takes 0.1 s for each request."""
    profile = profiles.load("opt-a100")
    model = dataclasses.replace(profile.models[2], name="one", batch_latency_s=(0.1,))
    return EnvConfig(
        profile=dataclasses.replace(profile, models=(model,)),
        pools=(Pool(1, ("one",)),),
        deadline=Deadline(math.inf),
        queue_capacity=100_000,
        **own_trace(arrival_s),
    )


def test_the_clock_does_not_drift_in_a_long_episode():
    check_clock(100_000, by_steps)


@pytest.mark.verify
def test_the_clock_does_not_drift_in_ten_million_requests(record_property):
    record_property("figure", check_clock(10_000_000, compiled))
