"""What settings may name, and in which range numbers are."""

from __future__ import annotations

from typing import Any

from llmroute_env.dynamics.actions import ACTIONS
from llmroute_env.dynamics.features import PAIR_FEATURES
from llmroute_env.specs import require

CREDITS = ("decision", "completion")

USUAL = {"model": ("largest-feasible",), "gpu-model": ("priced-pair", "steep-pair")}
"""The heuristics of which the best, tuned, guards a router, by what it decides."""

TOKENS = {"model": (), "gpu-model": ("feasible-pair",)}
"""Those that may guard one as well with continuous batching."""

LATE = {"model": (), "gpu-model": ("concurrency-limit",)}
"""Those that may guard one as well where signals are late: they count what is in flight."""

COUNTS = (
    *("envs", "collect_steps", "n_step", "replay_capacity", "batch_size", "tries"),
    *("states_per_round", "capacity", "uses", "lstm_width", "lstm_layers"),
)
SHARES = (
    *("exploration_start", "exploration_end", "exploration_fraction", "demonstrators"),
    "on_policy_share",
)
RATES = ("discount_per_decision", "target_rate", "average_rate", "trace_decay")
POSITIVE = (
    *("replay_ratio", "learning_rate", "reward_scale", "quantiles", "clip_range"),
    *("horizon", "uses_per_state", "huber_delta"),
)


def check_range(name: str, value: Any) -> None:
    """Raise a ConfigError unless `value` is one that the setting `name` can have."""
    if name in COUNTS:
        require(value >= 1, name, value, "an integer >= 1")
    if name in SHARES:
        require(0 <= value <= 1, name, value, "0 to 1")
    if name in RATES:
        require(0 < value <= 1, name, value, "above 0, at most 1")
    if name in POSITIVE:
        require(value > 0, name, value, "> 0")
    if name == "discount_rate_per_s":
        require(value >= 0, name, value, ">= 0")
    if name == "stress":
        require(value >= 1, name, value, ">= 1")
    if name == "credit":
        require(value in CREDITS, name, value, ", ".join(CREDITS))
    if name == "cautions":
        require(len(value) > 0 and min(value) >= 0, name, value, "at least one, all >= 0")


def check_heuristic(action: str, observation: tuple[str, ...]) -> None:
    """Raise a ConfigError unless the heuristic over `action` can read what it needs."""
    require(action in ACTIONS, "action", action, ", ".join(ACTIONS))
    needed = ("slack",) if action == "model" else PAIR_FEATURES
    valid = set(needed) <= set(observation)
    require(valid, "observation", observation, f"{', '.join(needed)} among them, or no heuristic")


def check_attention(attention: int, action: str, hidden: tuple[int, ...]) -> None:
    """Raise a ConfigError unless a network over `action` can have so much attention."""
    if action != "gpu-model":
        accepted = f"0 where action is {action!r}, or action 'gpu-model': GPUs see each other"
        require(attention == 0, "attention", attention, accepted)
    if not hidden:
        require(attention == 0, "attention", attention, "0 without a hidden layer")
    require(attention >= 0, "attention", attention, ">= 0")
