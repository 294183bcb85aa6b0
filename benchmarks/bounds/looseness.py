"""How loose the upper bound is: bound / exact optimum on small instances of rising congestion.

Ten requests cannot congest the default cluster, whose batches hold more. The miniature has one
GPU and batch limits of a few requests, under a deadline that fits one batch of the largest model
after another.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.bounds.exact import best_routing, best_schedule
from benchmarks.bounds.upper import bound_by_events, episodes, peak
from llmroute_env.config import EnvConfig
from llmroute_env.specs import Deadline, Pool, require
from traces.tasks import TaskMix
from traces.trace import Provenance, Trace

LOADS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
LIMITS = (2, 3, 4)
"""Of batches, from the largest model to the smallest."""
FEW = 5
"""First requests of an instance, of which every free schedule is tried."""
MINIATURE = EnvConfig(
    pools=(Pool(1),),
    deadline=Deadline(0.25),
    max_batch=dict(zip(reversed(EnvConfig().model_names), LIMITS, strict=True)),
    window_s=math.inf,
    split="all",
)


@dataclass(frozen=True)
class Looseness:
    """One row: means over the instances of one load, and the worst.

    Attributes:
        load: arrival rate over what the largest model sustains in full batches.
        optimum: utility of the best action sequence, as a share of the peak.
        bound: upper bound / that utility; `worst_bound` is the largest.
        free_bound: upper bound / utility of the best free schedule, of the FEW first requests;
            the rest of the looseness is what routers cannot do: hold requests back.
    """

    load: float
    optimum: float
    bound: float
    worst_bound: float
    free_bound: float


def looseness(
    rng: np.random.Generator,
    loads: Sequence[float] = LOADS,
    instances: int = 10,
    requests: int = 9,
) -> list[Looseness]:
    """Bound over optimum on `instances` random instances per load of the miniature.

    Raises:
        ConfigError: no instance, or not more than FEW requests.
    """
    require(instances > 0, "instances", instances, "an integer > 0")
    require(requests > FEW, "requests", requests, f"an integer > {FEW}")
    return [_looseness_at(load, instances, requests, rng) for load in loads]


def _looseness_at(
    load: float, instances: int, requests: int, rng: np.random.Generator
) -> Looseness:
    traces = [_trace(load, requests, rng) for _ in range(instances)]
    ratios = np.array([_ratios(trace) for trace in traces])
    optimum, bound, free_bound = (float(mean) for mean in ratios.mean(axis=0))
    return Looseness(load, optimum, bound, float(ratios[:, 1].max()), free_bound)


def _ratios(trace: Trace) -> tuple[float, float, float]:
    """(optimum / peak, bound / optimum, bound / best free schedule of the FEW first)."""
    config, few = _configure(trace), _configure(_first(trace, FEW))
    seeds = np.zeros(1, np.uint64)
    (instance,), (start,) = episodes(config, seeds), episodes(few, seeds)
    optimum = best_routing(config, 0)
    bound, free_bound = bound_by_events(instance), bound_by_events(start)
    return optimum / peak(instance), bound / optimum, free_bound / best_schedule(start)


def _trace(load: float, requests: int, rng: np.random.Generator) -> Trace:
    """Poisson arrivals, all tasks alike."""
    largest = MINIATURE.largest_model
    batch = MINIATURE.batch_limit(largest)
    mean_gap_s = largest.batch_latency_s[batch - 1] / batch / load
    arrival_s = np.cumsum(rng.exponential(mean_gap_s, requests))
    return Trace(
        arrival_s=arrival_s,
        task=TaskMix().sample(arrival_s, rng),
        prompt_tokens=np.full(requests, 128, np.int32),
        output_tokens=np.full(requests, 8, np.int32),
        span_s=float(arrival_s[-1]) + mean_gap_s,
        provenance=Provenance(f"Poisson arrivals at load {load:g} of a miniature"),
    )


def _first(trace: Trace, requests: int) -> Trace:
    return trace.slice(0.0, float(trace.arrival_s[requests]))


def _configure(trace: Trace) -> EnvConfig:
    return dataclasses.replace(MINIATURE, workload=trace, load=None)
