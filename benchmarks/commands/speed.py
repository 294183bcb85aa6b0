"""What `llmroute speed` takes and does; importing it imports neither numba nor torch."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.commands.options import UNCHANGED, Environment, Said


@dataclass(frozen=True)
class Rates:
    """Measure how fast the environment is, beside CartPole's, in one run."""

    environment: Environment = UNCHANGED
    """Which."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""
    rounds: int = 5
    """Alternations of the two sides."""
    seconds: float = 0.3
    """Least length of one measurement."""
    device: str = "cpu"
    """cpu; or cuda, for 1,024 to 1,048,576 envs on a GPU beside the CPU's."""

    def run(self) -> None:
        """Measure, and print a table or JSON."""
        from benchmarks.speed.rates import Effort, measure
        from benchmarks.speed.tables import show_device, show_rates
        from llmroute_env.devices import DEVICES
        from llmroute_env.specs import require

        require(self.device in DEVICES, "device", self.device, ", ".join(DEVICES))
        problem, effort = self.environment.problem(), Effort(self.rounds, self.seconds)
        if self.device == "cuda":
            from benchmarks.speed.device import measure_device

            found = measure_device(effort, problem.scenario, problem.fields)
            put_out(found, self.json, show_device)
            return
        figures = measure(effort, problem.scenario, **problem.fields)
        put_out(figures, self.json, show_rates)


@dataclass(frozen=True)
class Scaling:
    """Measure how the cost of a step grows with GPUs, models, queues and envs, and draw it."""

    out: Path
    """Picture to write: png, svg or pdf."""
    environment: Environment = UNCHANGED
    """What is made larger: its clusters are of one of its models, again and again."""

    def run(self) -> None:
        """Measure, draw, and print the costs."""
        from benchmarks.speed.scaling import measure_scaling, save_scaling_figure
        from llmroute_env.recording.files import check_writable

        check_writable(self.out)
        problem = self.environment.problem("stable")
        scaling = measure_scaling(problem.scenario, problem.fields)
        save_scaling_figure(self.out, scaling)
        for axis, costs in scaling.items():
            print(f"{axis}: " + ", ".join(f"{n}: {cost:.0f} ns" for n, cost in costs.items()))
        print(self.out)


@dataclass(frozen=True)
class Day:
    """Evaluate a day of Azure Functions load at 1000 requests/s."""

    environment: Environment = UNCHANGED
    """On what; all of its own arrivals instead of the day's, if a trace or a workload is named."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""

    def run(self) -> None:
        """Make the day, route it, and print what both took."""
        from benchmarks.speed.day import evaluate_day

        problem = self.environment.problem("stable")
        day = evaluate_day(problem.scenario, problem.fields)
        print(
            f"{day.requests:,} requests: made in {day.make_s:.1f} s, evaluated in "
            f"{day.evaluate_s:.1f} s; peak memory {day.peak_bytes / 1e9:.2f} GB; "
            f"{day.utility_of_peak:.4f} of peak"
        )
        if self.json:
            print(json_format.dumps(day._asdict()))


@dataclass(frozen=True)
class Engines:
    """Measure how fast continuous batching is, and what its cost depends on."""

    environment: Environment = UNCHANGED
    """On what, but for the costs by instances, running requests and the hour of conversations."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""
    rounds: int = 5
    """Alternations of the two sides."""
    seconds: float = 0.3
    """Least length of one measurement."""

    def run(self) -> None:
        """Measure, and print a table or JSON."""
        from benchmarks.speed.engines import measure_engines
        from benchmarks.speed.rates import Effort
        from benchmarks.speed.tables import show_engines

        problem = self.environment.problem("chat-and-code")
        effort = Effort(self.rounds, self.seconds)
        figures = measure_engines(effort, problem.scenario, **problem.fields)
        put_out(figures, self.json, show_engines)


@dataclass(frozen=True)
class Decisions:
    """Time single decisions of a trained router, by every way in which it can be asked."""

    router: tyro.conf.Positional[str]
    """A run directory, or a shipped router: `llmroute list agents` says those pretrained."""
    environment: Environment = UNCHANGED
    """On what; by default on test episodes of what it was trained on."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""

    def run(self) -> None:
        """Measure, and print a table or JSON."""
        from benchmarks.speed.decisions import measure_decisions
        from benchmarks.speed.tables import show_decisions

        config = self.environment.problem().config() if self.environment.given else None
        put_out(measure_decisions(self.router, config), self.json, show_decisions)


@dataclass(frozen=True)
class Training:
    """Time how soon learners exceed the tuned heuristic; takes minutes."""

    environment: Environment = UNCHANGED
    """On what."""
    limit: float = 600.0
    """Seconds after which a learner is given up."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""

    def run(self) -> None:
        """Measure, and print a table or JSON."""
        from benchmarks.speed.tables import show_training
        from benchmarks.speed.training import measure_training

        problem = self.environment.problem()
        figures = measure_training(problem.scenario, self.limit, problem.fields)
        put_out(figures, self.json, show_training)


def put_out(figures: Any, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print figures as one JSON object, or by `show` as a table."""
    if as_json:
        print(json_format.dumps(figures))
    else:
        show(figures)
