"""How long training takes to reach the tuned heuristics' scores, and to exceed the best; one core.

A guarded router is a heuristic before it has learned anything, so what counts for it is the time
until it is better by GAIN. Learners without a guard begin below and are also timed on the way up.
Everything counts that `llmroute train` does, validations and checkpoints included, but compiling.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agents.heuristics.tuning import STRONGEST, best_tuned
from agents.learners.validation import validation_episodes
from agents.runs.plan import Plan
from agents.settings.parts import Settings
from agents.settings.presets import PRESETS
from agents.training.training import Status, train
from benchmarks.speed.decisions import one_core
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import GPU_FEATURES
from llmroute_env.scenarios import configure

GAIN = 0.001
"""Utility of peak by which a router must exceed the best heuristic on the validation episodes."""

VALIDATIONS = 64
"""Per training: often enough to see when."""


@dataclass(frozen=True)
class Contender:
    """A learner: the preset of `algorithm` with `changes`, for `decisions` or the preset's own.

    `fields` of EnvConfig replace the scenario's.
    """

    algorithm: str
    changes: dict[str, Any] = field(default_factory=dict)
    decisions: int | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """Those of the preset, validated more often."""
        return replace(PRESETS[self.algorithm], validations=VALIDATIONS, **self.changes)


MANY = 20_000_000
"""Seven times the preset's budget, so that Stable-Baselines3 has every chance."""

SB3_TARGETS = {
    "credit": "completion",
    "n_step": 1,
    "discount_per_decision": 0.99,
    "discount_rate_per_s": 0.0,
    "reward_centre": 0.0,
    "reward_scale": 1.0,
}
"""What Stable-Baselines3 makes of rewards by itself; its preset here makes what pays."""

CONTENDERS = {
    "rollout-pi": Contender("rollout-pi"),
    "rollout-pi-model": Contender("rollout-pi-model"),
    "ddqn": Contender("ddqn"),
    "ddqn without guard": Contender("ddqn", {"guarded": False}),
    "sb3-dqn": Contender("sb3-dqn", decisions=MANY),
    "sb3-dqn over pairs": Contender(
        "sb3-dqn", {"observation": GPU_FEATURES}, MANY, {"action": "gpu-model"}
    ),
    "sb3-dqn, its own targets": Contender("sb3-dqn", SB3_TARGETS, decisions=MANY),
}


@dataclass
class Race:
    """What a training has reached so far of `targets`, scores by name; a callback of `train`."""

    targets: Mapping[str, float]
    limit_s: float
    started_s: float
    best: float = 0.0
    reached_s: dict[str, float] = field(default_factory=dict)
    exceeded_s: float | None = None
    spent_s: float = 0.0

    def __call__(self, status: Status) -> None:
        """Note a new score; raise RaceOverError when the race is won or the time is up."""
        self.spent_s = time.perf_counter() - self.started_s
        if status.validated is not None:
            self.note(status.validated)
        if self.exceeded_s is not None or self.spent_s > self.limit_s:
            raise RaceOverError

    def note(self, score: float) -> None:
        """Note which targets were first reached now, and whether all are exceeded."""
        self.best = max(self.best, score)
        for name, target in self.targets.items():
            if score >= target:
                self.reached_s.setdefault(name, self.spent_s)
        if score >= max(self.targets.values()) + GAIN:
            self.exceeded_s = self.spent_s


class RaceOverError(Exception):
    """A race is over before the training is."""


def measure_training(
    scenario: str, limit_s: float, fields: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Times by learner, as `llmroute speed training --json` prints them; `fields` of EnvConfig.

    None stands for never: neither within the budget of the training nor within `limit_s`.
    """
    own = dict(fields or {})
    targets = tuned_scores(configure(scenario, **own))
    contenders = {n: replace(c, fields=own | c.fields) for n, c in CONTENDERS.items()}
    with one_core():
        races = {name: race(c, scenario, targets, limit_s) for name, c in contenders.items()}
    return {
        "scenario": scenario,
        "heuristics": targets,
        "gain": GAIN,
        "limit_s": limit_s,
        "learners": {
            name: {
                "reached_s": {heuristic: run.reached_s.get(heuristic) for heuristic in targets},
                "exceeded_s": run.exceeded_s,
                "spent_s": run.spent_s,
                "best": run.best,
            }
            for name, run in races.items()
        },
    }


def tuned_scores(config: EnvConfig) -> dict[str, float]:
    """What the strongest ones earn, tuned on the very episodes that learners meet."""
    config, seeds = validation_episodes(config, PRESETS["rollout-pi"])
    return {name: best_tuned((name,), config, len(seeds)).score for name in STRONGEST}


def race(contender: Contender, scenario: str, targets: Mapping[str, float], limit_s: float) -> Race:
    """Train until all targets are exceeded, the budget spent or the time up."""
    run_for(contender, scenario, Race(targets, limit_s=0.0, started_s=time.perf_counter()))
    result = Race(targets, limit_s, started_s=time.perf_counter())
    run_for(contender, scenario, result)
    return result


def run_for(contender: Contender, scenario: str, callback: Race) -> None:
    """Train in a folder that is thrown away until the callback has had enough."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(
            directory=Path(folder) / "run",
            scenario=scenario,
            fields=contender.fields,
            algorithm=contender.algorithm,
            decisions=contender.decisions,
            settings=contender.settings,
        )
        try:
            train(plan, shows_progress=False, callback=callback)
        except RaceOverError:
            return
