"""The cell that makes one router of several trained ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agents.settings.presets import COMBINATIONS
from benchmarks.suites.cells import (
    Files,
    TrainRouter,
    can_resume,
    files_of_run,
    train_to_its_end,
)
from llmroute_env.recording.files import write_atomically

RUN = ("config.json", "weights.safetensors")
"""What is needed of a run directory."""


@dataclass(frozen=True)
class CombineRouters:
    """An ensemble of trained routers, or its student: a run directory.

    Attributes:
        agent: one of COMBINATIONS.
        timesteps: decisions of a student's training, None for the usual.
    """

    agent: str
    members: tuple[TrainRouter, ...]
    seed: int
    timesteps: int | None

    @property
    def directory(self) -> str:
        """The run directory, below the suite's directory."""
        return f"trained/{self.members[0].entry.id}/{self.agent}-{self.seed}"

    @property
    def output(self) -> str:
        """The weights, which are written when everything else is."""
        return f"{self.directory}/weights.safetensors"

    @property
    def needs(self) -> tuple[str, ...]:
        """What was trained."""
        return tuple(f"{member.directory}/{file}" for member in self.members for file in RUN)

    def run(self, inputs: Mapping[str, bytes], scratch: Path) -> Files:
        """The run directory; a student that was interrupted goes on from its last checkpoint."""
        from agents.training.combining import ensemble, student_plan

        for name in self.needs:
            write_atomically(scratch / name, inputs[name])
        runs = {member.directory: scratch / member.directory for member in self.members}
        made = scratch / self.directory
        resumes = can_resume(made)
        if COMBINATIONS[self.agent].is_taught:
            plan = student_plan(runs, made, self.seed, self.timesteps, {})
            train_to_its_end(plan, resumes)
        else:
            ensemble(runs, made)
        return files_of_run(made, self.directory)
