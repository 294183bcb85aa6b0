"""Static batching: a free GPU takes the queue with the oldest head and runs a batch to completion.

docs/service-model.md defines it, and service.py what it is asked. A GPU's event is the end of the
batch that it runs.
"""

from __future__ import annotations

import math
from typing import Any

from llmroute_env.dynamics.cluster import Cluster
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.records import copy_record
from llmroute_env.dynamics.returns import arrived_s, give_up
from llmroute_env.dynamics.reward import credit_class, worth
from llmroute_env.dynamics.service.border import expect_event
from llmroute_env.dynamics.service.completions import log_served, log_shed
from llmroute_env.dynamics.service.counts import change_running, change_waiting
from llmroute_env.dynamics.service.predicted_work import marginal_work_s, queued_work_s
from llmroute_env.dynamics.service.queues import append_slot, drop, drop_first, slot_at, slot_of
from llmroute_env.dynamics.state import LATE
from llmroute_env.dynamics.world import World


@compiled
def empty(world: World, e: int) -> None:
    """Empty every ring of env `e`."""
    for gpu in range(world.cluster.rules[0].gpus):
        empty_gpu(world, e, gpu)


@compiled
def empty_gpu(world: World, e: int, gpu: int) -> None:
    """Empty the rings of one GPU."""
    cluster = world.cluster
    for m in range(cluster.rules[0].models):
        queue = world.state.queues[e, gpu, m]
        queue.first, queue.room = 0, 0
        queue.added_s = cluster.service.batch_s[cluster.pool_of[gpu], m, 1]


@compiled
def evict(world: World, e: int, gpu: int, at_s: float) -> None:
    """Give up the batch that runs and all that waits."""
    for m in range(world.cluster.rules[0].models):
        queue = world.state.queues[e, gpu, m]
        for k in range(queue.running + queue.waiting):
            request = world.state.service.requests[e, slot_of(world, e, gpu, m, k)]
            give_up(world, e, gpu, m, request.number, at_s)
    empty_gpu(world, e, gpu)


@compiled
def admit(world: World, e: int, gpu: int, model: int) -> bool:
    """Let the pending request join the queue of (gpu, model); False if that is full."""
    s = world.state
    if s.queues[e, gpu, model].waiting >= world.cluster.rules[0].queue_capacity:
        return False
    enqueue(world, e, gpu, model)
    if s.gpus[e, gpu].running == 0:
        form_batch(world, e, gpu, s.envs[e].now_s)
    return True


@compiled
def enqueue(world: World, e: int, gpu: int, model: int) -> None:
    """Append the pending request to the queue of (gpu, model)."""
    s = world.state
    env, queue = s.envs[e], s.queues[e, gpu, model]
    # Before the request is counted: counting publishes what the next one would add.
    added_s = queue.added_s
    if queue.waiting == 0:
        queue.oldest = env.request
    request = s.service.requests[e, append_slot(world, e, gpu, model)]
    request.arrival_s, request.deadline_s = arrived_s(world, e), env.deadline_s
    request.number = env.request
    request.task, request.user_class = env.task, env.user_class
    s.gpus[e, gpu].drain_s = max(s.gpus[e, gpu].drain_s, env.now_s) + added_s
    count_waiting(world, e, gpu, model, 1)


@compiled
def finish(world: World, e: int, gpu: int) -> None:
    """The batch of `gpu` is done: its requests earn their utility, and the next one begins."""
    s = world.state
    at_s = s.gpus[e, gpu].finish_s
    model, size = s.gpus[e, gpu].model, s.gpus[e, gpu].running
    # Credited while they are still in the ring and counted as running: the log reads both.
    earn(world, e, gpu)
    change_running(world, e, gpu, model, -size)
    drop_first(world, e, gpu, model, size)
    s.gpus[e, gpu].model = -1
    s.envs[e].busy_gpus -= 1
    form_batch(world, e, gpu, at_s)
    if s.gpus[e, gpu].running == 0:
        # Only now: a batch that begins at once would have to move the key a second time.
        s.gpus[e, gpu].finish_s = math.inf
        expect_event(world, e, gpu, math.inf)


@compiled
def earn(world: World, e: int, gpu: int) -> None:
    """Credit the requests of the batch that has just finished."""
    cluster, s = world.cluster, world.state
    rules, batch = cluster.rules[0], s.gpus[e, gpu]
    model, size, finish_s = batch.model, batch.running, batch.finish_s
    # Sums in locals: in the record, every addition would wait for the one before.
    late, in_time_utility, late_utility = 0, s.envs[e].step_in_time, s.envs[e].step_late
    place, room = s.queues[e, gpu, model].first, s.queues[e, gpu, model].room
    number, queues = gpu * rules.models + model, rules.gpus * rules.models
    for _ in range(size):
        request = s.service.requests[e, slot_at(place, number, queues)]
        place = place + 1 if place + 1 < room else 0
        late_s = finish_s - request.arrival_s - request.deadline_s
        outcome, utility = worth(cluster, request, model, late_s)
        if outcome == LATE:
            late, late_utility = late + 1, late_utility + utility
        else:
            in_time_utility += utility
        if rules.classes > 1:
            credit_class(world, e, request.user_class, outcome, utility)
        log_served(world, e, gpu, model, request, outcome, utility)
    s.envs[e].in_time += size - late
    s.envs[e].late += late
    s.envs[e].step_in_time, s.envs[e].step_late = in_time_utility, late_utility


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
        # All that waited was shed: what it was predicted to take will not be taken.
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
def grace_of(cluster: Cluster, request: Any) -> float:
    """How long after its deadline an answer to `request` still earns something."""
    return float(cluster.terms[request.user_class, request.task].grace_s)


@compiled
def take_batch(world: World, e: int, gpu: int, model: int, at_s: float) -> int:
    """Choose those that fit for the batch, shed the expired before them; returns the size.

    The batch is the first so many of the queue's ring: nothing is moved. What is shed leaves a gap,
    which those chosen before it close.
    """
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    pool = cluster.pool_of[gpu]
    limit, batch_s = cluster.batch_limit[pool, model], cluster.service.batch_s
    queue = s.queues[e, gpu, model]
    size, head_due_s = 0, math.inf
    most = min(limit, queue.waiting)
    # Places are followed by hand: asking for each slot anew would divide for every request.
    # Shedding moves none of those that are still to be looked at.
    place, room = queue.first, queue.room
    number, queues = gpu * rules.models + model, rules.gpus * rules.models
    while size < most:
        request = s.service.requests[e, slot_at(place, number, queues)]
        place = place + 1 if place + 1 < room else 0
        due_s = request.arrival_s + request.deadline_s
        # With deadlines in mind the batch may stay as small as 1: hopeless is who misses even that.
        likely = 1 if rules.deadline_aware_batching else most
        soonest_s = at_s + batch_s[pool, model, likely]
        if rules.shed_expired and soonest_s > due_s + grace_of(cluster, request):
            shed(world, e, gpu, model, size, at_s)
            # One fewer waits now, so the batch may be heading for a smaller size, and be quicker.
            most = min(limit, queue.waiting)
            continue
        if size == 0:
            head_due_s = due_s
        # A batch that grows is slower; with deadlines in mind it must not cost its head the answer.
        grown_s = at_s + batch_s[pool, model, size + 1]
        if rules.deadline_aware_batching and size > 0 and grown_s > head_due_s:
            break
        size += 1
    if queue.waiting > size:
        first = s.service.requests[e, slot_of(world, e, gpu, model, size)]
        queue.oldest = first.number
    return size


@compiled
def shed(world: World, e: int, gpu: int, model: int, k: int, at_s: float) -> None:
    """Drop request `k` of those that wait, before any of which runs."""
    s = world.state
    request = s.service.requests[e, slot_of(world, e, gpu, model, k)]
    log_shed(world, e, gpu, model, request, at_s)
    drop(world, e, gpu, model, k)
    s.envs[e].shed += 1
    count_waiting(world, e, gpu, model, -1)


@compiled
def start_batch(world: World, e: int, gpu: int, model: int, size: int, at_s: float) -> None:
    """Run the batch of `size` requests that `take_batch` has taken from the queue."""
    cluster, s = world.cluster, world.state
    count_waiting(world, e, gpu, model, -size)
    change_running(world, e, gpu, model, size)
    finish_s = at_s + cluster.service.batch_s[cluster.pool_of[gpu], model, size]
    s.gpus[e, gpu].model = model
    s.gpus[e, gpu].start_s, s.gpus[e, gpu].finish_s = at_s, finish_s
    s.gpus[e, gpu].drain_s = finish_s
    if s.gpus[e, gpu].waiting > 0:
        s.gpus[e, gpu].drain_s += queued_work_s(world, e, gpu)
    s.envs[e].busy_gpus += 1
    expect_event(world, e, gpu, finish_s)


@compiled
def count_waiting(world: World, e: int, gpu: int, model: int, change: int) -> None:
    """Count `change` more waiting requests, and publish what one more would add."""
    cluster = world.cluster
    change_waiting(world, e, gpu, model, change)
    queue = world.state.queues[e, gpu, model]
    queue.added_s = marginal_work_s(cluster, cluster.pool_of[gpu], model, queue.waiting)


@compiled
def show(world: World, source: int, target: int, gpu: int) -> None:
    """What a request more would add follows from those that are seen to wait."""
    cluster, s = world.cluster, world.state
    for model in range(cluster.rules[0].models):
        queue = s.queues[target, gpu, model]
        if cluster.batch_limit[cluster.pool_of[gpu], model] > 0:
            pool = cluster.pool_of[gpu]
            queue.added_s = marginal_work_s(cluster, pool, model, queue.waiting)


@compiled
def reckon(world: World, e: int, row: int, gpu: int, model: int) -> float:
    """The work that one request more takes; the next one adds another."""
    cluster, queue = world.cluster, world.state.queues[row, gpu, model]
    pool = cluster.pool_of[gpu]
    queue.added_s = marginal_work_s(cluster, pool, model, queue.waiting + 1)
    return marginal_work_s(cluster, pool, model, queue.waiting)


@compiled
def copy_requests(world: World, source: int, target: int) -> None:
    """Copy the requests in flight of one env to another; of the slots only those in use."""
    s, rules = world.state, world.cluster.rules[0]
    for gpu in range(rules.gpus):
        for model in range(rules.models):
            queue = s.queues[source, gpu, model]
            for k in range(queue.running + queue.waiting):
                slot = slot_of(world, source, gpu, model, k)
                copy_record(s.service.requests[target, slot], s.service.requests[source, slot])
