"""Machines that fail: when they do, by streams of their own, and what that changes at once.

A machine is up, is up and about to go (of which notice is given), or is down, and so on in turn.
Nothing here is asked where nothing fails.
"""

from __future__ import annotations

import math

import numpy as np

from llmroute_env.dynamics.cluster import Cluster
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.dispatch import update_load
from llmroute_env.dynamics.periods import (
    begin_list,
    draw_first_rest,
    draw_length,
    draw_of,
    in_ticks,
)
from llmroute_env.dynamics.records import copy_record
from llmroute_env.dynamics.scrapes import before_change
from llmroute_env.dynamics.service.border import evict, expect_event
from llmroute_env.dynamics.service.counts import change_running, change_waiting
from llmroute_env.dynamics.streams import bits, mixed
from llmroute_env.dynamics.world import World, if_nothing_fails
from llmroute_env.failure_specs import LISTED

STEADY, LEAVING, DOWN = range(3)
"""Phases: up, up but about to go, down."""

SALT = np.uint64(0x6661696C75726573)
"""The word `failures`: keeps the streams of machines apart from all others."""

NOT_DRAWN = -1


def nothing(world: World, e: int) -> None:
    """Of machines that do not fail."""


def nothing_between(world: World, source: int, target: int) -> None:
    """Likewise."""


@if_nothing_fails(nothing)
def begin_machines(world: World, e: int) -> None:
    """Put every machine where one may be found that has run for ever, at the episode's second 0."""
    s, rules = world.state, world.cluster.rules[0]
    for gpu in range(rules.gpus):
        s.gpus[e, gpu].is_up, s.gpus[e, gpu].leaves_s = 1, math.inf
    stream = mixed(s.envs[e].rng ^ SALT)
    for k in range(rules.machines):
        machine = s.machines[e, k]
        machine.rng = bits(stream, k + 1)
        machine.place_up, machine.place_down = NOT_DRAWN, NOT_DRAWN
        up_s, down_s, warm_up_s = rules.up_mean_s, rules.down_mean_s, rules.warm_up_s
        if rules.up_kind == LISTED:
            begin_list(world, e, k)
            length_s = draw_length(world, e, k, 0)
            if length_s > 0.0:
                begin_up(world, e, k, 0.0, length_s)
            else:
                begin_down(world, e, k, draw_length(world, e, k, 1) + warm_up_s)
            continue
        place_s = draw_of(world, e, k) * (up_s + down_s + warm_up_s)
        if place_s < up_s:
            begin_up(world, e, k, 0.0, draw_first_rest(world, e, k, 0))
        elif place_s < up_s + down_s:
            begin_down(world, e, k, draw_first_rest(world, e, k, 1) + warm_up_s)
        else:
            # It warms up already.
            begin_down(world, e, k, in_ticks(up_s + down_s + warm_up_s - place_s))
    find_next_change(world, e)


@compiled
def find_next_change(world: World, e: int) -> None:
    """Which machine changes next; of those that do at the same moment the first."""
    s = world.state
    s.envs[e].change_s, s.envs[e].machine = math.inf, 0
    for k in range(world.cluster.rules[0].machines):
        if s.machines[e, k].change_s < s.envs[e].change_s:
            s.envs[e].change_s, s.envs[e].machine = s.machines[e, k].change_s, k


@compiled
def change_machine(world: World, e: int) -> None:
    """The phase of the machine ends whose does next."""
    s = world.state
    k, at_s = s.envs[e].machine, s.envs[e].change_s
    machine = s.machines[e, k]
    first = first_gpu_of(world.cluster, k)
    for gpu in range(first, first + world.cluster.rules[0].gpus_per_machine):
        before_change(world, e, gpu, at_s)
    if machine.phase == DOWN:
        begin_up(world, e, k, at_s, draw_length(world, e, k, 0))
    elif at_s < machine.fails_s:
        leave(world, e, k)
    else:
        s.envs[e].failures += 1
        warm_up_s = world.cluster.rules[0].warm_up_s
        begin_down(world, e, k, at_s + draw_length(world, e, k, 1) + warm_up_s)
        fail_gpus(world, e, k, at_s)
    find_next_change(world, e)


@compiled
def begin_up(world: World, e: int, k: int, at_s: float, length_s: float) -> None:
    """Machine `k` is up from `at_s` on, for so long."""
    machine, notice_s = world.state.machines[e, k], world.cluster.rules[0].notice_s
    machine.phase, machine.fails_s = STEADY, at_s + length_s
    machine.change_s = machine.fails_s
    tell_health(world, e, k, True, math.inf)
    if notice_s > 0.0:
        machine.change_s = machine.fails_s - notice_s
        if machine.change_s <= at_s:
            leave(world, e, k)


@compiled
def leave(world: World, e: int, k: int) -> None:
    """It is told when machine `k` will fail."""
    machine = world.state.machines[e, k]
    machine.phase, machine.change_s = LEAVING, machine.fails_s
    tell_health(world, e, k, True, machine.fails_s)


@compiled
def begin_down(world: World, e: int, k: int, until_s: float) -> None:
    """Machine `k` is down until then, for everybody."""
    machine = world.state.machines[e, k]
    machine.phase, machine.fails_s, machine.change_s = DOWN, math.inf, until_s
    tell_health(world, e, k, False, math.inf)


@compiled
def first_gpu_of(cluster: Cluster, k: int) -> int:
    """The first GPU of machine `k`; its others follow."""
    rules = cluster.rules[0]
    for p in range(rules.pools):
        pool = cluster.pools[p]
        if 0 <= k - pool.first_machine < pool.machines:
            return int(pool.first_gpu + (k - pool.first_machine) * rules.gpus_per_machine)
    return -1


@compiled
def tell_health(world: World, e: int, k: int, is_up: bool, leaves_s: float) -> None:
    """Tell of the GPUs of machine `k` whether they are up, and when they will not be."""
    first = first_gpu_of(world.cluster, k)
    for gpu in range(first, first + world.cluster.rules[0].gpus_per_machine):
        record = world.state.gpus[e, gpu]
        record.is_up, record.leaves_s = is_up, leaves_s
        update_load(world, e, gpu)


@compiled
def fail_gpus(world: World, e: int, k: int, at_s: float) -> None:
    """Whatever the GPUs of machine `k` hold has failed."""
    first = first_gpu_of(world.cluster, k)
    for gpu in range(first, first + world.cluster.rules[0].gpus_per_machine):
        fail_gpu(world, e, gpu, at_s)


@compiled
def fail_gpu(world: World, e: int, gpu: int, at_s: float) -> None:
    """Leave `gpu` as one that holds nothing, and has worked off all it held."""
    s = world.state
    record = s.gpus[e, gpu]
    was_busy = record.running > 0
    evict(world, e, gpu, at_s)
    for model in range(world.cluster.rules[0].models):
        queue = s.queues[e, gpu, model]
        change_running(world, e, gpu, model, -queue.running)
        change_waiting(world, e, gpu, model, -queue.waiting)
    record.model, record.finish_s, record.drain_s = -1, math.inf, at_s
    if was_busy:
        s.envs[e].busy_gpus -= 1
        expect_event(world, e, gpu, math.inf)


def is_never_down(world: World, e: int, gpu: int) -> bool:
    """Nothing fails."""
    return False


@if_nothing_fails(is_never_down)
def is_down(world: World, e: int, gpu: int) -> bool:
    """Whether `gpu` cannot take anything, whatever is believed of it."""
    return bool(world.state.gpus[e, gpu].is_up == 0)


@if_nothing_fails(nothing_between)
def copy_machines(world: World, source: int, target: int) -> None:
    """Copy the machines of one env to another; what is told of their GPUs is already."""
    s = world.state
    for k in range(world.cluster.rules[0].machines):
        copy_record(s.machines[target, k], s.machines[source, k])
