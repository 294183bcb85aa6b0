"""What `llmroute demo`, `train` and `tune` take and do.

Importing this module imports neither numba nor torch, so that `llmroute --help` answers at once.
"""

from __future__ import annotations

import json as json_format
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import tyro

from benchmarks.commands.options import UNCHANGED, Changes, Environment, Said

if TYPE_CHECKING:
    from agents.runs.plan import Plan


@dataclass(frozen=True)
class Demo:
    """Train a router on real arrivals and compare it with every heuristic, in a few minutes."""

    out: Path = Path("runs/demo")
    """Folder for logs, weights, table and figures; the next free name if it exists."""
    seed: int = 0
    """Of the training and of the episodes."""
    timesteps: Said[int | None] = None
    """Decisions to train for; the default takes about a minute."""
    episodes: int = 32
    """Held-out episodes on which everybody is compared."""
    environment: Environment = UNCHANGED
    """On what."""

    def run(self) -> None:
        """Train, compare and write everything to the folder."""
        from agents.runs.plan import Plan
        from benchmarks.demo import ALGORITHM, demo, free_name

        problem = self.environment.problem()
        plan = Plan(
            directory=free_name(self.out) / ALGORITHM,
            scenario=problem.scenario,
            fields=problem.fields,
            seed=self.seed,
            decisions=self.timesteps,
            algorithm=ALGORITHM,
        )
        demo(plan, self.episodes, problem.title)


@dataclass(frozen=True)
class Train:
    """Train a router; Ctrl-C leaves a checkpoint from which --resume continues."""

    algorithm: tyro.conf.Positional[str]
    """Which learner: rollout-pi, ddqn, or another that `llmroute list learners` says."""
    environment: Environment = UNCHANGED
    """On what. Its scenario may be a family of them: `any`, which is usual for the generalist."""
    settings: Said[Path | None] = None
    """Hyper-parameters that `llmroute tune` found: the best.json of its directory."""
    hyper: Changes = ()
    """Hyper-parameters as in TOML, over those: learning_rate=3e-4 hidden=[128,64]."""
    seed: int = 0
    """Of everything random."""
    timesteps: Said[int | None] = None
    """Decisions to train for; the default is the algorithm's own."""
    out: Said[Path | None] = None
    """Run directory; runs/SCENARIO/ALGORITHM-SEED by default."""
    resume: Said[bool] = False
    """Continue the run in the directory from its last checkpoint."""
    device: str = "cpu"
    """cpu; or cuda: ddqn or ppo collects and learns on a GPU, best with envs=4096 or more by
    --hyper."""
    reference: Said[bool] = True
    """Without the levels that TensorBoard compares scores with: the bound and the better of two
    tuned heuristics, found once for all runs in the same folder."""

    @property
    def extra(self) -> str:
        """The extra with all that the algorithm needs."""
        from agents.settings.sb3 import SB3_PRESETS

        return "sb3" if self.algorithm in SB3_PRESETS else "train"

    def run(self) -> int:
        """Train and print the score; 130 if it was interrupted."""
        from agents.training.outcome import overruling_of
        from agents.training.training import check_begins, train
        from llmroute_env.specs import require

        plan, reference = self.plan(), None
        accepted = "left out: what a device holds is not kept"
        require(not (self.resume and self.device != "cpu"), "resume", self.resume, accepted)
        check_begins(plan, self.resume, how="--resume")
        if self.reference:
            from benchmarks.reference_levels import reference_of

            reference = reference_of(plan)
            plan = replace(plan, levels=reference.levels)
        started_s = time.perf_counter()
        result = train(plan, resume=self.resume)
        if reference is not None:
            reference.extended(result.decisions, time.perf_counter() - started_s)
        if result.interrupted:
            print(f"interrupted after {result.decisions:,} decisions; continue with --resume")
            return 130
        print(f"{result.directory}: {result.utility_of_peak:.4f} of peak on validation episodes")
        if result.decisions > plan.budget:
            print(f"  {result.decisions:,} decisions, as the last round that began was finished")
        for name, level in plan.levels.items():
            print(f"  {name}: {level:.4f}")
        if said := overruling_of(plan):
            print(f"  {said.words()}")
        return 0

    def plan(self) -> Plan:
        """The training that the options describe."""
        from agents.runs.plan import Plan
        from agents.settings.changes import changed
        from agents.settings.presets import usual_scenario

        problem = self.environment.problem(usual_scenario(self.algorithm))
        plan = Plan(
            directory=self.out or Path("runs") / problem.title / f"{self.algorithm}-{self.seed}",
            scenario=problem.scenario,
            fields=problem.fields,
            seed=self.seed,
            decisions=self.timesteps,
            algorithm=self.algorithm,
            device=self.device,
        )
        changes = self.changes()
        return replace(plan, settings=changed(plan.resolved_settings, changes)) if changes else plan

    def changes(self) -> dict[str, Any]:
        """The hyper-parameters that differ from the algorithm's."""
        from agents.settings.changes import best_of
        from llmroute_env.problem import assign

        found = {} if self.settings is None else best_of(self.settings, self.algorithm)
        return assign(found, [text for texts in self.hyper for text in texts])


@dataclass(frozen=True)
class Tune:
    """Search an algorithm's settings with Optuna on validation episodes; can be interrupted."""

    extra: ClassVar = "tune"
    algorithm: tyro.conf.Positional[str]
    """Which learner: ddqn, rollout-pi, or another that `llmroute list learners` says."""
    environment: Environment = UNCHANGED
    """On what."""
    trials: int = 20
    """In all: the same command goes on with what is missing."""
    timesteps: Said[int | None] = None
    """Decisions of each training; the default is the algorithm's own."""
    seed: int = 0
    """Of the search and of every training."""
    out: Said[Path | None] = None
    """Directory of the journal and the trials; runs/tune/SCENARIO-ALGORITHM by default."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""

    def run(self) -> int:
        """Search and print the best settings."""
        from benchmarks.study import StudyPlan, tune, words

        problem = self.environment.problem()
        out = self.out or Path("runs/tune") / f"{problem.title}-{self.algorithm}"
        plan = StudyPlan(
            directory=out,
            algorithm=self.algorithm,
            scenario=problem.scenario,
            fields=problem.fields,
            trials=self.trials,
            timesteps=self.timesteps,
            seed=self.seed,
        )
        best = tune(plan)
        print(f"{out}: best of {best['trials']} trials, {best['utility_of_peak']:.4f} of peak")
        for name, value in best["settings"].items():
            print(f"  {name} = {value}")
        for line in words(best):
            print(f"  {line}")
        if self.json:
            print(json_format.dumps(best))
        return 0
