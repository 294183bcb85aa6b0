"""The exact optimum of small instances, by trying everything; what the bound is tested against."""

from __future__ import annotations

import dataclasses
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from benchmarks.bounds.instance import Instance
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.reward import decay
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import require

SIDE_BY_SIDE = 4096
MOST_SEQUENCES = 20_000_000


def best_routing(config: EnvConfig, seed: int) -> float:
    """The utility of the best of all action sequences for the episode of `seed`.

    Every sequence runs through the simulator: one env each, all in the same episode, SIDE_BY_SIDE
    at a time.

    Raises:
        ConfigError: more than MOST_SEQUENCES sequences.
    """
    requests = _requests(config, seed)
    # A queue that can hold them all behaves like a longer one, and is quicker to clear.
    config = dataclasses.replace(config, queue_capacity=min(config.queue_capacity, requests))
    sequences = config.actions**requests
    accepted = f"at most {MOST_SEQUENCES} action sequences"
    require(sequences <= MOST_SEQUENCES, "requests", requests, accepted)
    simulation = Simulation(config, min(sequences, SIDE_BY_SIDE), logs_completions=False)
    starts = range(0, sequences, SIDE_BY_SIDE)
    return max(_best_of(simulation, seed, start, requests) for start in starts)


def _requests(config: EnvConfig, seed: int) -> int:
    simulation = Simulation(config)
    _begin(simulation, seed)
    env = simulation.state.envs[0]
    return int(env["end"] - env["first"])


def _begin(simulation: Simulation, seed: int) -> None:
    simulation.begin(np.full(len(simulation.state.envs), seed, np.uint64))


def _best_of(simulation: Simulation, seed: int, start: int, requests: int) -> float:
    """Env e runs sequence number start + e: its digits, in base `actions`, are the actions."""
    _begin(simulation, seed)
    numbers = start + np.arange(len(simulation.state.envs))
    for position in range(requests):
        simulation.step(numbers // simulation.actions**position % simulation.actions)
    return float(simulation.state.envs["utility"].max())


def best_schedule(instance: Instance) -> float:
    """The utility of the best free schedule: batches of any requests, on any GPU, at any time.

    A batch need not wait longer than for its requests and its GPU, as utility never rises with
    time; so orders of batches per GPU are all there is to try. For up to six requests or so.
    """
    cluster = instance.cluster
    pool_of = [int(pool) for pool in cluster.pool_of]

    @cache
    def best(remaining: tuple[int, ...], free_s: tuple[float, ...]) -> float:
        most = 0.0
        for gpu, pool in enumerate(pool_of):
            for model, batch in _batches(instance, pool, remaining):
                finish_s, utility = _run(instance, pool, model, batch, free_s[gpu])
                if utility > 0:
                    rest = tuple(r for r in remaining if r not in batch)
                    after = (*free_s[:gpu], finish_s, *free_s[gpu + 1 :])
                    most = max(most, utility + best(rest, after))
        return most

    return best(tuple(range(len(instance.arrival_s))), (0.0,) * len(pool_of))


def _batches(
    instance: Instance, pool: int, remaining: tuple[int, ...]
) -> list[tuple[int, tuple[int, ...]]]:
    """Every (model, batch) that may run on a GPU of `pool`."""
    return [
        (model, batch)
        for model, limit in enumerate(instance.cluster.batch_limit[pool])
        for size in range(1, min(int(limit), len(remaining)) + 1)
        for batch in combinations(remaining, size)
    ]


def _run(
    instance: Instance, pool: int, model: int, batch: tuple[int, ...], free_s: float
) -> tuple[float, float]:
    """(finish, utility) of a batch on a GPU that is free from `free_s` on."""
    cluster, kinds = instance.cluster, instance.kind[list(batch)]
    start_s = max(free_s, float(instance.arrival_s[max(batch)]))
    finish_s = start_s + float(cluster.service.batch_s[pool, model, len(batch)])
    terms = instance.terms[kinds]
    late_s: NDArray[np.float64] = finish_s - instance.arrival_s[list(batch)] - terms["deadline_s"]
    kept = [
        decay(int(own["decay"]), float(own["grace_s"]), float(late))
        for own, late in zip(terms, late_s, strict=True)
    ]
    return finish_s, float(np.dot(kept, instance.utility[kinds, model]))
