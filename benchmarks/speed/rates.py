"""How fast: our environments beside CartPole's, measured in turn in one run, as ratios.

Machines are noisy and differ. A and B are measured alternately, A B A B, and the medians and the
median of the pairwise ratios are reported: what slows one slows the other.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import llmroute_env  # noqa: F401 - registers the ids
from agents.compiled.making import largest_feasible
from agents.compiled.policies import UNCOUNTED, walk_all
from agents.runs.plan import Plan
from agents.training.training import train
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.state import State
from llmroute_env.scenarios import USUAL, configure
from llmroute_env.simulation.simulation import Simulation

ENVS = (1, 16, 256, 1024, 4096)
SHARED = (1024, 4096, 16384)
"""Envs that two threads share: waking the other one costs as much as some hundred envs."""

LEARNERS = ("ddqn", "sb3-dqn", "ppo")
PAGE_BYTES = 4096

Stepper = Callable[[], int]
"""Takes some steps and says how many."""


@dataclass(frozen=True)
class Effort:
    """How long to measure: `rounds` alternations of at least `seconds` for each side."""

    rounds: int = 5
    seconds: float = 0.3
    train_decisions: int = 200_000


def measure(effort: Effort, scenario: str = USUAL, **fields: Any) -> dict[str, Any]:
    """All figures, as `llmroute speed rates --json` prints them.

    `scenario` and `fields` of EnvConfig make the environment, but for `heuristic_requests_per_s`,
    which is of `stable` unless something is said, and the times of the first step.
    """
    own: dict[str, Any] = {"scenario": scenario, **fields}
    usual = not fields and scenario == USUAL
    walked = configure("stable") if usual else configure(scenario, **fields)
    pairs = {"single": compare(single("LLMRoute-v0", **own), single("CartPole-v1"), effort)}
    for envs in ENVS:
        ours, theirs = vector("LLMRoute-v0", envs, **own), vector("CartPole-v1", envs)
        pairs[str(envs)] = compare(ours, theirs, effort)
    return {
        "env_steps_per_s": {name: pair[0] for name, pair in pairs.items()},
        "cartpole_steps_per_s": {name: pair[1] for name, pair in pairs.items()},
        "ratio": {name: pair[2] for name, pair in pairs.items()},
        "two_threads": {str(envs): gain_of_two_threads(envs, effort, own) for envs in SHARED},
        "heuristic_requests_per_s": statistics.median(
            rate(heuristic(walked), effort.seconds) for _ in range(effort.rounds)
        ),
        "train_steps_per_s": {
            name: training_rate(name, effort, scenario, fields) for name in LEARNERS
        },
        "bytes_per_env": bytes_per_env(configure(scenario, **fields)),
        "compile_s": compile_times(),
        "import_s": import_time(),
    }


def rate(stepper: Stepper, seconds: float) -> float:
    """Steps per second over at least `seconds`."""
    steps, start_s = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - start_s) < seconds:
        steps += stepper()
    return steps / elapsed_s


def compare(ours: Stepper, theirs: Stepper, effort: Effort) -> tuple[float, float, float]:
    """Median rates of both, and the median of the ratios of neighbouring measurements."""
    for warm_up in (ours, theirs):
        rate(warm_up, effort.seconds / 3)
    pairs = [
        (rate(ours, effort.seconds), rate(theirs, effort.seconds)) for _ in range(effort.rounds)
    ]
    mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    return mine, other, statistics.median(a / b for a, b in pairs)


def gain_of_two_threads(envs: int, effort: Effort, own: Mapping[str, Any]) -> float:
    """Steps/s with two threads over those with one, in the environment `own`."""
    two, one = (vector("LLMRoute-v0", envs, threads=threads, **own) for threads in (2, 1))
    return compare(two, one, effort)[2]


def single(name: str, **options: Any) -> Stepper:
    """100 steps of one env through `gymnasium.make`, random actions drawn beforehand."""
    env = gymnasium.make(name, **options)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(100)]

    def steps() -> int:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return len(actions)

    return steps


def vector(name: str, envs: int, **options: Any) -> Stepper:
    """16 steps of a native vector env through `gymnasium.make_vec`, random actions."""
    mode = "vector_entry_point"
    env = gymnasium.make_vec(name, num_envs=envs, vectorization_mode=mode, **options)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(16)]

    def steps() -> int:
        for action in actions:
            env.step(action)
        return len(actions) * envs

    return steps


def heuristic(config: EnvConfig, envs: int = 64) -> Stepper:
    """Whole episodes under largest-feasible, compiled into the loop."""
    policy = largest_feasible(config, 0.2)
    simulation = Simulation(config, envs, logs_completions=False)
    everyone = np.ones(envs, np.bool_)
    simulation.seed(everyone, np.arange(envs, dtype=np.uint64))

    def steps() -> int:
        simulation.reset(everyone)
        return int(walk_all(policy, simulation.world, UNCOUNTED))

    steps()
    return steps


def training_rate(
    algorithm: str, effort: Effort, scenario: str, fields: Mapping[str, Any]
) -> float | None:
    """Decisions per second of a whole training run, validations included; None if not installed."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(
            Path(folder) / "run",
            scenario,
            fields,
            decisions=effort.train_decisions,
            algorithm=algorithm,
        )
        start_s = time.perf_counter()
        try:
            result = train(plan, shows_progress=False)
        except ImportError:
            return None
        return result.decisions / (time.perf_counter() - start_s)


def bytes_per_env(config: EnvConfig) -> int:
    """Memory in use per env, after a while: what slots never used are not touched."""
    simulation = Simulation(config, 64)
    simulation.begin(np.arange(64, dtype=np.uint64))
    rng = np.random.default_rng(0)
    for _ in range(2000):
        simulation.step(rng.integers(simulation.actions, size=64))
    return touched_bytes(simulation.state) // 64


def touched_bytes(state: State) -> int:
    """Bytes of the pages of `state` that were written: the rings of an env grow side by side."""
    envs, gpus, models = state.queues.shape
    rings = state.queues["room"].reshape(envs, -1).max(axis=1).astype(np.int64)
    slots = state.service.requests
    pages = -(-rings * gpus * models * slots.itemsize // PAGE_BYTES) * PAGE_BYTES
    return state.nbytes - int(slots.nbytes) + int(pages.sum())


def compile_times() -> dict[str, float]:
    """Seconds from the import to the end of the first step, with an empty and with a full cache."""
    program = (
        "import time, gymnasium, llmroute_env\n"
        "start = time.perf_counter()\n"
        "env = gymnasium.make('LLMRoute-v0'); env.reset(seed=0); env.step(0)\n"
        "print(time.perf_counter() - start)"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        return {name: printed_number(program, environment) for name in ("cold", "cached")}


def import_time() -> float:
    """Seconds of `import llmroute_env` once gymnasium and numba are imported."""
    program = (
        "import time, gymnasium, numba\n"
        "start = time.perf_counter()\n"
        "import llmroute_env\n"
        "print(time.perf_counter() - start)"
    )
    return printed_number(program, dict(os.environ))


def printed_number(program: str, environment: dict[str, str]) -> float:
    """What a Python program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])
