"""How long a machine is up or down: numbers of its own stream, made times by the laws of both."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from llmroute_env.dynamics.cluster import Cluster
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.streams import GAMMA, mixed, normal, share
from llmroute_env.dynamics.world import World
from llmroute_env.failure_specs import EXPONENTIAL, LISTED, LOGNORMAL, REPLAYED
from llmroute_env.specs import TICK_S, TICKS_PER_S


class Law(NamedTuple):
    """How long machines are up (way 0) or down (way 1): see failure_specs.Law."""

    kind: int
    mean_s: float
    mu: float
    sigma: float
    length: int  # of the list that is replayed


@compiled
def law_of(cluster: Cluster, way: int) -> Law:
    """The law of times up (way 0) or down (way 1)."""
    rules = cluster.rules[0]
    if way == 0:
        return Law(rules.up_kind, rules.up_mean_s, rules.up_mu, rules.up_sigma, rules.up_count)
    found = rules.down_kind, rules.down_mean_s, rules.down_mu, rules.down_sigma, rules.down_count
    return Law(found[0], found[1], found[2], found[3], found[4])


@compiled
def draw_of(world: World, e: int, k: int) -> float:
    """The next number in [0, 1) of machine `k`."""
    machine = world.state.machines[e, k]
    machine.rng += GAMMA
    return share(mixed(machine.rng))


@compiled
def draw_length(world: World, e: int, k: int, way: int) -> float:
    """How long machine `k` is up (way 0) or down (way 1) this time, whole ticks."""
    law = law_of(world.cluster, way)
    if law.kind == LISTED:
        return next_listed(world, e, k, way)
    if law.kind == REPLAYED:
        if place_of(world, e, k, way) < 0:
            set_place(world, e, k, way, int(draw_of(world, e, k) * law.length))
        return in_ticks(next_replayed(world, e, k, way))
    return in_ticks(draw_free(world, e, k, way, 0.0))


@compiled
def draw_first_rest(world: World, e: int, k: int, way: int) -> float:
    """What is left of such a time at a moment that falls into it, whole ticks.

    Long ones are met more often than short ones: by their length.
    """
    law = law_of(world.cluster, way)
    if law.kind == EXPONENTIAL:
        return in_ticks(draw_free(world, e, k, way, 0.0))
    part = draw_of(world, e, k)
    if law.kind == LOGNORMAL:
        return in_ticks(part * draw_free(world, e, k, way, law.sigma * law.sigma))
    left_s = draw_of(world, e, k) * law.mean_s * law.length
    place = 0
    while place < law.length - 1 and left_s >= length_at(world, way, place):
        left_s -= length_at(world, way, place)
        place += 1
    set_place(world, e, k, way, place)
    return in_ticks(part * next_replayed(world, e, k, way))


@compiled
def draw_free(world: World, e: int, k: int, way: int, shift: float) -> float:
    """A time that is drawn anew, seconds; of log-normal ones the logarithm grows by `shift`."""
    law = law_of(world.cluster, way)
    if law.kind == EXPONENTIAL:
        return float(-law.mean_s * math.log(1.0 - draw_of(world, e, k)))
    machine = world.state.machines[e, k]
    z = normal(machine.rng, 1)
    machine.rng += GAMMA + GAMMA
    return math.exp(law.mu + shift + law.sigma * z)


@compiled
def in_ticks(seconds: float) -> float:
    """A length in whole ticks, at least one."""
    return float(max(np.rint(seconds * TICKS_PER_S) * TICK_S, TICK_S))


@compiled
def place_of(world: World, e: int, k: int, way: int) -> int:
    """Where in its list machine `k` is; -1 if it has not begun."""
    machine = world.state.machines[e, k]
    return int(machine.place_up if way == 0 else machine.place_down)


@compiled
def set_place(world: World, e: int, k: int, way: int, place: int) -> None:
    """Go to a place of the list of machine `k`."""
    machine = world.state.machines[e, k]
    if way == 0:
        machine.place_up = place
    else:
        machine.place_down = place


@compiled
def length_at(world: World, way: int, place: int) -> float:
    """A length of the list of times up, or down, seconds."""
    period = world.cluster.periods[place]
    return float(period.up_s if way == 0 else period.down_s)


@compiled
def next_replayed(world: World, e: int, k: int, way: int) -> float:
    """The length at the place of machine `k`, which moves on; after the last comes the first."""
    place = place_of(world, e, k, way)
    after = place + 1
    set_place(world, e, k, way, after if after < law_of(world.cluster, way).length else 0)
    return length_at(world, way, place)


@compiled
def begin_list(world: World, e: int, k: int) -> None:
    """Go to the first time of machine `k` where they are listed."""
    periods, machine = world.cluster.periods, world.state.machines[e, k]
    place = 0
    while place < len(periods) and periods[place].machine != k:
        place += 1
    machine.place_up, machine.place_down = place, place


@compiled
def next_listed(world: World, e: int, k: int, way: int) -> float:
    """The next time of machine `k` where they are listed; after the last it is up for ever."""
    periods, place = world.cluster.periods, place_of(world, e, k, way)
    if place >= len(periods) or periods[place].machine != k:
        return math.inf
    set_place(world, e, k, way, place + 1)
    return length_at(world, way, place)
