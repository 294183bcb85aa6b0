"""A third service model, to show what one takes: processor sharing, without batches or queues.

A GPU works on all the requests that it holds, on each of n at the n-th part of its speed. Its clock
says how much it has done for each: one is answered when that has moved on by its own work.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.returns import give_up
from llmroute_env.dynamics.reward import credit
from llmroute_env.dynamics.service import batches, published
from llmroute_env.dynamics.service.border import expect_event
from llmroute_env.dynamics.service.completions import log_served
from llmroute_env.dynamics.service.counts import change_running
from llmroute_env.dynamics.service.models import SERVICES
from llmroute_env.dynamics.state import Records, State
from llmroute_env.dynamics.world import World

MOST = 64
"""Requests that a GPU works on at once; more are turned away."""

NAMES = ("arrival_s", "deadline_s", "done_at", "number", "task", "user_class", "model")
HELD = np.dtype(
    list(zip(NAMES, ("f8", "f8", "f8", "i4", "i2", "i2", "i2"), strict=True)), align=True
)
"""`done_at`: on the clock of the request's GPU."""


class Sharing(NamedTuple):
    work_s: NDArray[np.float64]  # (P, M) of a request


class Arrays(NamedTuple):
    held: Records  # (E, G * MOST) HELD, those of a GPU side by side, the latest last
    clock: NDArray[np.float64]  # (E, G)
    read_s: NDArray[np.float64]  # (E, G) when the clock was last read


@compiled
def empty(world: World, e: int) -> None:
    cluster, s = world.cluster, world.state
    for gpu in range(cluster.rules[0].gpus):
        s.service.clock[e, gpu], s.service.read_s[e, gpu] = 0.0, 0.0
        for m in range(cluster.rules[0].models):
            s.queues[e, gpu, m].added_s = cluster.service.work_s[cluster.pool_of[gpu], m]


@compiled
def evict(world: World, e: int, gpu: int, at_s: float) -> None:
    for k in range(world.state.gpus[e, gpu].running):
        request = world.state.service.held[e, gpu * MOST + k]
        give_up(world, e, gpu, request.model, request.number, at_s)


@compiled
def read_clock(world: World, e: int, gpu: int, at_s: float) -> None:
    own, held = world.state.service, world.state.gpus[e, gpu].running
    if held > 0:
        own.clock[e, gpu] += (at_s - own.read_s[e, gpu]) / held
    own.read_s[e, gpu] = at_s


@compiled
def plan(world: World, e: int, gpu: int, at_s: float) -> None:
    s = world.state
    held, own, record = s.gpus[e, gpu].running, s.service, s.gpus[e, gpu]
    first, left_s = math.inf, 0.0
    for k in range(held):
        work_s = own.held[e, gpu * MOST + k].done_at - own.clock[e, gpu]
        left_s += work_s
        first = min(first, work_s)
    record.model = own.held[e, gpu * MOST].model if held > 0 else -1
    record.finish_s, record.drain_s = at_s + first * max(held, 1), at_s + left_s
    expect_event(world, e, gpu, record.finish_s)


@compiled
def admit(world: World, e: int, gpu: int, model: int) -> bool:
    s, held = world.state, world.state.gpus[e, gpu].running
    env = s.envs[e]
    if held == MOST:
        return False
    read_clock(world, e, gpu, env.now_s)
    request = s.service.held[e, gpu * MOST + held]
    request.arrival_s, request.deadline_s, request.number = (
        env.now_s - env.waited_s,
        env.deadline_s,
        env.request,
    )
    request.task, request.user_class, request.model = env.task, env.user_class, model
    request.done_at = s.service.clock[e, gpu] + s.queues[e, gpu, model].added_s
    change_running(world, e, gpu, model, 1)
    env.busy_gpus += held == 0
    plan(world, e, gpu, env.now_s)
    return True


@compiled
def answer(world: World, e: int, gpu: int) -> None:
    s = world.state
    at_s, kept, held = s.gpus[e, gpu].finish_s, 0, s.gpus[e, gpu].running
    read_clock(world, e, gpu, at_s)
    for k in range(held):
        request = s.service.held[e, gpu * MOST + k]
        if request.done_at <= s.service.clock[e, gpu] + 1e-12:
            late_s = at_s - request.arrival_s - request.deadline_s
            outcome, utility = credit(world, e, request, request.model, late_s)
            s.gpus[e, gpu].start_s = request.arrival_s
            log_served(world, e, gpu, request.model, request, outcome, utility)
            change_running(world, e, gpu, request.model, -1)
        else:
            s.service.held[e, gpu * MOST + kept] = request
            kept += 1
    s.envs[e].busy_gpus -= kept == 0
    plan(world, e, gpu, at_s)


@compiled
def copy_requests(world: World, source: int, target: int) -> None:
    own = world.state.service
    for k in range(own.held.shape[1]):
        own.held[target, k] = own.held[source, k]
    for gpu in range(own.clock.shape[1]):
        own.clock[target, gpu] = own.clock[source, gpu]
        own.read_s[target, gpu] = own.read_s[source, gpu]


class ProcessorSharing(Sharing):
    empty, admit = staticmethod(empty), staticmethod(admit)
    handle_event, copy_requests = staticmethod(answer), staticmethod(copy_requests)
    evict = staticmethod(evict)
    added_work_s = staticmethod(published.added_work_s)
    remaining_s = staticmethod(published.remaining_s)
    tightest = staticmethod(published.tightest)
    prospect = staticmethod(published.prospect)
    show, reckon = staticmethod(published.show), staticmethod(published.reckon)
    check = staticmethod(batches.check)
    batch_limit = staticmethod(batches.batch_limit)
    sustained_per_s = staticmethod(batches.sustained_per_s)
    reads_lengths = False

    @classmethod
    def tables(cls, config: Any) -> ProcessorSharing:
        pools = [[m.latency_s(config.gpu_of(p))[0] for m in config.models] for p in config.pools]
        return cls(np.array(pools))

    @staticmethod
    def allocate(config: Any, envs: int) -> Arrays:
        clock = np.zeros((envs, config.gpus))
        return Arrays(np.zeros((envs, config.gpus * MOST), HELD), clock, clock.copy())

    @staticmethod
    def in_use(state: State) -> Arrays:
        return Arrays(*state.service)

    @staticmethod
    def waiting(state: State, e: int, gpu: int, model: int, most: int) -> Records:
        return state.service.held[e, :0]


SERVICES["processor-sharing"] = ProcessorSharing
