"""Static batching: a free GPU takes the queue with the oldest head and runs a batch to completion.

docs/service-model.md defines it; routing.py asks it to admit a request, which GPU finishes next,
and to finish. What it counts, waiting and running, everybody may read.
"""

from __future__ import annotations

import math

from llmroute_env.dynamics.cluster import Cluster
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.completions import log_served, log_shed
from llmroute_env.dynamics.predicted_work import added_work_s, queued_work_s
from llmroute_env.dynamics.queues import append_slot, drop, drop_first, slot_at, slot_of
from llmroute_env.dynamics.reward import credit_class, worth
from llmroute_env.dynamics.state import LATE
from llmroute_env.dynamics.tournament import FINISH, set_key, winner
from llmroute_env.dynamics.world import World


@compiled
def hosts(cluster: Cluster, gpu: int, model: int) -> bool:
    """Whether `gpu` can answer by `model` at all."""
    return bool(cluster.batch_limit[cluster.pool_of[gpu], model] > 0)


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
    added_s = queue.added_s
    if queue.waiting == 0:
        queue.oldest = env.decision
    request = s.requests[e, append_slot(world, e, gpu, model)]
    request.arrival_s, request.deadline_s = env.now_s, env.deadline_s
    request.decision = env.decision
    request.task, request.user_class = env.task, env.user_class
    s.gpus[e, gpu].drain_s = max(s.gpus[e, gpu].drain_s, env.now_s) + added_s
    change_waiting(world, e, gpu, model, 1)


@compiled
def next_finish(world: World, e: int) -> int:
    """The GPU whose batch finishes first, of those that run one; ties to the lower number."""
    return winner(world.state.contests, e, FINISH, 0, world.cluster.rules[0].gpus, 1)


@compiled
def finish(world: World, e: int, gpu: int) -> None:
    """The batch of `gpu` is done: its requests earn their utility, and the next one begins."""
    s = world.state
    at_s, gpus = s.gpus[e, gpu].finish_s, world.cluster.rules[0].gpus
    model, size = s.gpus[e, gpu].model, s.gpus[e, gpu].running
    earn(world, e, gpu)
    change_running(world, e, gpu, model, -size)
    drop_first(world, e, gpu, model, size)
    s.gpus[e, gpu].model = -1
    s.envs[e].busy_gpus -= 1
    form_batch(world, e, gpu, at_s)
    if s.gpus[e, gpu].running == 0:
        # Only now: a batch that begins at once would have to move the key a second time.
        s.gpus[e, gpu].finish_s = math.inf
        set_key(s.contests, e, FINISH, 0, gpus, gpu, math.inf)


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
        slot = slot_at(place, number, queues)
        place = place + 1 if place + 1 < room else 0
        request = s.requests[e, slot]
        outcome, utility = worth(cluster, request, model, finish_s)
        if outcome == LATE:
            late, late_utility = late + 1, late_utility + utility
        else:
            in_time_utility += utility
        if rules.classes > 1:
            credit_class(world, e, request.user_class, outcome, utility)
        log_served(world, e, gpu, model, slot, outcome, utility)
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
    """Choose those that fit for the batch, shed the expired before them; returns the size.

    The batch is the first so many of the queue's ring: nothing is moved. What is shed leaves a gap,
    which those chosen before it close.
    """
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    pool = cluster.pool_of[gpu]
    limit = cluster.batch_limit[pool, model]
    queue = s.queues[e, gpu, model]
    size, head_due_s = 0, math.inf
    most = min(limit, queue.waiting)
    # Places are followed by hand: asking for each slot anew would divide for every request.
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
            # One fewer waits now, so the batch may be heading for a smaller size, and be quicker.
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
    log_shed(world, e, gpu, model, slot_of(world, e, gpu, model, k), at_s)
    drop(world, e, gpu, model, k)
    world.state.envs[e].shed += 1
    change_waiting(world, e, gpu, model, -1)


@compiled
def start_batch(world: World, e: int, gpu: int, model: int, size: int, at_s: float) -> None:
    """Run the batch of `size` requests that `take_batch` has taken from the queue."""
    cluster, s = world.cluster, world.state
    change_waiting(world, e, gpu, model, -size)
    change_running(world, e, gpu, model, size)
    finish_s = at_s + cluster.batch_s[cluster.pool_of[gpu], model, size]
    s.gpus[e, gpu].model = model
    s.gpus[e, gpu].start_s, s.gpus[e, gpu].finish_s = at_s, finish_s
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
