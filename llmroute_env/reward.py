"""What an answer is worth: hard and soft deadlines."""

from __future__ import annotations

import math

from llmroute_env._compiled import compiled

HARD, LINEAR, EXPONENTIAL = range(3)
STEEPNESS = 5.0
"""Time constants that the exponential decay passes within the grace."""

REWARD_TERMS = ("utility_in_time", "utility_late")
"""The reward of a step is the sum of these terms; rejected and shed requests add 0."""


@compiled
def decay(kind: int, grace_s: float, lateness_s: float) -> float:
    """The share of its accuracy that an answer keeps when it is `lateness_s` late."""
    if lateness_s <= 0.0:
        return 1.0
    if kind == HARD or lateness_s >= grace_s:
        return 0.0
    x = lateness_s / grace_s
    if kind == LINEAR:
        return 1.0 - x
    floor = math.exp(-STEEPNESS)
    return (math.exp(-STEEPNESS * x) - floor) / (1.0 - floor)
