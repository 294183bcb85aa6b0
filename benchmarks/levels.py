"""What TensorBoard compares the scores of a training with, kept beside its run directory.

The validation episodes are the same for every algorithm, so one folder of levels serves all runs
on the same environment: `reference-FINGERPRINT-EPISODES`, with a run of one line for each level.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.levels import draw_levels
from agents.monitor import BOUND
from agents.plan import Plan
from agents.tuning import STRONGEST, Tuned, best_tuned, heuristic_scores
from agents.validation import validation_episodes
from benchmarks.bounds import bound_of_peak
from benchmarks.results import write_atomically
from llmroute_env.config import EnvConfig
from llmroute_env.observation import DEFAULT_FEATURES
from llmroute_env.serialization import config_sha256

SHORTEST_S = 60.0
"""Length of the lines until the first training has ended."""


@dataclass(frozen=True)
class Reference:
    """Levels of one environment, and how far their lines reach.

    Attributes:
        directory: where they are kept.
        levels: shares of the peak, by name.
        decisions, seconds: of the longest training beside them.
    """

    directory: Path
    levels: Mapping[str, float]
    decisions: int = 0
    seconds: float = SHORTEST_S

    def extended(self, decisions: int, seconds: float) -> Reference:
        """The same for a training of that length, drawn again if it is the longest so far."""
        longest = max(decisions, self.decisions), max(seconds, self.seconds)
        if longest == (self.decisions, self.seconds):
            return self
        longer = replace(self, decisions=longest[0], seconds=longest[1])
        longer.save()
        return longer

    def save(self) -> None:
        """Keep the levels and draw their lines."""
        content = {
            "levels": dict(self.levels),
            "decisions": self.decisions,
            "seconds": self.seconds,
        }
        write_atomically(self.directory / "levels.json", json.dumps(content, indent=1).encode())
        draw_levels(self.directory, self.levels, self.decisions, self.seconds)


def reference_of(plan: Plan) -> Reference:
    """The levels for the plan's training; computed only if no run beside it has done so."""
    config = replace(plan.config("train"), observation=DEFAULT_FEATURES, action="model")
    config, seeds = validation_episodes(config, plan.resolved_settings)
    directory = plan.directory.parent / f"reference-{config_sha256(config)[:6]}-{len(seeds)}"
    path = directory / "levels.json"
    if path.exists():
        found = Reference(directory, **json.loads(path.read_text()))
    else:
        print(f"levels of {len(seeds)} validation episodes, once for {directory}", file=sys.stderr)
        tuned = best_tuned(STRONGEST, replace(config, window_s=plan.config("train").window_s))
        found = Reference(directory, levels(config, seeds, tuned))
    return found.extended(plan.budget, SHORTEST_S)


def levels(config: EnvConfig, seeds: NDArray[np.uint64], tuned: Tuned) -> dict[str, float]:
    """Mean bound on the episodes, and what the tuned heuristic earns there, of their peaks."""
    score = heuristic_scores(tuned.name, config, tuned.setting, seeds).mean()
    return {BOUND: float(bound_of_peak(config, seeds).mean()), tuned.name: float(score)}
