"""Which GPU, where the router leaves that open: the dispatchers."""

from __future__ import annotations

import math

from llmroute_env.dynamics.cluster import Cluster, hosts
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.tournament import LOAD, set_key, winner
from llmroute_env.dynamics.world import World, if_nothing_fails, view_of

LEAST_WORK, SHORTEST_QUEUE, ROUND_ROBIN = range(3)
DISPATCHERS = ("least-work", "shortest-queue", "round-robin")


@compiled
def choose_gpu(world: World, e: int, model: int) -> int:
    """The GPU that the dispatcher picks for `model`; -1 if no GPU hosts it. Changes nothing.

    Of those that are believed to be up, if any is, else the first.
    """
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    if rules.dispatcher == ROUND_ROBIN:
        following = next_host(world, e, s.envs[e].next_gpu, model)
        return following if following >= 0 else first_host(cluster, model)
    # One tree per pool: its GPUs host the same models, so a winner is a host or nobody is.
    best = -1
    for p in range(rules.pools):
        if cluster.batch_limit[p, model] > 0:
            pool = cluster.pools[p]
            gpu: int = winner(s.contests, e, LOAD, pool.first_gpu, pool.gpus, 1)
            if best < 0 or s.contests[e, LOAD, gpu].key < s.contests[e, LOAD, best].key:
                best = gpu
    return best


@compiled
def next_host(world: World, e: int, cursor: int, model: int) -> int:
    """The first GPU at or after `cursor`, cyclically, that serves `model`; -1 if none does."""
    gpus = world.cluster.rules[0].gpus
    for step in range(gpus):
        gpu: int = (cursor + step) % gpus
        if hosts(world.cluster, gpu, model) and seems_up(world, e, gpu):
            return gpu
    return -1


@compiled
def first_host(cluster: Cluster, model: int) -> int:
    """The first GPU that hosts `model`; -1 if none does."""
    for gpu in range(cluster.rules[0].gpus):
        if hosts(cluster, gpu, model):
            return gpu
    return -1


def is_always_up(world: World, e: int, gpu: int) -> bool:
    """Nothing fails."""
    return True


@if_nothing_fails(is_always_up)
def seems_up(world: World, e: int, gpu: int) -> bool:
    """Whether a router must believe that `gpu` is up."""
    return bool(world.state.gpus[view_of(world, e), gpu].is_up != 0)


@compiled
def update_load(world: World, e: int, gpu: int) -> None:
    """Tell the dispatcher that what is seen of `gpu` may have changed: drain time and requests."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    if rules.dispatcher == ROUND_ROBIN:
        return
    seen = s.gpus[view_of(world, e), gpu]
    held = seen.waiting + seen.running
    key = seen.drain_s if rules.dispatcher == LEAST_WORK else float(held)
    if not seems_up(world, e, gpu):
        key = math.inf
    # Most events leave the drain time as predicted: they need no match.
    if key != s.contests[e, LOAD, gpu].key:
        pool = cluster.pools[cluster.pool_of[gpu]]
        set_key(s.contests, e, LOAD, pool.first_gpu, pool.gpus, gpu, key)
