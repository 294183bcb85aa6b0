"""Continuous batching where queueing theory knows the answer.

One request at a time with fixed lengths is M/D/1. Steps whose time is that of one token for each
of those who decode share the instance equally: M/G/1 with processor sharing, whose mean sojourn,
S / (1 - rho), does not depend on how lengths are distributed.
"""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from llmroute_env.config import EnvConfig
from llmroute_env.engine_specs import Engine, Line, StepTimes, Surface
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import Deadline, GpuSpec, ModelSpec, Pool, Profile
from traces.tasks import TaskMix
from traces.trace import Provenance, Trace

from .closed_forms import wait_md1_s

CONFIDENCE = 0.9999
TOKENS, TOKEN_S = 50, 1 / 1024


def cluster(times: StepTimes, seqs: int) -> dict[str, object]:
    model = ModelSpec("only", 1, 0, 16, (), (1.0,), step_times={"card": times})
    profile = Profile("one", ("any",), (model,), (GpuSpec("card", 10**9),))
    return {
        "profile": profile,
        "pools": (Pool(1, ("only",)),),
        "service": "continuous",
        "engine": Engine(seqs, 8192, kv_blocks={"only": 2**24}),
        "deadline": Deadline(math.inf),
        "mix": TaskMix((1.0,)),
        "queue_capacity": 20_000,
        "load": None,
        "window_s": math.inf,
        "split": "all",
    }


def constant(seconds: float) -> Line:
    return Line((1,), (seconds,))


NOTHING = Surface((1,), (1,), ((0.0,),))

ALONE = StepTimes(constant(TOKEN_S), NOTHING, NOTHING, constant(0.0))
"""Every step takes as long as every other."""

SHARED = StepTimes(
    constant(0.0),
    Surface((1, 2), (1,), ((TOKEN_S,), (2 * TOKEN_S,))),
    NOTHING,
    constant(0.0),
)
"""A step takes as many times TOKEN_S as there are requests that decode."""


def mean_sojourn_s(
    times: StepTimes, seqs: int, rate_per_s: float, output: np.ndarray, seed: int
) -> float:
    """Of one replication, without the first tenth of its requests."""
    rng, count = np.random.default_rng(seed), len(output)
    arrival_s = np.cumsum(rng.exponential(1 / rate_per_s, count))
    ones = np.ones(count, np.int32)
    trace = Trace(
        arrival_s, ones.astype(np.int16) * 0, ones, output, arrival_s[-1] + 1, Provenance("drawn"),
        ("any",),
    )  # fmt: skip
    simulation = Simulation(EnvConfig(workload=trace, **cluster(times, seqs)))
    simulation.begin(np.zeros(1, np.uint64))
    sojourns_s = np.zeros(count)
    while not simulation.state.envs["over"][0]:
        simulation.step(np.zeros(1, np.int64))
        done = simulation.completions
        sojourns_s[done["decision"]] = done["finish_s"] - done["arrival_s"]
    assert (sojourns_s > 0).all()
    return float(sojourns_s[count // 10 :].mean())


def check(found: list[float], theory_s: float, name: str) -> str:
    spread = np.std(found, ddof=1) / math.sqrt(len(found))
    half = float(student.ppf((1 + CONFIDENCE) / 2, len(found) - 1)) * spread
    mean = float(np.mean(found))
    words = f"{name} theory {theory_s:.6f} s, simulation {mean:.6f} +- {half:.6f}"
    assert abs(mean - theory_s) <= half, words
    assert half < 0.12 * theory_s, "an interval this wide would prove nothing"
    return words


def md1(utilisation: float, requests: int, replications: int) -> str:
    service_s = TOKENS * TOKEN_S
    output, rate_per_s = np.full(requests, TOKENS, np.int32), utilisation / service_s
    found = [mean_sojourn_s(ALONE, 1, rate_per_s, output, seed) for seed in range(replications)]
    theory_s = wait_md1_s(rate_per_s, service_s) + service_s
    return check(found, theory_s, f"M/D/1 {utilisation:.2f}")


def sharing(utilisation: float, mean: int, requests: int, replications: int) -> str:
    """Of answers of geometric length: the first token is written with the prompt, for nothing."""
    rng = np.random.default_rng(1)
    outputs = [1 + rng.geometric(1 / mean, requests).astype(np.int32) for _ in range(replications)]
    service_s = mean * TOKEN_S
    rate_per_s = utilisation / service_s
    found = [
        mean_sojourn_s(SHARED, 2048, rate_per_s, output, seed)
        for seed, output in enumerate(outputs)
    ]
    return check(found, service_s / (1 - utilisation), f"sharing {utilisation:.2f}")


@pytest.mark.parametrize("utilisation", [0.3, 0.7])
def test_one_at_a_time_is_md1(utilisation: float):
    md1(utilisation, 3000, 24)


@pytest.mark.parametrize("utilisation", [0.5])
def test_steps_that_take_as_long_as_they_are_wide_share_the_instance(utilisation: float):
    sharing(utilisation, 200, 2000, 24)


@pytest.mark.verify
@pytest.mark.parametrize("utilisation", [0.3, 0.5, 0.7, 0.8, 0.9])
def test_one_at_a_time_is_md1_thoroughly(utilisation: float, record_property):
    record_property("figure", md1(utilisation, 60_000, 32))


@pytest.mark.verify
@pytest.mark.parametrize("utilisation", [0.3, 0.5, 0.7, 0.8])
def test_sharing_thoroughly(utilisation: float, record_property):
    record_property("figure", sharing(utilisation, 400, 30_000, 32))
