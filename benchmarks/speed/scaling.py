"""How the cost of a step grows: with GPUs, models, the length of queues, and envs."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drawing import COLORS, new_figure
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.stepping import SAME_STEP
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import Pool, Profile
from traces.workloads import PoissonArrivals

STEPS = 400
ROUNDS = 5
FEATURES = ("task", "slow_rate", "slack")


def many_models(base: Profile, count: int) -> Profile:
    """The profile's second model under `count` names, small enough to share a GPU."""
    second = base.models[:2][-1]
    small = dataclasses.replace(second, weights_bytes=1, kv_bytes_per_token=0)
    models = tuple(dataclasses.replace(small, name=f"model-{m}") for m in range(count))
    return dataclasses.replace(base, models=models)


def cluster(base: EnvConfig, gpus: int = 4, models: int = 3, **fields: Any) -> EnvConfig:
    """`base` on `gpus` GPUs that all host `models` models; its load is per GPU."""
    profile = many_models(base.resolved_profile, models)
    own = {"profile": profile, "pools": (Pool(gpus),), "max_batch": {}, **fields}
    return dataclasses.replace(base, **own)


def full_queues(base: EnvConfig, capacity: int) -> EnvConfig:
    """Queues that are always full: arrivals far beyond what can be served, nothing shed."""
    return cluster(base, queue_capacity=capacity, load=50.0, shed_expired=False)


AXES: Mapping[str, tuple[tuple[int, ...], Callable[[EnvConfig, int], EnvConfig]]] = {
    "GPUs": ((1, 4, 16, 64, 256), lambda base, count: cluster(base, gpus=count)),
    "models": ((1, 4, 16, 64), lambda base, count: cluster(base, models=count)),
    "requests a queue holds": ((8, 64, 512, 4096), full_queues),
    "envs": ((1, 16, 256, 1024, 4096), lambda base, count: cluster(base)),
}


def measure_scaling(scenario: str, fields: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """Median nanoseconds per step along each axis; 16 envs, where their number is not the axis.

    `fields` of EnvConfig replace the scenario's; clusters and what stands on an axis are given.
    """
    base = configure(scenario, **{"observation": FEATURES, **fields})
    if "workload" not in fields:
        # Hundreds of fast GPUs have more arrivals in an hour than fit into memory.
        span_s = 2 * base.window_s if 60 < base.window_s < math.inf else 120.0
        own = {"workload": PoissonArrivals(span_s), "load": fields.get("load", 1.0)}
        base = dataclasses.replace(base, **own)
    # All of them before the first is measured: some may not be possible.
    configs = {axis: {n: make(base, n) for n in sizes} for axis, (sizes, make) in AXES.items()}
    return {
        axis: {n: step_ns(config, n if axis == "envs" else 16) for n, config in made.items()}
        for axis, made in configs.items()
    }


def step_ns(config: EnvConfig, envs: int) -> float:
    """Nanoseconds per env step under random actions, warmed up."""
    simulation = Simulation(config, envs, autoreset=SAME_STEP, logs_completions=False)
    rng = np.random.default_rng(0)
    simulation.begin(rng.integers(2**63, size=envs).astype(np.uint64))
    actions = rng.integers(simulation.actions, size=(STEPS, envs))
    times_ns = []
    for _ in range(ROUNDS + 1):
        start_ns = time.perf_counter_ns()
        for row in actions:
            simulation.step(row)
        times_ns.append((time.perf_counter_ns() - start_ns) / actions.size)
    return statistics.median(times_ns[1:])


def save_scaling_figure(path: Path, scaling: Mapping[str, Mapping[int, float]]) -> None:
    """One panel per axis, both logarithmic: a flat line is a cost that does not grow."""
    figure, axes = new_figure(len(scaling), 1, (9.0, 2.4 * len(scaling)))
    for axis, (name, costs), color in zip(axes[:, 0], scaling.items(), COLORS, strict=False):
        axis.plot(list(costs), list(costs.values()), "o-", color=color)
        axis.set(xscale="log", yscale="log", xlabel=name, ylabel="ns per step")
        axis.set_xticks(list(costs), [str(size) for size in costs], minor=False)
        axis.minorticks_off()
        axis.set_ylim(min(costs.values()) / 3, max(costs.values()) * 3)
        for size, cost in costs.items():
            offset = (0, 7)
            axis.annotate(
                f"{cost:.0f}", (size, cost), offset, textcoords="offset points", ha="center"
            )
    figure.savefig(path, dpi=120)
