"""Single queues in the simulator: Poisson arrivals, independent replications, mean waits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from llmroute_env.vector_env import LLMRouteVectorEnv

from .service_case import Case, PoolCase
from .simulator_adapter import fields_of


@dataclass(frozen=True)
class Queue:
    """Poisson arrivals at a cluster whose router ignores what it sees.

    Attributes:
        latency_s: per model its T(1), T(2), ..., as far as its batch limit.
        probability: how often the router picks each model.
    """

    rate_per_s: float
    latency_s: tuple[tuple[float, ...], ...]
    probability: tuple[float, ...] = (1.0,)
    gpus: int = 1


@dataclass(frozen=True)
class Effort:
    """How long to simulate; the first requests of each replication are not counted."""

    replications: int
    requests: int
    uncounted: int


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval, `mean` +- `half_width`."""

    mean: float
    half_width: float

    def __contains__(self, value: float) -> bool:
        return abs(value - self.mean) <= self.half_width


def mean_wait(queue: Queue, effort: Effort, seed: list[int], confidence: float) -> Interval:
    """Mean waiting time in seconds, from independent replications (Student's t)."""
    waits = replicate(queue, effort, np.random.default_rng(seed))
    spread = float(waits.std(ddof=1)) / math.sqrt(len(waits))
    quantile = float(student.ppf((1 + confidence) / 2, len(waits) - 1))
    return Interval(float(waits.mean()), quantile * spread)


AT_ONCE = 500
"""Steps of which the completions are counted together."""

WAITED = ["env", "decision", "arrival_s", "start_s"]


def replicate(queue: Queue, effort: Effort, rng: np.random.Generator) -> NDArray[np.float64]:
    """The mean waiting time of every replication."""
    arrival_rng, action_rng = rng.spawn(2)
    simulation = environment(queue, effort, arrival_rng).simulation
    total_s = np.zeros(effort.replications)
    counted = np.zeros(effort.replications, np.int64)
    models = len(queue.latency_s)
    for first in range(0, effort.requests, AT_ONCE):
        steps = min(AT_ONCE, effort.requests - first)
        size = steps, effort.replications
        parts = []
        for actions in action_rng.choice(models, size, p=queue.probability):
            simulation.step(actions)
            parts.append(simulation.completions[WAITED].copy())
        ended = np.concatenate(parts)
        ended = ended[ended["decision"] >= effort.uncounted]
        waits_s = ended["start_s"] - ended["arrival_s"]
        total_s += np.bincount(ended["env"], waits_s, effort.replications)
        counted += np.bincount(ended["env"], minlength=effort.replications)
    assert (counted == effort.requests - effort.uncounted).all(), "nobody is turned away"
    return total_s / counted


def environment(queue: Queue, effort: Effort, rng: np.random.Generator) -> LLMRouteVectorEnv:
    """One env per replication, each with its own stretch of a long Poisson stream."""
    requests = effort.replications * effort.requests
    arrivals_s = rng.exponential(1 / queue.rate_per_s, requests).cumsum()
    fields, ones = fields_of(case_of(queue)), np.ones(requests, np.int32)
    fields["workload"] = replace(
        fields["workload"],
        arrival_s=arrivals_s,
        task=np.zeros(requests, np.int16),
        prompt_tokens=ones,
        output_tokens=ones,
        span_s=arrivals_s[-1] + 1.0,
    )
    env = LLMRouteVectorEnv(
        effort.replications,
        "stable",
        autoreset_mode="Disabled",
        completions=True,
        copy=False,
        **fields,
    )
    env.reset(seed=0)
    # Windows drawn by `reset` may overlap; replications must not.
    first = np.arange(effort.replications) * effort.requests
    envs = env.simulation.state.envs
    envs["first"], envs["end"] = first, first + effort.requests
    envs["tape_start_s"], envs["now_s"] = arrivals_s[first], 0.0
    return env


def case_of(queue: Queue) -> Case:
    """The queue as a case without deadlines, of one request."""
    tables = dict(enumerate(queue.latency_s))
    return Case(
        pools=(PoolCase(queue.gpus, tables, {m: len(table) for m, table in tables.items()}),),
        accuracy=((1.0,) * len(tables),),
        arrivals_s=(0.0,),
        tasks=(0,),
        actions=(0,),
        deadlines_s=(math.inf,),
        queue_capacity=4096,
    )
