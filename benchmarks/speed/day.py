"""A day of Azure Functions load under a heuristic: 86 million requests in one episode."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.compiled.making import largest_feasible
from agents.compiled.policies import UNCOUNTED, walk_all
from llmroute_env.config import EnvConfig
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation
from traces import catalog
from traces.processes.arrivals import counts_to_arrivals
from traces.tasks import TASKS, TaskMix
from traces.trace import Provenance, Trace

DAY_S, RATE_PER_S = 86_400.0, 1000.0
MINUTE_S = 60.0
BYTES_PER_KIB = 1024


class Day(NamedTuple):
    """What the day took; `peak_bytes` is of the whole process, the interpreter included."""

    requests: int
    make_s: float
    evaluate_s: float
    peak_bytes: int
    utility_of_peak: float


def evaluate_day(scenario: str, fields: Mapping[str, Any], seed: int = 0) -> Day:
    """Make a day of arrivals and route it by largest-feasible, compiled into the loop.

    `fields` of EnvConfig replace the scenario's; with a workload there is no day to be made.
    """
    begin_s = time.perf_counter()
    config = configure(scenario, **{"split": "all", "window_s": math.inf, **fields})
    if "workload" not in fields:
        trace = day_of_arrivals(np.random.default_rng(seed), tells_tasks=has_usual_tasks(config))
        config = replace(config, workload=trace, load=fields.get("load"))
    simulation = Simulation(config, logs_completions=False)
    policy = largest_feasible(config, 0.45)
    everyone = np.ones(1, np.bool_)
    simulation.reset(everyone)
    made_s = time.perf_counter()
    requests = int(walk_all(policy, simulation.world, UNCOUNTED))
    done_s = time.perf_counter()
    result = simulation.summary(0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_KIB
    return Day(requests, made_s - begin_s, done_s - made_s, peak, result["utility_of_peak"])


def has_usual_tasks(config: EnvConfig) -> bool:
    """Whether all tasks are those of the shipped profiles, and equally frequent."""
    return config.tasks == TASKS and config.mix == TaskMix()


def day_of_arrivals(rng: np.random.Generator, tells_tasks: bool) -> Trace:
    """Three times the eight hours of the bundled sample, scaled to RATE_PER_S; cv 4.

    Unless it `tells_tasks`, they are left to the environment's mix.
    """
    counts = catalog.load_counts("maf2019-500fn").total
    scaled = counts * (RATE_PER_S * MINUTE_S / counts.mean())
    part_s = len(counts) * MINUTE_S
    parts = [counts_to_arrivals(scaled, MINUTE_S, 4.0, rng) for _ in range(int(DAY_S / part_s))]
    for number, part in enumerate(parts):
        part += number * part_s
    arrival_s = np.concatenate(parts)
    requests = len(arrival_s)
    return Trace(
        arrival_s=arrival_s,
        task=rng.integers(len(TASKS), size=requests, dtype=np.int16),
        prompt_tokens=constant(128, requests),
        output_tokens=constant(8, requests),
        span_s=DAY_S,
        provenance=Provenance("three times maf2019-500fn at 1000/s"),
        has_tasks=tells_tasks,
    )


def constant(value: int, size: int) -> NDArray[np.int32]:
    """`value` as an array of `size` that takes no memory."""
    return np.broadcast_to(np.int32(value), size)
