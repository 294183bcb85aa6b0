"""Time where machines fail: up to the next decision they change, and sends turn out to have failed.

At one moment GPUs are done first, then machines change, in their order, then requests come back.
"""

from __future__ import annotations

import math

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.dispatch import update_load
from llmroute_env.dynamics.machines import change_machine
from llmroute_env.dynamics.returns import NOWHERE, call_back, may_retry, next_return_s
from llmroute_env.dynamics.routing import advance
from llmroute_env.dynamics.scrapes import believe_down
from llmroute_env.dynamics.service.completions import log_failed
from llmroute_env.dynamics.state import LOST, RETRIED
from llmroute_env.dynamics.window import next_arrival_s
from llmroute_env.dynamics.world import World, if_nothing_fails


def nothing(world: World, e: int) -> None:
    """Of machines that do not fail."""


def no_end_s(world: World, e: int) -> float:
    """Nothing has ended yet."""
    return float(world.state.envs[e].now_s)


@if_nothing_fails(nothing)
def begin_among_machines(world: World, e: int) -> None:
    """Let machines change up to the clock, before the first decision: they do not count."""
    env = world.state.envs[e]
    for gpu in range(world.cluster.rules[0].gpus):
        update_load(world, e, gpu)
    while env.change_s <= env.now_s:
        change_machine(world, e)
    env.failures = 0


@if_nothing_fails(no_end_s)
def pass_failures(world: World, e: int) -> float:
    """Let machines change and requests be lost, until a decision is next or nothing is in flight.

    Returns when the last of what was in flight ended, or now.
    """
    env = world.state.envs[e]
    last_s = float(env.now_s)
    while True:
        return_s = next_return_s(world, e)
        until_s = min(next_arrival_s(world, e), return_s)
        if env.change_s <= until_s and env.change_s < math.inf:
            last_s = max(last_s, advance(world, e, float(env.change_s)))
            if until_s == math.inf and env.busy_gpus == 0:
                return last_s
            change_machine(world, e)
        elif return_s == until_s and until_s < math.inf and has_failed(world, e):
            last_s = max(last_s, advance(world, e, return_s))
            if settle(world, e):
                return last_s
            last_s = return_s
        else:
            return last_s


@compiled
def has_failed(world: World, e: int) -> bool:
    """Whether the first request that will come back has failed."""
    return bool(world.state.returns[e, 0].gpu != NOWHERE)


@compiled
def settle(world: World, e: int) -> bool:
    """What has failed, and is the first to come back, does so if it may be tried again."""
    s = world.state
    failed = s.returns[e, 0]
    again = may_retry(world, e, failed.request)
    log_failed(world, e, RETRIED if again else LOST, failed)
    believe_down(world, e, failed.gpu, failed.at_s)
    s.fates[e, failed.request].tries += 1
    if again:
        s.envs[e].retried += 1
        # It counts where it is sent to last.
        s.models[e, failed.model].routed -= 1
        failed.gpu = NOWHERE
    else:
        s.envs[e].lost += 1
        call_back(world, e)
    return again
