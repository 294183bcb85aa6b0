"""What settings of several learners have in common: what they may name, and that it fits."""

from __future__ import annotations

from llmroute_env.dynamics.actions import ACTIONS
from llmroute_env.dynamics.features import FEATURE_NAMES, PAIR_FEATURES
from llmroute_env.specs import require

CREDITS = ("decision", "completion")

USUAL = {"model": ("largest-feasible",), "gpu-model": ("priced-pair", "steep-pair")}
"""The heuristics of which the best, tuned, guards a router, by what it decides."""


def check_observation(names: tuple[str, ...]) -> None:
    """Raise a ConfigError unless all are features."""
    known = set(names) <= set(FEATURE_NAMES) and len(names) > 0
    require(known, "observation", names, ", ".join(FEATURE_NAMES))


def check_heuristic(action: str, observation: tuple[str, ...]) -> None:
    """Raise a ConfigError unless the heuristic over `action` can read what it needs."""
    require(action in ACTIONS, "action", action, ", ".join(ACTIONS))
    needed = ("slack",) if action == "model" else PAIR_FEATURES
    valid = set(needed) <= set(observation)
    require(valid, "observation", observation, f"{', '.join(needed)} among them, or no heuristic")


def check_cautions(cautions: tuple[float, ...]) -> None:
    """Raise a ConfigError unless there are some, none negative."""
    valid = len(cautions) > 0 and min(cautions) >= 0
    require(valid, "cautions", cautions, "at least one, all >= 0")
