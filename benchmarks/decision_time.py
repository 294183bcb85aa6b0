"""How long one decision takes on one core, by every way in which a router can be asked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.base import Agent
from agents.compiled_decisions import CompiledRouter
from agents.decisions import DecideOne, ways_to_decide
from agents.loading import load_trained
from benchmarks.runner import episode_seeds
from llmroute_env.config import EnvConfig
from llmroute_env.scenarios import configure
from llmroute_env.simulation import Simulation

DECISIONS = 20_000
WARM_UP = 1_000
ROUNDS = 5
"""In each round every way has its turn: what slows one slows the others."""
LOOP = 100
"""Decisions that the compiled loop takes between two looks at the clock."""

Timer = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""From observations to the seconds that decisions about them took."""

ENVS = 16
"""Episodes from which observations are taken."""


def measure_decisions(name: str, decisions: int = DECISIONS) -> dict[str, Any]:
    """p50 and p99 in microseconds of each way, as `llmroute speed --decisions --json` prints them.

    Each way answers for the same observations, which the router itself visits in test episodes of
    the scenario that it was trained on, one at a time.
    """
    agent = load_trained(name)
    fields = agent.card.fields
    config = configure(agent.card.scenario, observation=agent.observation, split="test", **fields)
    rows = visited(agent, config, decisions)
    ways: dict[str, Timer] = {
        way: partial(each, decide) for way, decide in ways_to_decide(agent, config).items()
    }
    ways["compiled loop"] = partial(in_loop, CompiledRouter(agent, config))
    with one_core():
        for timer in ways.values():
            timer(rows[:WARM_UP])
        rounds = [
            {way: quantiles_us(timer(part)) for way, timer in ways.items()}
            for part in np.array_split(rows, ROUNDS)
        ]
    medians = {way: np.median([r[way] for r in rounds], axis=0).round(3) for way in ways}
    return {
        "agent": name,
        "scenario": agent.card.scenario,
        "decisions": decisions,
        "decisions_per_look_at_the_clock": {way: LOOP if "loop" in way else 1 for way in ways},
        "decision_us": {way: {"p50": m[0], "p99": m[1]} for way, m in medians.items()},
    }


def visited(agent: Agent, config: EnvConfig, count: int) -> NDArray[np.float32]:
    """`count` observations that `agent` meets on its own way through episodes, shape (count, F)."""
    config = replace(config, observation=agent.observation)
    simulation = Simulation(config, ENVS, logs_completions=False)
    everyone = np.ones(ENVS, np.bool_)
    simulation.seed(everyone, episode_seeds(0, ENVS))
    simulation.reset(everyone)
    agent.begin(ENVS, np.random.default_rng(0))
    parts: list[NDArray[np.float32]] = []
    while sum(map(len, parts)) < count and not simulation.outputs.terminated.all():
        observations = simulation.outputs.observations
        parts.append(observations[~simulation.outputs.terminated].copy())
        simulation.step(agent.act(observations))
    rows = np.concatenate(parts)
    # Episodes shorter than asked for are met again.
    return rows[np.arange(count) % len(rows)]


def each(decide: DecideOne, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Seconds of every decision."""
    taken_s = np.zeros(len(rows))
    for i, row in enumerate(rows):
        started_s = time.perf_counter()
        decide(row)
        taken_s[i] = time.perf_counter() - started_s
    return taken_s


def in_loop(router: CompiledRouter, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Seconds per decision of every LOOP decisions that never return to Python."""
    taken_s = []
    for start in range(0, len(rows) - LOOP + 1, LOOP):
        block = rows[start : start + LOOP]
        started_s = time.perf_counter()
        router.act(block)
        taken_s.append((time.perf_counter() - started_s) / LOOP)
    return np.array(taken_s)


def quantiles_us(taken_s: NDArray[np.float64]) -> tuple[float, float]:
    """p50 and p99, in microseconds."""
    p50, p99 = np.quantile(1e6 * taken_s, [0.5, 0.99]).tolist()
    return p50, p99


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process to one core, where the system knows how to."""
    allowed: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    if allowed is None:
        yield
        return
    before = allowed(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
