"""What `llmroute demo`, `train` and `evaluate` take and do.

Importing this module imports neither numba nor torch, so that `llmroute --help` answers at once.
"""

from __future__ import annotations

import json as json_format
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

if TYPE_CHECKING:
    from agents.plan import Plan


@dataclass(frozen=True)
class EnvOptions:
    """What differs from the scenario."""

    load: float | None = None
    """Mean arrival rate in units of load 1, instead of the scenario's."""
    profile: str | None = None
    """Latencies and accuracies: opt-a100 unless named, opt-h100 or a .toml file."""

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of EnvConfig that were given."""
        return {name: value for name, value in vars(self).items() if value is not None}


Environment = tyro.conf.OmitArgPrefixes[EnvOptions]
UNCHANGED = EnvOptions()


@dataclass(frozen=True)
class Demo:
    """Train a router on real arrivals and compare it with every heuristic, in a few minutes."""

    out: Path = Path("runs/demo")
    """Folder for logs, weights, table and figures; the next free name if it exists."""
    seed: int = 0
    """Of the training and of the episodes."""
    timesteps: int | None = None
    """Decisions to train for; the default takes about a minute."""
    episodes: int = 32
    """Held-out episodes of 30 s on which everybody is compared."""

    def run(self) -> None:
        """Do it."""
        from benchmarks.demo import demo

        demo(self.out, self.seed, self.timesteps, self.episodes)


@dataclass(frozen=True)
class Train:
    """Train a router; Ctrl-C leaves a checkpoint from which --resume continues."""

    algorithm: tyro.conf.Positional[str]
    """Which learner: rollout-pi, ddqn, ddqn-paper, ..."""
    scenario: str | None = None
    """Name of a scenario, or of a family of them: `any`, for the generalist; the default is
    `any` for that one and `unpredictable-1` for all others."""
    environment: Environment = UNCHANGED
    """What differs from the scenario."""
    seed: int = 0
    """Of everything random."""
    timesteps: int | None = None
    """Decisions to train for; the default is the algorithm's own."""
    out: Path | None = None
    """Run directory; runs/SCENARIO/ALGORITHM-SEED by default."""
    resume: bool = False
    """Continue the run in the directory from its last checkpoint."""
    reference: bool = True
    """Compare scores in TensorBoard with the bound and the better of two tuned heuristics, which
    are found once for all runs in the same folder; --no-reference trains without."""

    def run(self) -> int:
        """Do it; 130 if it was interrupted."""
        from agents.training import train

        plan, reference = self.plan(), None
        if self.reference:
            from benchmarks.levels import reference_of

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
        for name, level in plan.levels.items():
            print(f"  {name}: {level:.4f}")
        return 0

    def plan(self) -> Plan:
        """What to train."""
        from agents.plan import Plan

        return Plan(
            directory=self.directory,
            scenario=self.resolved_scenario,
            fields=self.environment.fields,
            seed=self.seed,
            decisions=self.timesteps,
            algorithm=self.algorithm,
        )

    @property
    def resolved_scenario(self) -> str:
        """The scenario, or the algorithm's usual one."""
        from agents.presets import usual_scenario

        return self.scenario or usual_scenario(self.algorithm)

    @property
    def directory(self) -> Path:
        """Where the run is kept."""
        name = f"{self.algorithm}-{self.seed}"
        return self.out or Path("runs") / self.resolved_scenario / name


@dataclass(frozen=True)
class Evaluate:
    """Run a router on held-out episodes; episode i of a seed is the same for every router."""

    agent: tyro.conf.Positional[str]
    """A heuristic, pretrained:NAME (an unknown one lists all), a run directory or an ONNX file."""
    scenario: str = "unpredictable-1"
    """Name of a scenario."""
    environment: Environment = UNCHANGED
    """What differs from the scenario."""
    episodes: int = 32
    """How many episodes."""
    seed: int = 0
    """Of the episodes."""
    split: str = "test"
    """Part of the arrivals that episodes are cut from: train, validation, test or all."""
    json: bool = False
    """Print one JSON object as the last line."""

    def run(self) -> None:
        """Do it."""
        from agents.loading import load
        from benchmarks.evaluation.runner import evaluate, report
        from benchmarks.tables import show
        from llmroute_env.scenarios import configure

        config = configure(self.scenario, split=self.split, **self.environment.fields)
        evaluation = evaluate(load(self.agent, config), config, self.episodes, self.seed)
        row = {**report(evaluation, self.scenario), "agent": self.agent}
        if self.json:
            print(json_format.dumps(row))
        else:
            show([row])


@dataclass(frozen=True)
class Speed:
    """Measure how fast the environment is, beside CartPole's, in one run; or something else."""

    json: bool = False
    """Print one JSON object as the last line."""
    rounds: int = 5
    """Alternations of the two sides."""
    seconds: float = 0.3
    """Least length of one measurement."""
    scaling: Path | None = None
    """Measure instead how the cost of a step grows, and draw it into this file."""
    day: bool = False
    """Evaluate instead a day of Azure Functions load at 1000 requests/s."""
    decisions: str | None = None
    """Time instead single decisions of this trained router: a run directory or pretrained:NAME."""
    training: str | None = None
    """Time instead, on this scenario, how soon learners exceed the tuned heuristic; minutes."""
    limit: float = 600.0
    """Seconds after which --training gives a learner up."""

    def run(self) -> None:
        """Do it."""
        if self.scaling is not None:
            self._measure_scaling(self.scaling)
        elif self.day:
            self._measure_day()
        elif self.decisions is not None:
            self._measure_decisions(self.decisions)
        elif self.training is not None:
            self._measure_training(self.training)
        else:
            self._measure_rates()

    def _measure_scaling(self, path: Path) -> None:
        from benchmarks.speed.scaling import measure_scaling, save_scaling_figure

        scaling = measure_scaling()
        save_scaling_figure(path, scaling)
        for axis, costs in scaling.items():
            print(f"{axis}: " + ", ".join(f"{n}: {cost:.0f} ns" for n, cost in costs.items()))
        print(path)

    def _measure_decisions(self, agent: str) -> None:
        from benchmarks.speed.decisions import measure_decisions
        from benchmarks.speed.tables import show_decisions

        self._print(measure_decisions(agent), show_decisions)

    def _measure_training(self, scenario: str) -> None:
        from benchmarks.speed.tables import show_training
        from benchmarks.speed.training import measure_training

        self._print(measure_training(scenario, self.limit), show_training)

    def _print(self, figures: Any, show: Callable[[Any], None]) -> None:
        if self.json:
            print(json_format.dumps(figures))
        else:
            show(figures)

    def _measure_day(self) -> None:
        from benchmarks.speed.day import evaluate_day

        day = evaluate_day()
        print(
            f"{day.requests:,} requests: made in {day.make_s:.1f} s, evaluated in "
            f"{day.evaluate_s:.1f} s; peak memory {day.peak_bytes / 1e9:.2f} GB; "
            f"{day.utility_of_peak:.4f} of peak"
        )

    def _measure_rates(self) -> None:
        from benchmarks.speed.rates import Effort, measure
        from benchmarks.speed.tables import show_rates

        self._print(measure(Effort(self.rounds, self.seconds)), show_rates)
