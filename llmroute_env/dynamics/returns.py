"""Requests that come back: put off by the router, or failed, they become pending again later.

Where none can, nothing of this is asked, and the number of a request is that of its decision.
"""

from __future__ import annotations

import math

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.world import World
from llmroute_env.specs import TICK_S

NOWHERE = -1
"""In place of a GPU and a model: the request that comes back was put off, and has not failed."""


@compiled
def begin_fate(world: World, e: int, number: int) -> None:
    """Request `number` arrives: it has not come back, whatever the env was used for before."""
    fate = world.state.fates[e, number]
    fate.defers, fate.tries = 0, 0


@compiled
def decision_of(world: World, e: int, number: int) -> int:
    """The last decision about request `number`."""
    if not world.cluster.rules[0].come_back:
        return number
    return int(world.state.fates[e, number].decision)


@compiled
def decide_on(world: World, e: int) -> None:
    """Note that the decision at hand is about the pending request."""
    env = world.state.envs[e]
    if world.cluster.rules[0].come_back:
        world.state.fates[e, env.request].decision = env.decision


@compiled
def is_new(world: World, e: int) -> bool:
    """Whether the pending request has not been pending before."""
    if not world.cluster.rules[0].come_back:
        return True
    fate = world.state.fates[e, world.state.envs[e].request]
    return bool(fate.defers == 0 and fate.tries == 0)


@compiled
def may_retry(world: World, e: int, number: int) -> bool:
    """Whether request `number`, which has failed, can be sent once more."""
    return bool(world.state.fates[e, number].tries + 1 < world.cluster.rules[0].tries)


@compiled
def may_defer(world: World, e: int) -> bool:
    """Whether the pending request can be put off once more."""
    s, rules = world.state, world.cluster.rules[0]
    if s.envs[e].over:
        return False
    return bool(s.fates[e, s.envs[e].request].defers < rules.most_defers)


@compiled
def arrived_s(world: World, e: int) -> float:
    """When the pending request arrived."""
    env = world.state.envs[e]
    return float(env.now_s - env.waited_s)


@compiled
def left_of(world: World, e: int, allowed_s: float) -> float:
    """What is left to the pending request of so many seconds since it arrived.

    All of it, unless it has come back; at least a tick.
    """
    waited_s = world.state.envs[e].waited_s
    return float(max(allowed_s - waited_s, TICK_S) if waited_s > 0.0 else allowed_s)


@compiled
def next_return_s(world: World, e: int) -> float:
    """When the next request comes back; inf if none will."""
    s = world.state
    return float(s.returns[e, 0].at_s) if s.envs[e].away > 0 else math.inf


@compiled
def before(world: World, e: int, a: int, b: int) -> bool:
    """Whether entry `a` of the heap comes before entry `b`."""
    one, other = world.state.returns[e, a], world.state.returns[e, b]
    return bool(one.at_s < other.at_s or (one.at_s == other.at_s and one.request < other.request))


@compiled
def swap(world: World, e: int, a: int, b: int) -> None:
    """Exchange two entries of the heap."""
    one, other = world.state.returns[e, a], world.state.returns[e, b]
    at_s, request, gpu, model = one.at_s, one.request, one.gpu, one.model
    copy(world, e, b, a)
    other.at_s, other.request, other.gpu, other.model = at_s, request, gpu, model


@compiled
def copy(world: World, e: int, source: int, target: int) -> None:
    """Overwrite one entry of the heap with another."""
    one, other = world.state.returns[e, target], world.state.returns[e, source]
    one.at_s, one.request = other.at_s, other.request
    one.gpu, one.model = other.gpu, other.model


@compiled
def send_away(world: World, e: int, number: int, until_s: float) -> None:
    """Let request `number` come back at `until_s`."""
    give_up(world, e, NOWHERE, NOWHERE, number, until_s)


@compiled
def give_up(world: World, e: int, gpu: int, model: int, number: int, at_s: float) -> None:
    """Request `number`, which was sent to (gpu, model), is known at `at_s` to have failed."""
    s = world.state
    place = s.envs[e].away
    entry = s.returns[e, place]
    entry.at_s, entry.request, entry.gpu, entry.model = at_s, number, gpu, model
    s.envs[e].away += 1
    while place > 0 and before(world, e, place, (place - 1) // 2):
        swap(world, e, place, (place - 1) // 2)
        place = (place - 1) // 2


@compiled
def call_back(world: World, e: int) -> int:
    """Take the request that comes back first; its number."""
    s = world.state
    number = s.returns[e, 0].request
    s.envs[e].away -= 1
    left = s.envs[e].away
    copy(world, e, left, 0)
    place = 0
    while True:
        least = place
        for child in (2 * place + 1, 2 * place + 2):
            if child < left and before(world, e, child, least):
                least = child
        if least == place:
            return int(number)
        swap(world, e, place, least)
        place = least
