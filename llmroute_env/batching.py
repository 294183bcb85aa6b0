"""What a free GPU does: choose a queue, shed the hopeless, start a batch; and counts.

docs/service-model.md, "Forming a batch", defines it; dynamics.py calls it.
"""

from __future__ import annotations

import math

from llmroute_env._compiled import compiled
from llmroute_env.dispatch import FINISH, added_work_s, queued_work_s, set_key
from llmroute_env.queues import drop, slot_at, slot_of
from llmroute_env.state import SHED
from llmroute_env.world import World


@compiled
def form_batch(world: World, e: int, gpu: int, at_s: float) -> None:
    """Start the next batch on the free `gpu`, or leave it idle when nothing waits."""
    s = world.state
    while s.gpus[e, gpu].waiting > 0:
        model = oldest_head(world, e, gpu)
        size = take_batch(world, e, gpu, model, at_s)
        if size > 0:
            start_batch(world, e, gpu, model, size, at_s)
            return
        s.gpus[e, gpu].drain_s = at_s


@compiled
def oldest_head(world: World, e: int, gpu: int) -> int:
    """The model whose queue on `gpu` has the head that arrived first."""
    cluster, s = world.cluster, world.state
    oldest = -1
    earliest = 0
    for model in range(cluster.rules[0].models):
        queue = s.queues[e, gpu, model]
        if queue.waiting > 0 and (oldest < 0 or queue.oldest < earliest):
            oldest, earliest = model, queue.oldest
    return oldest


@compiled
def take_batch(world: World, e: int, gpu: int, model: int, at_s: float) -> int:
    """Choose those that fit for the batch, shed the expired before them; returns the size."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    pool = cluster.pool_of[gpu]
    limit = cluster.batch_limit[pool, model]
    queue = s.queues[e, gpu, model]
    size, head_due_s = 0, math.inf
    most = min(limit, queue.waiting)
    place, room = queue.first, queue.room
    number, queues = gpu * rules.models + model, rules.gpus * rules.models
    while size < most:
        request = s.requests[e, slot_at(place, number, queues)]
        place = place + 1 if place + 1 < room else 0
        due_s = request.arrival_s + request.deadline_s
        likely = 1 if rules.deadline_aware_batching else most
        soonest_s = at_s + cluster.batch_s[pool, model, likely]
        grace_s = cluster.terms[request.user_class, request.task].grace_s
        if rules.shed_expired and soonest_s > due_s + grace_s:
            shed(world, e, gpu, model, size, at_s)
            most = min(limit, queue.waiting)
            continue
        if size == 0:
            head_due_s = due_s
        grown_s = at_s + cluster.batch_s[pool, model, size + 1]
        if rules.deadline_aware_batching and size > 0 and grown_s > head_due_s:
            break
        size += 1
    if queue.waiting > size:
        queue.oldest = s.requests[e, slot_of(world, e, gpu, model, size)].decision
    return size


@compiled
def shed(world: World, e: int, gpu: int, model: int, k: int, at_s: float) -> None:
    """Drop request `k` of those that wait, before any of which runs."""
    s, log = world.state, world.log
    request = s.requests[e, slot_of(world, e, gpu, model, k)]
    used = log.used[0]
    if used < len(log.records):
        fill(world, used, e, SHED, gpu, model)
        record = log.records[used]
        record.task, record.user_class = request.task, request.user_class
        record.decision = request.decision
        record.arrival_s, record.start_s, record.finish_s = request.arrival_s, at_s, at_s
        log.used[0] = used + 1
    drop(world, e, gpu, model, k)
    s.envs[e].shed += 1
    change_waiting(world, e, gpu, model, -1)


@compiled
def start_batch(world: World, e: int, gpu: int, model: int, size: int, at_s: float) -> None:
    """Run the batch of `size` requests that `take_batch` has taken from the queue."""
    cluster, s = world.cluster, world.state
    change_waiting(world, e, gpu, model, -size)
    change_running(world, e, gpu, model, size)
    finish_s = at_s + cluster.batch_s[cluster.pool_of[gpu], model, size]
    s.gpus[e, gpu].model = model
    s.gpus[e, gpu].start_s = at_s
    s.gpus[e, gpu].drain_s = finish_s
    if s.gpus[e, gpu].waiting > 0:
        s.gpus[e, gpu].drain_s += queued_work_s(world, e, gpu)
    s.envs[e].busy_gpus += 1
    set_key(s.contests, e, FINISH, 0, cluster.rules[0].gpus, gpu, finish_s)


@compiled
def change_waiting(world: World, e: int, gpu: int, model: int, change: int) -> None:
    """Count `change` more waiting requests, everywhere they are counted."""
    cluster, s = world.cluster, world.state
    queue = s.queues[e, gpu, model]
    queue.waiting += change
    queue.added_s = added_work_s(cluster, cluster.pool_of[gpu], model, queue.waiting)
    s.gpus[e, gpu].waiting += change
    s.models[e, model].waiting += change
    s.envs[e].waiting += change


@compiled
def change_running(world: World, e: int, gpu: int, model: int, change: int) -> None:
    """Count `change` more running requests, everywhere they are counted."""
    s = world.state
    s.queues[e, gpu, model].running += change
    s.gpus[e, gpu].running += change
    s.models[e, model].running += change
    s.envs[e].running += change


@compiled
def fill(world: World, k: int, e: int, outcome: int, gpu: int, model: int) -> None:
    """Write what all completions share into record k; batch and utility start at 0."""
    log = world.log
    record = log.records[k]
    record.env, record.outcome, record.gpu, record.model = e, outcome, gpu, model
    record.batch, record.utility = 0, 0.0
