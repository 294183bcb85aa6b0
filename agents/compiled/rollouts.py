"""What every action would have earned: rollouts from visited states, compiled.

From a state each action is tried, then a base policy followed for a while under the same
arrivals (common random numbers), so that the values of the actions differ by what the actions
did and not by what happened to arrive (Tesauro and Galperin 1996; Bertsekas and Castanon 1999).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.compiled.policies import CompiledPolicy, decide, walk
from agents.compiled.rules import LEAST_WORTH, price_at
from llmroute_env.dynamics.actions import gpu_of, model_of
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.episode import begin_episode, fork
from llmroute_env.dynamics.observation import encode
from llmroute_env.dynamics.routing import advance
from llmroute_env.dynamics.signals import backlog_s, is_idle, load_over_short_window
from llmroute_env.dynamics.stepping import Outputs, keep_final
from llmroute_env.dynamics.world import World, if_nothing_fails

UNLIMITED = 2**62
"""Decisions that nobody counts to."""


class Trial(NamedTuple):
    """How an action is tried: `base` is followed after it for `horizon_s`, in env `spare`.

    That env is overwritten.
    """

    base: CompiledPolicy
    world: World
    spare: int
    horizon_s: float


@compiled
def try_actions(trial: Trial, e: int, values: NDArray[np.float64], most: int = UNLIMITED) -> int:
    """Write the utility that each action and then the base earn until the horizon from env `e` on.

    Requests in flight at the horizon are served to their end, less the price of the GPU time that
    they take from later ones (`price_of_backlog`). Returns the decisions taken, `most` at most;
    then the values may be unfinished.
    """
    taken = 0
    for action in range(len(values)):
        values[action], moved = try_action(trial, e, action, most - taken)
        taken += moved
    return taken


@compiled
def try_action(trial: Trial, e: int, action: int, most: int = UNLIMITED) -> tuple[float, int]:
    """The utility that `action` earns, as in `try_actions`; and decisions taken."""
    base, world, spare = trial.base, trial.world, trial.spare
    s = world.state
    until_s = s.envs[e].now_s + trial.horizon_s
    fork(world, e, spare)
    taken = walk(base, world, spare, action, until_s, most)
    value = s.envs[spare].utility - s.envs[e].utility
    if not s.envs[spare].over:
        value -= price_of_backlog(base, world, spare)
        s.envs[spare].step_in_time, s.envs[spare].step_late = 0.0, 0.0
        advance(world, spare, math.inf)
        value += s.envs[spare].step_in_time + s.envs[spare].step_late
    return value, taken


@compiled
def price_of_backlog(base: CompiledPolicy, world: World, e: int) -> float:
    """What the work that env `e` has before it takes from the requests to come, in utility.

    At the price of GPU time of priced-pair; nothing if the base policy is another.
    """
    rules = world.cluster.rules[0]
    work_s = 0.0
    for gpu in range(rules.gpus):
        work_s += backlog_s(world, e, gpu)
    price = price_at(base.price, load_over_short_window(world, e))
    cost: float = price * work_s * rules.load_1_per_s / rules.gpus
    return cost


@compiled
def try_pairs(
    trial: Trial,
    e: int,
    values: NDArray[np.float64],
    picks: NDArray[np.int64],
    most: int = UNLIMITED,
) -> int:
    """As `try_actions`, but only for the pairs that are worth most to the base, as many as `picks`.

    Of the others `values` holds what the base thinks they are worth less than its own choice.
    """
    base, world = trial.base, trial.world
    usual = decide(base, world, e)
    for pair in range(len(values)):
        values[pair] = base.worths[pair] - base.worths[usual]
    pick_pairs(world, e, values, picks)
    taken = 0
    # The first pick is the usual pair, relative to which the pairs that are not tried are valued.
    reference = 0.0
    for k in range(len(picks)):
        if picks[k] < 0:
            break
        value, moved = try_action(trial, e, picks[k], most - taken)
        taken += moved
        if k == 0:
            reference = value
        values[picks[k]] = value - reference
    for pair in range(len(values)):
        twin = same_action(world, e, pair)
        if twin >= 0:
            values[pair] = values[twin]
    return taken


@compiled
def pick_pairs(world: World, e: int, values: NDArray[np.float64], picks: NDArray[np.int64]) -> None:
    """Write the pairs of the largest values into `picks`, of those that do the same only one.

    None that leads nowhere, unless all do; -1 where there are no more.
    """
    for k in range(len(picks)):
        picks[k] = -1
        for pair in range(len(values)):
            leads_nowhere = values[pair] < LEAST_WORTH
            is_known = leads_nowhere or same_action(world, e, pair) >= 0
            for earlier in range(k):
                is_known = is_known or picks[earlier] == pair
            if not is_known and (picks[k] < 0 or values[pair] > values[picks[k]]):
                picks[k] = pair


@compiled
def same_action(world: World, e: int, action: int) -> int:
    """An earlier action that does the same: that model on another idle GPU of the pool; or -1."""
    cluster = world.cluster
    gpu, is_late = gpu_of(cluster, action), cluster.rules[0].scrape_s > 0.0
    # Of GPUs that were seen some time ago nobody knows whether they are alike.
    if gpu == 0 or is_late or not is_idle(world, e, gpu):
        return -1
    for earlier in range(cluster.pools[cluster.pool_of[gpu]].first_gpu, gpu):
        if is_idle(world, e, earlier) and go_together(world, e, gpu, earlier):
            return int(earlier * cluster.rules[0].models + model_of(cluster, action))
    return -1


def always(world: World, e: int, gpu: int, other: int) -> bool:
    """Where none can fail."""
    return True


@if_nothing_fails(always)
def go_together(world: World, e: int, gpu: int, other: int) -> bool:
    """Whether both are up, or down, and will leave at the same time, as far as is known."""
    one, two = world.state.gpus[e, gpu], world.state.gpus[e, other]
    return bool(one.is_up == two.is_up and one.leaves_s == two.leaves_s)


class Tried(NamedTuple):
    """States of N envs in which every action was tried."""

    observations: NDArray[np.float32]  # (N, F)
    values: NDArray[np.float64]  # (N, actions): utility within the horizon
    picks: NDArray[np.int64]  # (K,) scratch: pairs that are tried in one state


@compiled
def go_on(behaviour: CompiledPolicy, world: World, e: int, out: Outputs, decisions: int) -> int:
    """Follow `behaviour` in env `e` for so many decisions, into further episodes; returns these."""
    s = world.state
    taken = 0
    while taken < decisions or s.envs[e].over:
        if s.envs[e].over:
            keep_final(world, e, out)
            out.terminated[e] = True
            begin_episode(world, e)
        taken += walk(behaviour, world, e, -1, math.inf, decisions - taken)
    return taken


@compiled
def visit_and_try(
    behaviour: CompiledPolicy,
    trial: Trial,
    out: Outputs,
    skips: NDArray[np.int64],
    tried: Tried,
    most: int = UNLIMITED,
) -> tuple[int, int]:
    """Follow `behaviour` for `skips[e]` decisions in every env e but the last, then try actions.

    The last is the one that they are tried in.

    An episode that ends is followed by the next; `out.terminated` marks the envs in which one did,
    and `out` holds the counters of the last such. Returns the decisions taken, `most` at most, and
    the states in which every action was tried to the end: those of the first so many envs.
    """
    world = trial.world
    out.terminated[:] = False
    taken = 0
    for e in range(trial.spare):
        taken += go_on(behaviour, world, e, out, min(skips[e], most - taken))
        encode(world, e, tried.observations[e])
        values = tried.values[e]
        if world.cluster.rules[0].joint_action:
            taken += try_pairs(trial, e, values, tried.picks, most - taken)
        else:
            taken += try_actions(trial, e, values, most - taken)
        if taken == most:
            return taken, e
    return taken, trial.spare


@compiled
def visit_only(
    behaviour: CompiledPolicy,
    world: World,
    out: Outputs,
    skips: NDArray[np.int64],
    observations: NDArray[np.float32],
    most: int = UNLIMITED,
) -> tuple[int, int]:
    """As `visit_and_try`, but nothing is tried: what is seen is written into `observations`."""
    out.terminated[:] = False
    taken = 0
    for e in range(len(observations)):
        taken += go_on(behaviour, world, e, out, min(skips[e], most - taken))
        if taken == most:
            return taken, e
        encode(world, e, observations[e])
    return taken, len(observations)
