"""How fast continuous batching is: requests and steps a second, and what the cost depends on.

Machines are noisy: leaping is measured in turn with the same code that takes every step by itself.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from agents.compiled.making import largest_feasible
from agents.compiled.policies import UNCOUNTED, walk_all
from benchmarks.speed.rates import ENVS, Effort, Stepper, compare, rate, vector
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import DEFAULT_FEATURES
from llmroute_env.engine_specs import Engine
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import Deadline, Pool, require
from traces.lengths import FixedLengths
from traces.tasks import TaskMix
from traces.workloads import PoissonArrivals, TraceReplay

INSTANCES = (1, 4, 16, 64, 256)
RUNNING = (1, 10, 100, 1000)
LOADS = (0.5, 1.0, 2.0, 4.0)
MARGIN = 0.65

DEFAULT = "chat-and-code"

ONE_SIZE = {"pools": (Pool(1, ("qwen2.5-7b",), "h100-sxm"),), "deadline": Deadline(math.inf)}
ALIKE = {task: FixedLengths(100, 300) for task in configure(DEFAULT).tasks}


def measure_engines(effort: Effort, scenario: str = DEFAULT, **fields: Any) -> dict[str, Any]:
    """All figures, as `llmroute speed engines --json` prints them; `fields` of EnvConfig.

    Raises:
        ConfigError: an environment whose service model takes no steps.
    """
    config = configure(scenario, **{"observation": DEFAULT_FEATURES, **fields})
    require(config.service == "continuous", "service", config.service, "continuous")
    leaping, stepping, gain = compare(walker(config), walker(config, most_leap=1), effort)
    return {
        "heuristic_requests_per_s": leaping,
        "stepping_requests_per_s": stepping,
        "leaping_over_stepping": gain,
        "env_steps_per_s": {
            str(envs): warm_rate(vector("LLMRoute-v0", envs, scenario=scenario, **fields), effort)
            for envs in ENVS[:4]
        },
        "ns_by_instances": {str(n): cost_ns(of_instances(n), effort) for n in INSTANCES},
        "ns_by_running": {str(n): cost_ns(of_running(n), effort) for n in RUNNING},
        "ns_by_load": {f"{load:g}": cost_ns(replace(config, load=load), effort) for load in LOADS},
        "hour_of_conversations_ms": 1e3 * statistics.median(hour_s() for _ in range(effort.rounds)),
    }


def walker(config: EnvConfig, envs: int = 16, most_leap: int = 0) -> Stepper:
    """Whole episodes under largest-feasible, compiled into the loop."""
    policy = largest_feasible(config, MARGIN)
    simulation = Simulation(config, envs, logs_completions=False)
    if most_leap > 0:
        simulation.cluster.service.engines["most_leap"] = most_leap

    def steps() -> int:
        simulation.begin(np.arange(envs, dtype=np.uint64))
        return int(walk_all(policy, simulation.world, UNCOUNTED))

    return steps


def cost_ns(config: EnvConfig, effort: Effort) -> float:
    """Nanoseconds a request, all that happens to it included."""
    return 1e9 / warm_rate(walker(config, envs=4), effort)


def warm_rate(stepper: Stepper, effort: Effort) -> float:
    """Median rate, after a first call."""
    stepper()
    return statistics.median(rate(stepper, effort.seconds) for _ in range(effort.rounds))


def alike(**fields: Any) -> EnvConfig:
    """Instances of one size, requests that are all alike."""
    own: Mapping[str, Any] = {
        "observation": DEFAULT_FEATURES,
        "workload": PoissonArrivals(600.0),
        "lengths": ALIKE,
        "classes": (),
        "window_s": 60.0,
    }
    return configure(DEFAULT, **{**own, **ONE_SIZE, **fields})


def of_instances(count: int) -> EnvConfig:
    """So many instances, each with as much to do."""
    return alike(pools=(Pool(count, ("qwen2.5-7b",), "h100-sxm"),), load=0.1)


def of_running(count: int) -> EnvConfig:
    """An instance that always runs so many, and has as many waiting."""
    engine = Engine(max_num_seqs=count, max_num_batched_tokens=8192)
    return alike(engine=engine, load=3.0, queue_capacity=max(count, 16))


def hour_s() -> float:
    """Seconds that all of the hour of Azure's conversations takes, at its own rate."""
    simulation = Simulation(hour(), logs_completions=False)
    policy = largest_feasible(hour(), MARGIN)
    simulation.begin(np.zeros(1, np.uint64))
    start_s = time.perf_counter()
    walk_all(policy, simulation.world, UNCOUNTED)
    return time.perf_counter() - start_s


def hour() -> EnvConfig:
    """The 19,366 conversations of Azure LLM inference 2023 on the default cluster."""
    replayed: dict[str, Any] = {
        "workload": TraceReplay("azure-conv"),
        "split": "all",
        "window_s": math.inf,
    }
    mix = TaskMix((1.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    usual = configure(DEFAULT, observation=DEFAULT_FEATURES, classes=(), mix=mix, **replayed)
    return replace(usual, load=19_366 / 3501.9027643657114 / usual.load_1_per_s)
