"""What `llmroute speed` takes and does; importing it imports neither numba nor torch."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
