"""A device's envs beside the CPU's: the same episodes, and whether all is the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmroute_env.config import EnvConfig
from llmroute_env.cuda.memory import Memory
from llmroute_env.cuda.simulation import DeviceSimulation, Setting
from llmroute_env.simulation.simulation import Simulation


class Both:
    """The same envs on a device and on the CPU."""

    def __init__(self, config: EnvConfig, envs: int, memory: Memory, autoreset: int) -> None:
        self.device = DeviceSimulation(config, envs, memory, Setting(autoreset, completions=True))
        self.cpu = Simulation(config, envs, autoreset)
        self.rng = np.random.default_rng(0)
        self.ended = 0
        seeds = self.rng.integers(2**64, size=envs, dtype=np.uint64)
        self.device.begin(seeds)
        self.cpu.begin(seeds)

    def step(self) -> None:
        """Each env its own action, or all the same one, as queues of one model fill."""
        envs = self.device.envs
        actions = self.rng.integers(self.device.actions, size=envs)
        if self.rng.random() < 0.7:
            actions[:] = actions[0]
        self.device.step(actions)
        self.cpu.step(actions)
        out = self.cpu.outputs
        self.ended += int((out.terminated | out.truncated).sum())

    def check_outputs(self) -> None:
        """Everything that a step reports, final observations too."""
        there = self.device.outputs
        for name, expected in self.cpu.outputs._asdict().items():
            if expected.dtype.names is None:
                np.testing.assert_array_equal(there[name], expected, err_msg=name)

    def check_completions(self) -> None:
        """What ended in the last step, in the same order."""
        expected = self.cpu.completions, self.cpu.completion_tokens, self.cpu.completion_origins
        for ours, theirs in zip(self.device.completions(), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def check_states(self) -> None:
        """Every field of every record; of rings as much as the device has."""
        theirs = self.cpu.state.named
        for name, ours in self.device.state().named.items():
            columns = slice(ours.shape[1]) if ours.ndim > 1 else slice(0)
            expected = theirs[name][:, columns] if ours.ndim > 1 else theirs[name]
            for field in ours.dtype.names or ("",):
                mine, other = (a[field] if field else a for a in (ours, expected))
                np.testing.assert_array_equal(mine, other, err_msg=f"{name} {field}")

    def check_summaries(self) -> None:
        """Of the last episode of every env that has ended."""
        envs = np.flatnonzero(self.cpu.outputs.final_envs["routed"] > 0)
        expected: list[Any] = [self.cpu.final_summary(int(e)) for e in envs]
        assert self.device.final_summary(envs) == expected
