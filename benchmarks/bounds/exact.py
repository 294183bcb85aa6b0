"""The exact optimum of small instances, by trying everything; what the bound is tested against."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.bounds.instance import Floats, Instance, Integers
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.reward import decay
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import require

SIDE_BY_SIDE = 4096
SOME = 512
"""Envs where sequences grow longer, at least: of such there are more than at first."""
MOST_SEQUENCES = 20_000_000


def best_routing(config: EnvConfig, seed: int) -> float:
    """The utility of the best of all action sequences for the episode of `seed`.

    Every sequence runs through the simulator: one env each, all in the same episode, SIDE_BY_SIDE
    at a time. Those that leave requests to decide on once more go on, with every action.

    Raises:
        ConfigError: more than MOST_SEQUENCES sequences.
    """
    requests = _requests(config, seed)
    # A queue that can hold them all behaves like a longer one, and is quicker to clear.
    config = dataclasses.replace(config, queue_capacity=min(config.queue_capacity, requests))
    tried, accepted = config.actions**requests, f"at most {MOST_SEQUENCES} action sequences"
    require(tried <= MOST_SEQUENCES, "requests", requests, accepted)
    together = min(max(tried, SOME if config.comes_back else 1), SIDE_BY_SIDE)
    simulation, best = Simulation(config, together, logs_completions=False), -math.inf
    for sequences in _sequences(config.actions, requests):
        while len(sequences):
            utility, over = _play_all(simulation, seed, sequences)
            best = max(best, float(utility[over].max(initial=-math.inf)))
            tried += config.actions * int((~over).sum())
            require(tried <= MOST_SEQUENCES, "requests", requests, accepted)
            sequences = _continued(sequences[~over], config.actions)
    return best


def _sequences(actions: int, length: int) -> Iterator[Integers]:
    """All of them, shape (n, length) at a time: the digits of numbers in base `actions`."""
    for start in range(0, actions**length, SIDE_BY_SIDE):
        numbers = np.arange(start, min(start + SIDE_BY_SIDE, actions**length))
        yield numbers[:, None] // actions ** np.arange(length) % actions


def _continued(sequences: Integers, actions: int) -> Integers:
    """Each followed by every action."""
    again = np.repeat(sequences, actions, axis=0)
    return np.column_stack([again, np.tile(np.arange(actions), len(sequences))])


def _requests(config: EnvConfig, seed: int) -> int:
    simulation = Simulation(config)
    _begin(simulation, seed)
    env = simulation.state.envs[0]
    return int(env["end"] - env["first"])


def _begin(simulation: Simulation, seed: int) -> None:
    simulation.begin(np.full(len(simulation.state.envs), seed, np.uint64))


def _play_all(
    simulation: Simulation, seed: int, sequences: Integers
) -> tuple[Floats, NDArray[np.bool_]]:
    """Utility after each sequence of actions, and whether the episode is over then."""
    together = len(simulation.state.envs)
    parts = [sequences[i : i + together] for i in range(0, len(sequences), together)]
    utility, over = zip(*(_play(simulation, seed, part) for part in parts), strict=True)
    return np.concatenate(utility), np.concatenate(over)


def _play(
    simulation: Simulation, seed: int, sequences: Integers
) -> tuple[Floats, NDArray[np.bool_]]:
    """The same of as many sequences as there are envs, at most."""
    _begin(simulation, seed)
    envs = simulation.state.envs
    # Envs for which there is none run the last one too.
    chosen = np.minimum(np.arange(len(envs)), len(sequences) - 1)
    for actions in sequences.T:
        simulation.step(actions[chosen])
    utility, over = (envs[name][: len(sequences)] for name in ("utility", "over"))
    return utility.copy(), over.astype(np.bool_)


def best_schedule(instance: Instance) -> float:
    """The utility of the best free schedule: batches of any requests, on any GPU, at any time.

    A batch need not wait longer than for its requests and for its GPU to be free and to stay up, as
    utility never rises with time; so orders of batches per GPU are all there is to try. Who is in
    none is turned away. For up to six requests or so.
    """
    gpus = _gpus_of(instance)

    @cache
    def best(remaining: tuple[int, ...], free_s: tuple[float, ...]) -> float:
        most = instance.given_up * len(remaining)
        for number, gpu in enumerate(gpus):
            for model, batch in _batches(instance, gpu.pool, remaining):
                finish_s, utility = _run(instance, gpu, model, batch, free_s[number])
                if utility > 0:
                    rest = tuple(r for r in remaining if r not in batch)
                    after = (*free_s[:number], finish_s, *free_s[number + 1 :])
                    most = max(most, utility + best(rest, after))
        return most

    return best(tuple(range(len(instance.arrival_s))), (0.0,) * len(gpus))


class _Gpu(NamedTuple):
    """A GPU: its pool, and when it is up."""

    pool: int
    runs: Floats

    def start_s(self, from_s: float, length_s: float) -> float:
        """When it first is up for so long, from a moment on."""
        begins_s = np.maximum(self.runs[:, 0], from_s)
        long = begins_s + length_s <= self.runs[:, 1]
        return float(begins_s[long].min(initial=math.inf))


def _gpus_of(instance: Instance) -> list[_Gpu]:
    sizes = enumerate(instance.cluster.pools["gpus"])
    return [_Gpu(p, instance.up.of_gpu(p, number)) for p, size in sizes for number in range(size)]


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
    instance: Instance, gpu: _Gpu, model: int, batch: tuple[int, ...], free_s: float
) -> tuple[float, float]:
    """(finish, utility) of a batch on a GPU that is free from `free_s` on."""
    cluster, kinds = instance.cluster, instance.kind[list(batch)]
    length_s = float(cluster.service.batch_s[gpu.pool, model, len(batch)])
    ready_s = max(free_s, float(instance.arrival_s[max(batch)]))
    finish_s = gpu.start_s(ready_s, length_s) + length_s
    terms = instance.terms[kinds]
    late_s: NDArray[np.float64] = finish_s - instance.arrival_s[list(batch)] - terms["deadline_s"]
    kept = [
        decay(int(own["decay"]), float(own["grace_s"]), float(late))
        for own, late in zip(terms, late_s, strict=True)
    ]
    return finish_s, float(np.dot(kept, instance.utility[kinds, model]))
