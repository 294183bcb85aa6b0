"""The order of settings in run cards: what has been written keeps its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ORDER = (
    *("decisions", "action", "observation", "lstm_width", "lstm_layers", "hidden"),
    *("attention", "dueling"),
    "envs",
    *("skipped_decisions", "tries", "follows", "horizon", "on_policy_share"),
    *("states_per_round", "capacity", "collect_steps", "warmup_decisions"),
    *("exploration_start", "exploration_end", "exploration_fraction"),
    *("demonstrators", "guarded", "cautions", "subtracts_peak", "credit", "look_ahead_steps"),
    *("discount_per_decision", "discount_rate_per_s", "trace_decay", "n_step"),
    *("reward_centre", "reward_scale", "entropy_weight", "value_weight"),
    *("replay_capacity", "batch_size", "replay_ratio", "uses_per_state", "huber_delta"),
    *("learning_rate", "learning_rate_end", "largest_gradient", "batch_size", "uses"),
    *("clip_range", "target_rate", "target_period", "average_rate", "cautions", "quantiles"),
    *("validations", "validation_episodes", "validation_window_s", "stress"),
)
"""Two have two places: which, the settings of a learner say."""

LATER = {"attention": 0}
"""Settings that came when there were cards already: cards hold them where they are not these."""


def in_card_order(settings: Mapping[str, Any], late: tuple[str, ...]) -> dict[str, Any]:
    """`settings` in the order of run cards, those of `late` at their later place.

    What the order does not know yet comes last, and nothing is said of what `LATER` takes as said.
    """
    order = list(ORDER)
    for name in late:
        order.remove(name)
    said = {n for n, value in settings.items() if n not in LATER or value != LATER[n]}
    return {name: settings[name] for name in (*order, *settings) if name in said}
