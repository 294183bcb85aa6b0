"""The pieces of a suite's work: bounds, tuning, training and evaluation, each a pure function.

A cell turns input files into output files. It can run in any process or on any machine; whoever
runs it reads its `needs` and writes its outputs (workers.py). Its first output exists exactly when
it is finished.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from benchmarks.bounds.instance import Instance
from benchmarks.bounds.upper import SLOTS_PER_DEADLINE, bound, episodes, is_soft, upper_bound
from benchmarks.evaluation import tuned_controls
from benchmarks.evaluation.episode_rows import DETAILED
from benchmarks.suites.entries.entry import Entry
from llmroute_env.config import EnvConfig
from llmroute_env.recording.serialization import config_sha256
from llmroute_env.simulation.episodes import episode_seeds

if TYPE_CHECKING:
    from agents.runs.plan import Plan

Files = dict[str, bytes]


class Cell(Protocol):
    """Attributes: outputs, of which the first is the last to be written; needs: input files."""

    @property
    def output(self) -> str:
        """Path below the suite's directory; it exists when the cell is finished."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Outputs of other cells."""
        ...

    def run(self, inputs: Mapping[str, bytes], scratch: Path) -> Files:
        """The files to write, `output` among them; `scratch`: its own, kept when interrupted."""
        ...


class Independent:
    """A cell that needs no other's output."""

    needs: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Bound(Independent):
    """What no router can exceed in each test episode of an entry."""

    entry: Entry
    episodes: int
    seed: int

    @property
    def output(self) -> str:
        """Entries that are the same environment share it."""
        return f"bounds/{self.entry.test_sha256[:16]}.json"

    def run(self, inputs: Mapping[str, bytes], scratch: Path) -> Files:
        """The bounds of every episode, and of each second of the first few, as JSON."""
        config = self.entry.config("test")
        seeds = episode_seeds(self.seed, self.episodes)
        found = {
            "config_sha256": config_sha256(config),
            "bound": upper_bound(config, seeds).tolist(),
            "by_second": [bound_by_second(i, config) for i in episodes(config, seeds[:DETAILED])],
        }
        return {self.output: json.dumps(found).encode()}


def bound_by_second(instance: Instance, config: EnvConfig) -> list[float]:
    """A bound for the requests of each second as if they came alone to an empty cluster."""
    slots = SLOTS_PER_DEADLINE["soft" if is_soft(config) else "hard"]
    second = np.floor(instance.arrival_s).astype(np.int64)
    most = np.zeros(int(second[-1]) + 1)
    for s in np.unique(second):
        chosen = second == s
        most[s] = bound(instance.only(chosen), slots)
    return [float(value) for value in most]


@dataclass(frozen=True)
class TuneControl(Independent):
    """The setting of a control for an entry, found on its validation split."""

    entry: Entry
    control: str
    episodes: int
    window_s: float

    @property
    def output(self) -> str:
        """Where the setting is written, below the suite's directory."""
        return f"tuned/{self.entry.id}/{self.control}.json"

    def run(self, inputs: Mapping[str, bytes], scratch: Path) -> Files:
        """The best setting, and what was tried, as JSON."""
        config = self.entry.config("train")
        tuned = tuned_controls.tune(self.control, config, self.episodes, self.window_s)
        return {self.output: json.dumps(tuned.to_json()).encode()}


@dataclass(frozen=True)
class TrainRouter(Independent):
    """A learned router for an entry: a run directory."""

    entry: Entry
    algorithm: str
    seed: int
    timesteps: int | None

    @property
    def directory(self) -> str:
        """The run directory, below the suite's directory."""
        return f"trained/{self.entry.id}/{self.algorithm}-{self.seed}"

    @property
    def output(self) -> str:
        """The weights, which are written when everything else is."""
        return f"{self.directory}/weights.safetensors"

    def run(self, inputs: Mapping[str, bytes], scratch: Path) -> Files:
        """The run directory; an interrupted training goes on from its last checkpoint."""
        from agents.runs.plan import Plan

        resumes = can_resume(scratch)
        plan = Plan(
            directory=scratch,
            scenario=self.entry.scenario,
            fields=self.entry.fields,
            seed=self.seed,
            algorithm=self.algorithm,
            decisions=self.timesteps,
        )
        train_to_its_end(plan, resumes)
        return files_of_run(scratch, self.directory)


def can_resume(run: Path) -> bool:
    """Whether a training of that directory left a checkpoint; what is left without one goes."""
    resumes = any((run / "checkpoint").glob("*"))
    if run.exists() and not resumes:
        shutil.rmtree(run)
    return resumes


def train_to_its_end(plan: Plan, resume: bool) -> None:
    """Train; an interruption ends the suite too."""
    from agents.training.training import train

    if train(plan, resume=resume, shows_progress=False).interrupted:
        # Ctrl-C reaches workers too; what was learned so far is not the result.
        raise KeyboardInterrupt


def files_of_run(run: Path, directory: str) -> Files:
    """The run directory without its checkpoint, as files of `directory`."""
    kept = [path for path in sorted(run.iterdir()) if path.is_file()]
    return {f"{directory}/{path.name}": path.read_bytes() for path in kept}


def execute(cell: Cell, inputs: Mapping[str, bytes], scratch: Path) -> Files:
    """Run a cell; at module level, so that other processes find it."""
    return cell.run(inputs, scratch)
