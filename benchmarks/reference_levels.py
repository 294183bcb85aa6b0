"""What TensorBoard compares the scores of a training with, kept beside its run directory.

The validation episodes are the same for every algorithm, so one folder of levels serves all runs
on the same environment: `reference-FINGERPRINT-EPISODES`, with a run of one line for each level.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from agents.heuristics.tuning import STRONGEST, best_tuned, heuristic_scores
from agents.learners.validation import validation_episodes
from agents.runs.plan import Plan
from agents.settings.parts import Settings
from agents.training.levels import draw_levels
from agents.training.monitor import BOUND
from benchmarks.bounds.upper import bound_of_peak
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import DEFAULT_FEATURES
from llmroute_env.recording.files import write_atomically
from llmroute_env.recording.serialization import config_sha256

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
        """Levels whose lines reach over so long a training; drawn again if it is the longest."""
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
    found = reference_beside(plan.directory, plan.configs("train"), plan.resolved_settings)
    return found.extended(plan.budget, SHORTEST_S)


def reference_beside(run: Path, own: Sequence[EnvConfig], settings: Settings) -> Reference:
    """The levels of environments, kept beside a run that is trained in them, for all such runs."""
    configs = [replace(config, observation=DEFAULT_FEATURES, action="model") for config in own]
    shas = [config_sha256(validation_episodes(config, settings)[0]) for config in configs]
    sha = shas[0] if len(shas) == 1 else sha256("".join(shas).encode()).hexdigest()
    episodes = settings.validation_episodes
    directory = run.parent / f"reference-{sha[:6]}-{episodes}"
    path = directory / "levels.json"
    if path.exists():
        return Reference(directory, **json.loads(path.read_text()))
    print(f"levels of {episodes} validation episodes, once for {directory}", file=sys.stderr)
    return Reference(directory, levels(configs, settings))


def levels(configs: Sequence[EnvConfig], settings: Settings) -> dict[str, float]:
    """Mean bound on the validation episodes, and what the better tuned heuristic earns there.

    Both are shares of the peak; of several environments each has its own heuristic, tuned to it.
    """
    bounds, scores, names = [], [], set()
    for own in configs:
        config, seeds = validation_episodes(own, settings)
        tuned = best_tuned(STRONGEST, own)
        bounds.append(bound_of_peak(config, seeds).mean())
        scores.append(heuristic_scores(tuned.name, config, tuned.setting, seeds).mean())
        names.add(tuned.name)
    name = names.pop() if len(names) == 1 else "tuned-heuristics"
    return {BOUND: float(np.mean(bounds)), name: float(np.mean(scores))}
