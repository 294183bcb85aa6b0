"""How long one decision takes on one core, by every way in which a router can be asked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.base import Agent, for_agent
from agents.loading import load_trained
from agents.runs.trained import memoryless
from agents.serving.compiled import CompiledRouter
from agents.serving.ways import one_thread, ways_to_decide
from agents.settings.families import configurations
from llmroute_env.config import EnvConfig
from llmroute_env.recording.serialization import from_plain
from llmroute_env.simulation.episodes import episode_seeds
from llmroute_env.simulation.simulation import Simulation

DECISIONS = 20_000
WARM_UP = 1_000
ROUNDS = 5
"""In each round every way has its turn: what slows one slows the others."""
LOOP = 100
"""Decisions that the compiled loop takes between two looks at the clock."""

ENVS = 16
"""Episodes from which observations are taken."""


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.thread_time}
"""The second stands still while other processes have the core; it costs half a microsecond."""


@dataclass(frozen=True)
class Way:
    """Something that decides for `block` observations at a time."""

    decide: Callable[[NDArray[np.float32]], Any]
    block: int

    def taken_us(self, rows: NDArray[np.float32], clock: Callable[[], float]) -> list[float]:
        """Microseconds per decision of every call, for all of `rows` that fill a block."""
        starts = range(0, len(rows) - self.block + 1, self.block)
        blocks = [rows[i : i + self.block] if self.block > 1 else rows[i] for i in starts]
        taken_us = []
        for block in blocks:
            started_s = clock()
            self.decide(block)
            taken_us.append(1e6 * (clock() - started_s) / self.block)
        return taken_us


def measure_decisions(
    name: str, config: EnvConfig | None = None, decisions: int = DECISIONS
) -> dict[str, Any]:
    """p50 and p99 in microseconds of each way, as `llmroute speed decisions --json` prints them.

    Each way answers for the same observations, one at a time, which the router itself visits in
    episodes of `config`; by default those are test episodes of what it was trained on, of a family
    its first scenario.

    Raises:
        ConfigError: a router that remembers, and so cannot answer for single observations.
    """
    agent = memoryless(load_trained(name, config), "`llmroute speed decisions`")
    if config is None:
        fields = {**from_plain(dict(agent.card.fields), "fields"), "split": "test"}
        config = configurations(agent.card.scenario, fields)[0]
    config = for_agent(config, agent)
    rows = visited(agent, config, decisions)
    ways = {way: Way(decide, 1) for way, decide in ways_to_decide(agent, config).items()}
    ways["compiled loop"] = Way(CompiledRouter(agent, config).act, LOOP)
    with one_core(), one_thread():
        for way in ways.values():
            way.taken_us(rows[:WARM_UP], time.perf_counter)
        rounds = [
            {way: quantiles(ways[way], part) for way in ways}
            for part in np.array_split(rows, ROUNDS)
        ]
    return {
        "agent": name,
        "scenario": agent.card.scenario,
        "decisions": decisions,
        "decisions_per_call": {name: way.block for name, way in ways.items()},
        "decision_us": {way: medians([found[way] for found in rounds]) for way in ways},
    }


def quantiles(way: Way, rows: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """p50 and p99 in microseconds by each clock."""
    times = {name: way.taken_us(rows, clock) for name, clock in CLOCKS.items()}
    return {name: np.quantile(taken_us, [0.5, 0.99]) for name, taken_us in times.items()}


def medians(rounds: list[dict[str, NDArray[np.float64]]]) -> dict[str, float]:
    """Medians over rounds of what `quantiles` found, by names."""
    found = {clock: np.median([r[clock] for r in rounds], axis=0).round(3) for clock in CLOCKS}
    return {
        f"{quantile}_{clock}": float(found[clock][i])
        for clock in CLOCKS
        for i, quantile in enumerate(("p50", "p99"))
    }


def visited(agent: Agent, config: EnvConfig, count: int) -> NDArray[np.float32]:
    """`count` observations that `agent` meets on its own way through episodes, shape (count, F)."""
    config = for_agent(config, agent)
    simulation = Simulation(config, ENVS, logs_completions=False)
    simulation.begin(episode_seeds(0, ENVS))
    agent.begin(ENVS, np.random.default_rng(0))
    parts: list[NDArray[np.float32]] = []
    while sum(map(len, parts)) < count and not simulation.outputs.terminated.all():
        observations = simulation.outputs.observations
        parts.append(observations[~simulation.outputs.terminated].copy())
        simulation.step(agent.act(observations))
    rows = np.concatenate(parts)
    # Episodes shorter than asked for are met again.
    return rows[np.arange(count) % len(rows)]


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
