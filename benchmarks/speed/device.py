"""How fast envs step on a CUDA device, beside the CPU's in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.speed.rates import Effort, Stepper, rate
from llmroute_env.config import EnvConfig
from llmroute_env.cuda.memory import Memory
from llmroute_env.cuda.simulation import DeviceSimulation, Setting
from llmroute_env.cuda.vector_env import at_hand
from llmroute_env.dynamics.stepping import SAME_STEP
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import ConfigError

ENVS = (1024, 8192, 65_536, 262_144, 1_048_576)

ROUNDS = 16
"""Sets of actions, drawn beforehand."""

BESIDE = 4096
"""Envs of the CPU: more are no faster there."""


def measure_device(
    effort: Effort, scenario: str, fields: Mapping[str, Any], envs: Sequence[int] = ENVS
) -> dict[str, Any]:
    """Figures by number of envs, as `llmroute speed rates --device cuda --json` prints them.

    Raises:
        ConfigError: no device is there.
    """
    return measure_in(at_hand(), effort, configure(scenario, **fields), envs)


def measure_in(
    memory: Memory, effort: Effort, config: EnvConfig, envs: Sequence[int]
) -> dict[str, Any]:
    """The same in a memory; more envs than fit into it have no figures, but say why."""
    cpu = [rate(cpu_steps(config), effort.seconds) for _ in range(effort.rounds)]
    return {
        "device": memory.name,
        "cpu_steps_per_s": statistics.median(cpu),
        "cpu_envs": BESIDE,
        "envs": {str(n): figures(memory, effort, config, n) for n in envs},
    }


def figures(memory: Memory, effort: Effort, config: EnvConfig, envs: int) -> dict[str, Any]:
    """Steps per second, seconds until the first had been taken, and bytes per env."""
    try:
        started_s = time.perf_counter()
        simulation = begun(memory, config, envs)
        steps = device_steps(simulation)
        steps()
        first_s = time.perf_counter() - started_s
        rates = [rate(steps, effort.seconds) for _ in range(effort.rounds)]
    except ConfigError as error:
        return {"refused": str(error)}
    return {
        "steps_per_s": statistics.median(rates),
        "first_s": first_s,
        "bytes_per_env": simulation.bytes_per_env,
    }


def begun(memory: Memory, config: EnvConfig, envs: int) -> DeviceSimulation:
    """So many envs at the begin of their episodes, which follow each other in the same step."""
    simulation = DeviceSimulation(config, envs, memory, Setting(SAME_STEP))
    simulation.begin(np.arange(envs, dtype=np.uint64))
    return simulation


def device_steps(simulation: DeviceSimulation) -> Stepper:
    """Steps with random actions that lie on the device, until the last has been taken."""
    rng, memory, envs = np.random.default_rng(0), simulation.memory, simulation.envs
    drawn = (rng.integers(simulation.actions, size=envs) for _ in range(ROUNDS))
    actions = [memory.put(one) for one in drawn]

    def steps() -> int:
        # Each waits for what came of the one before: no step is under way when this returns.
        for one in actions:
            simulation.step(one)
        return len(actions) * envs

    return steps


def cpu_steps(config: EnvConfig, envs: int = BESIDE) -> Stepper:
    """The same on one core of the CPU."""
    simulation = Simulation(config, envs, SAME_STEP, logs_completions=False)
    simulation.begin(np.arange(envs, dtype=np.uint64))
    rng = np.random.default_rng(0)
    actions = [rng.integers(simulation.actions, size=envs) for _ in range(ROUNDS)]

    def steps() -> int:
        for one in actions:
            simulation.step(one)
        return len(actions) * envs

    return steps
