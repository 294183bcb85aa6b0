"""Controls: what learning has to beat, each with its setting found on validation episodes only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from agents.base import Agent
from agents.heuristics import models as heuristics
from agents.heuristics import table as controls
from agents.heuristics.tuning import heuristic_scores, run_episodes, validation_seeds
from llmroute_env.config import EnvConfig
from llmroute_env.specs import require

BEST_SINGLE = "best-single"

FOLLOWED = {"rollout": "largest-feasible", "hindsight": "priced-pair"}
"""Controls that look ahead, and the tuned control that they follow."""


@dataclass(frozen=True)
class Tuned:
    """A control after tuning, and the effort that it took.

    Attributes:
        setting: a model's name for `best-single`, else the heuristic's number.
        scores: mean utility of peak of each setting tried, on the same validation episodes.
    """

    control: str
    setting: str | float
    scores: tuple[tuple[str | float, float], ...]
    episodes: int
    window_s: float

    def to_json(self) -> dict[str, Any]:
        """The tuning as a JSON-ready object, in which rows find what they say of it."""
        return {
            "control": self.control,
            "setting": self.setting,
            "settings_tried": len(self.scores),
            "episodes_each": self.episodes,
            "window_s": self.window_s,
            "validation_score": max(score for _, score in self.scores),
            "scores": [list(score) for score in self.scores],
        }


def tune(control: str, config: EnvConfig, episodes: int, window_s: float) -> Tuned:
    """Find the best setting of `control` on the validation split of `config`.

    Episodes last as `tuning_window_s` says.

    Raises:
        ConfigError: a control without settings.
    """
    known = [BEST_SINGLE, *controls.TUNABLE]
    require(control in known, "control", control, ", ".join(known))
    window_s = tuning_window_s(config, window_s)
    config = replace(config, split="validation", window_s=window_s)
    settings: tuple[str | float, ...] = config.model_names
    if control != BEST_SINGLE:
        settings = controls.TUNABLE[control].values(config)
    scores = tuple((value, score(control, value, config, episodes)) for value in settings)
    best = max(scores, key=lambda pair: pair[1])
    return Tuned(control, best[0], scores, episodes, window_s)


def tuning_window_s(config: EnvConfig, usual_s: float) -> float:
    """How long the episodes are on which a control is tuned: `usual_s`, or less.

    Where signals are late, machines fail or answers are tokens they are those of `config`: all of
    these take their time.
    """
    takes_time = config.is_uncertain or config.service == "continuous"
    return config.window_s if takes_time else min(usual_s, config.window_s)


def score(control: str, setting: str | float, config: EnvConfig, episodes: int) -> float:
    """Mean utility of peak of a control with `setting` on episodes of `config`."""
    seeds = validation_seeds(episodes)
    if control == BEST_SINGLE:
        return float(run_episodes(make(control, config, setting), config, seeds).mean())
    return float(heuristic_scores(control, config, float(setting), seeds).mean())


def make(control: str, config: EnvConfig, setting: str | float | None) -> Agent:
    """The router of a control, tuned or as it comes."""
    if control == BEST_SINGLE:
        agent = heuristics.make(str(setting), config)
        agent.name = control
        return agent
    return controls.make(control, config, None if setting is None else float(setting))
