"""What an answer is worth, and who has earned it: hard and soft deadlines, weights, peaks."""

from __future__ import annotations

import math
from typing import Any

from llmroute_env.dynamics.cluster import Cluster
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.state import IN_TIME, LATE, REJECTED
from llmroute_env.dynamics.world import World

HARD, LINEAR, EXPONENTIAL = range(3)
STEEPNESS = 5.0
"""Time constants that the exponential decay passes within the grace."""

REWARD_TERMS = ("utility_in_time", "utility_late")
"""The reward of a step is the sum of these terms, and of `utility_rejected` where a router that
rejects earns or pays for it (EnvConfig.reject_utility); all else adds 0."""


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
    # Less the floor, so that nothing is lost at once on the deadline or at the end of the grace.
    floor = math.exp(-STEEPNESS)
    return (math.exp(-STEEPNESS * x) - floor) / (1.0 - floor)


@compiled
def worth(cluster: Cluster, request: Any, model: int, lateness_s: float) -> tuple[int, float]:
    """Outcome and utility of an answer by `model` to a REQUEST, so much later than due."""
    utility = cluster.utility[request.user_class, request.task, model]
    if lateness_s <= 0.0:
        return IN_TIME, utility
    terms = cluster.terms[request.user_class, request.task]
    return LATE, utility * decay(terms.decay, terms.grace_s, lateness_s)


@compiled
def share_of_peak(utility: float, peak: float) -> float:
    """Utility as a share of its peak; 0 where that is 0. Of arrays: simulation.summary."""
    return float(utility / peak) if peak > 0.0 else 0.0


@compiled
def expect(world: World, e: int) -> None:
    """Count what the pending request would earn from the largest model in time."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    user_class = s.envs[e].user_class
    peak = cluster.utility[user_class, s.envs[e].task, rules.peak_model]
    s.envs[e].peak_utility += peak
    if rules.classes > 1:
        s.classes[e, user_class].routed += 1
        s.classes[e, user_class].peak_utility += peak


@compiled
def credit(world: World, e: int, request: Any, model: int, lateness_s: float) -> tuple[int, float]:
    """Count the answer by `model` to one request, so much later than due; outcome and utility."""
    env = world.state.envs[e]
    outcome, utility = worth(world.cluster, request, model, lateness_s)
    if outcome == LATE:
        env.late += 1
        env.step_late += utility
    else:
        env.in_time += 1
        env.step_in_time += utility
    if world.cluster.rules[0].classes > 1:
        credit_class(world, e, request.user_class, outcome, utility)
    return outcome, utility


@compiled
def credit_rejected(world: World, e: int, utility: float) -> None:
    """Count what turning the pending request away is worth."""
    env = world.state.envs[e]
    env.step_rejected += utility
    if world.cluster.rules[0].classes > 1:
        credit_class(world, e, env.user_class, REJECTED, utility)


@compiled
def credit_class(world: World, e: int, user_class: int, outcome: int, utility: float) -> None:
    """Count what a request of a class of users came to."""
    users = world.state.classes[e, user_class]
    users.in_time += outcome == IN_TIME
    users.utility += utility
