"""Whether envs on a device do what the CPU's do, and by how much they differ where they do not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.compiled.making import largest_feasible, priced_pair
from agents.compiled.policies import CompiledPolicy, episode_scores
from agents.compiled.rules import STEEP
from agents.compiled.threads import device_scores
from llmroute_env.config import EnvConfig
from llmroute_env.cuda.memory import Memory
from llmroute_env.cuda.simulation import DeviceSimulation, Setting
from llmroute_env.dynamics.features import GPU_FEATURES
from llmroute_env.dynamics.stepping import SAME_STEP
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation

SCENARIO = "unpredictable-1"


class Differences:
    """What E envs report on a device beside the CPU's, step after step.

    An env has parted from its twin once time passes differently there: what follows is another
    episode, and is not counted.
    """

    def __init__(self, envs: int) -> None:
        self.parted = np.zeros(envs, np.bool_)
        self.first_step: int | None = None
        self.columns: dict[str, dict[str, float]] = {}

    def note(self, step: int, ours: dict[str, Any], theirs: dict[str, NDArray[Any]]) -> None:
        """Compare what both report, by name, each (E, ...)."""
        for name in ("elapsed_s", "terminated", "truncated"):
            self.parted |= ours[name] != theirs[name]
        if self.first_step is None and self.parted.any():
            self.first_step = step
        for name, expected in theirs.items():
            self._note_column(name, ours[name][~self.parted], expected[~self.parted])

    def _note_column(self, name: str, ours: NDArray[Any], theirs: NDArray[Any]) -> None:
        found = self.columns.setdefault(name, {"values": 0, "differ": 0, "largest": 0.0})
        apart = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        found["values"] += apart.size
        found["differ"] += int((apart > 0).sum())
        found["largest"] = max(found["largest"], float(apart.max(initial=0.0)))


def compare_steps(memory: Memory, config: EnvConfig, envs: int, steps: int) -> dict[str, Any]:
    """Random actions, the same for both: what differs in what steps report, and at the end."""
    device = DeviceSimulation(config, envs, memory, Setting(SAME_STEP))
    cpu = Simulation(config, envs, SAME_STEP, logs_completions=False)
    rng = np.random.default_rng(0)
    seeds = rng.integers(2**64, size=envs, dtype=np.uint64)
    device.begin(seeds)
    cpu.begin(seeds)
    found = Differences(envs)
    for step in range(steps):
        actions = rng.integers(config.actions, size=envs)
        device.step(memory.put(actions))
        cpu.step(actions)
        theirs = {n: a for n, a in cpu.outputs._asdict().items() if a.dtype.names is None}
        found.note(step, {n: memory.get(a) for n, a in device.outputs.items()}, theirs)
    return {
        "envs": envs,
        "steps": steps,
        "parted_envs": int(found.parted.sum()),
        "first_parted_step": found.first_step,
        "columns": found.columns,
        "state_fields_that_differ": differing_fields(device, cpu, ~found.parted),
    }


def differing_fields(
    device: DeviceSimulation, cpu: Simulation, chosen: NDArray[np.bool_]
) -> dict[str, float]:
    """Fields of the state's records of the chosen envs that are not the same, by how much."""
    theirs, found = cpu.state.named, {}
    for name, ours in device.state().named.items():
        # Rows of what routers see are of others than envs.
        if len(ours) != len(chosen):
            continue
        expected = theirs[name] if ours.ndim < 2 else theirs[name][:, : ours.shape[1]]
        for field in ours.dtype.names or ():
            mine, other = ours[field][chosen], expected[field][chosen]
            apart = mine != other
            if apart.any():
                values = mine[apart].astype(np.float64), other[apart].astype(np.float64)
                found[f"{name}.{field}"] = float(np.nanmax(np.abs(values[0] - values[1])))
    return found


def compare_scores(
    memory: Memory, policy: CompiledPolicy, config: EnvConfig, episodes: int
) -> dict[str, Any]:
    """Whole episodes of a heuristic: how many score the same to the last bit."""
    seeds = np.arange(episodes, dtype=np.uint64)
    ours = device_scores(policy, config, seeds, memory)
    theirs = episode_scores(policy, config, seeds)
    return {
        "episodes": episodes,
        "the_same": int((ours == theirs).sum()),
        "largest": float(np.abs(ours - theirs).max()),
        "mean": float(ours.mean()),
        "mean_of_the_cpu": float(theirs.mean()),
    }


def identity(memory: Memory, envs: int, steps: int) -> dict[str, Any]:
    """All of it: steps, and two heuristics, over models and over pairs."""
    models = configure(SCENARIO, window_s=4.0)
    pairs = configure(SCENARIO, window_s=4.0, action="gpu-model", observation=GPU_FEATURES)
    return {
        "steps": compare_steps(memory, models, envs, steps),
        "largest-feasible": compare_scores(memory, largest_feasible(models, 0.4), models, envs),
        "steep-pair": compare_scores(memory, priced_pair(pairs, 0.5, STEEP), pairs, envs),
    }
