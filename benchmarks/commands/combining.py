"""What `llmroute ensemble` and `distill` take and do; importing it imports no numba or torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from benchmarks.commands.options import Changes, Said

if TYPE_CHECKING:
    from agents.runs.plan import Plan

Runs = Annotated[
    tyro.conf.Positional[tuple[str, ...]],
    tyro.conf.arg(metavar="RUN ...", help_behavior_hint="(required)"),
]


@dataclass(frozen=True)
class Ensemble:
    """Make one router of several trained ones, which takes the mean of what they think."""

    runs: Runs
    """Run directories of one learner and scenario, by other seeds, or pretrained:NAME."""
    out: Said[Path | None] = None
    """Run directory; runs/SCENARIO/ALGORITHM-of-SO-MANY by default."""

    def run(self) -> None:
        """Make it, and print its score."""
        from agents.training.combining import ensemble

        runs = directories(self.runs)
        result = ensemble(runs, self.out or usual_directory(runs, f"of-{len(runs)}"))
        print(f"{result.directory}: {result.utility_of_peak:.4f} of peak on validation episodes")


@dataclass(frozen=True)
class Distill:
    """Teach one network of the usual size what an ensemble, or several runs in the mean, think."""

    runs: Runs
    """Run directories of one learner and scenario, an ensemble's among them, or pretrained:NAME."""
    hyper: Changes = ()
    """Hyper-parameters of the student as in TOML: learning_rate=3e-4 hidden=[64,32]."""
    seed: int = 0
    """Of everything random."""
    timesteps: Said[int | None] = None
    """Decisions in which states are visited; 8 million by default."""
    out: Said[Path | None] = None
    """Run directory; runs/SCENARIO/ALGORITHM-student-SEED by default."""
    resume: Said[bool] = False
    """Continue the run in the directory from its last checkpoint."""

    def run(self) -> int:
        """Teach it, and print its score; 130 if it was interrupted."""
        from agents.training.outcome import overruling_of
        from agents.training.training import check_begins, train

        plan = self.plan()
        check_begins(plan, self.resume, how="--resume")
        result = train(plan, resume=self.resume)
        if result.interrupted:
            print(f"interrupted after {result.decisions:,} decisions; continue with --resume")
            return 130
        print(f"{result.directory}: {result.utility_of_peak:.4f} of peak on validation episodes")
        if said := overruling_of(plan):
            print(f"  {said.words()}")
        return 0

    def plan(self) -> Plan:
        """The training that the options describe."""
        from agents.training.combining import student_plan
        from llmroute_env.problem import assign

        runs = directories(self.runs)
        out = self.out or usual_directory(runs, f"student-{self.seed}")
        changes = assign({}, [text for texts in self.hyper for text in texts])
        return student_plan(runs, out, self.seed, self.timesteps, changes)


def directories(names: Sequence[str]) -> dict[str, Path]:
    """Run directories by what the user calls them.

    Raises:
        ConfigError: one is not there, or named twice.
    """
    from agents.loading import run_of
    from llmroute_env.specs import require

    twice = tuple(dict.fromkeys(name for name in names if names.count(name) > 1))
    require(not twice, "runs", twice, "each run once")
    return {name: run_of(name) for name in names}


def usual_directory(runs: dict[str, Path], ending: str) -> Path:
    """Where the router goes that is made of `runs`; nowhere in particular if there are none."""
    from agents.runs.card import read_card

    for directory in runs.values():
        card = read_card(directory)
        return Path("runs") / card.scenario / f"{card.algorithm}-{ending}"
    return Path("runs")
