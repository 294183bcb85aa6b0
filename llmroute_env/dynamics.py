"""What happens to requests: submit, form a batch, complete it, advance the clock.

This is the only implementation: the single env, the vector env, compiled heuristics, snapshots
and rollouts all call it. docs/service-model.md defines what it computes. `s` is the State of all
envs and `e` the env at hand; indexing the arrays in place, rather than slicing them first, keeps
reference counting out of the inner loops.
"""

from __future__ import annotations

import math

from llmroute_env._compiled import compiled
from llmroute_env.cluster import Cluster
from llmroute_env.dispatch import (
    FINISH,
    ROUND_ROBIN,
    added_work_s,
    choose_gpu,
    queued_work_s,
    set_key,
    update_load,
    winner,
)
from llmroute_env.reward import decay
from llmroute_env.state import IN_TIME, LATE, REJECTED, SHED, Log, State


@compiled
def submit(cluster: Cluster, s: State, e: int, action: int, log: Log) -> None:
    """Route the pending request of env `e`; an idle GPU starts on it at once."""
    rules = cluster.rules[0]
    gpu, model = action // rules.models, action % rules.models
    if not rules.joint_action:
        gpu = choose_gpu(cluster, s, e, model)
    if rules.dispatcher == ROUND_ROBIN:
        s.envs[e].next_gpu = gpu + 1
    s.envs[e].routed += 1
    s.envs[e].peak_utility += cluster.accuracy[s.envs[e].task, rules.peak_model]
    s.models[e, model].routed += 1
    hosted = cluster.batch_limit[cluster.pool_of[gpu], model] > 0
    if not hosted or s.queues[e, gpu, model].waiting >= rules.queue_capacity:
        reject(s, e, gpu, model, log)
        return
    enqueue(cluster, s, e, gpu, model)
    if s.gpus[e, gpu].running == 0:
        form_batch(cluster, s, e, gpu, s.envs[e].now_s, log)
    update_load(cluster, s, e, gpu)


@compiled
def reject(s: State, e: int, gpu: int, model: int, log: Log) -> None:
    """Turn the pending request away."""
    s.envs[e].rejected += 1
    k = log.used[0]
    if k < len(log.records):
        now_s = s.envs[e].now_s
        fill(log, k, e, REJECTED, gpu, model)
        record = log.records[k]
        record.task, record.decision = s.envs[e].task, s.envs[e].decision
        record.arrival_s, record.start_s, record.finish_s = now_s, now_s, now_s
        log.used[0] = k + 1


@compiled
def fill(log: Log, k: int, e: int, outcome: int, gpu: int, model: int) -> None:
    """Write what all completions share into record k; batch and utility start at 0."""
    record = log.records[k]
    record.env, record.outcome, record.gpu, record.model = e, outcome, gpu, model
    record.batch, record.utility = 0, 0.0


@compiled
def take_slot(s: State, e: int) -> int:
    """A free slot for a request."""
    free: int = s.envs[e].free
    if free >= 0:
        s.envs[e].free = s.requests[e, free].next
        return free
    s.envs[e].slots += 1
    return int(s.envs[e].slots) - 1


@compiled
def free_slots(s: State, e: int, first: int, last: int) -> None:
    """Give back the slots of requests that have ended, linked from `first` to `last`."""
    s.requests[e, last].next = s.envs[e].free
    s.envs[e].free = first


@compiled
def enqueue(cluster: Cluster, s: State, e: int, gpu: int, model: int) -> None:
    """Append the pending request to the queue of (gpu, model)."""
    queue = s.queues[e, gpu, model]
    added_s = added_work_s(cluster, cluster.pool_of[gpu], model, queue.waiting)
    slot = take_slot(s, e)
    if queue.waiting == 0:
        queue.head = slot
    else:
        s.requests[e, queue.tail].next = slot
    queue.tail = slot
    request = s.requests[e, slot]
    request.arrival_s = s.envs[e].now_s
    request.deadline_s = s.envs[e].deadline_s
    request.decision = s.envs[e].decision
    request.task = s.envs[e].task
    s.gpus[e, gpu].drain_s = max(s.gpus[e, gpu].drain_s, s.envs[e].now_s) + added_s
    change_waiting(s, e, gpu, model, 1)


@compiled
def change_waiting(s: State, e: int, gpu: int, model: int, change: int) -> None:
    """Count `change` more waiting requests, everywhere they are counted."""
    s.queues[e, gpu, model].waiting += change
    s.gpus[e, gpu].waiting += change
    s.models[e, model].waiting += change
    s.envs[e].waiting += change


@compiled
def change_running(s: State, e: int, gpu: int, model: int, change: int) -> None:
    """Count `change` more running requests, everywhere they are counted."""
    s.queues[e, gpu, model].running += change
    s.gpus[e, gpu].running += change
    s.models[e, model].running += change
    s.envs[e].running += change


@compiled
def form_batch(cluster: Cluster, s: State, e: int, gpu: int, at_s: float, log: Log) -> None:
    """Start the next batch on the free `gpu`, or leave it idle when nothing waits."""
    while s.gpus[e, gpu].waiting > 0:
        model = oldest_head(cluster, s, e, gpu)
        size = take_batch(cluster, s, e, gpu, model, at_s, log)
        if size > 0:
            start_batch(cluster, s, e, gpu, model, size, at_s)
            return
        s.gpus[e, gpu].drain_s = at_s


@compiled
def oldest_head(cluster: Cluster, s: State, e: int, gpu: int) -> int:
    """The model whose queue on `gpu` has the head that arrived first."""
    oldest = -1
    earliest = 0
    for model in range(cluster.rules[0].models):
        queue = s.queues[e, gpu, model]
        if queue.waiting > 0:
            decision = s.requests[e, queue.head].decision
            if oldest < 0 or decision < earliest:
                oldest, earliest = model, decision
    return oldest


@compiled
def take_batch(
    cluster: Cluster, s: State, e: int, gpu: int, model: int, at_s: float, log: Log
) -> int:
    """Move those that fit from the queue to its batch, shed the expired; returns the size."""
    rules = cluster.rules[0]
    pool = cluster.pool_of[gpu]
    limit = cluster.batch_limit[pool, model]
    queue = s.queues[e, gpu, model]
    size, last, slot = 0, -1, queue.head
    head_due_s = math.inf
    while size < min(limit, queue.waiting):
        request = s.requests[e, slot]
        due_s = request.arrival_s + request.deadline_s
        likely = 1 if rules.deadline_aware_batching else min(limit, queue.waiting)
        soonest_s = at_s + cluster.batch_s[pool, model, likely]
        if rules.shed_expired and soonest_s > due_s + rules.grace_s:
            slot = shed(s, e, gpu, model, slot, last, at_s, log)
            continue
        if size == 0:
            head_due_s = due_s
        grown_s = at_s + cluster.batch_s[pool, model, size + 1]
        if rules.deadline_aware_batching and size > 0 and grown_s > head_due_s:
            break
        size, last, slot = size + 1, slot, request.next
    queue.batch, queue.head = queue.head, slot
    return size


@compiled
def shed(
    s: State, e: int, gpu: int, model: int, slot: int, before: int, at_s: float, log: Log
) -> int:
    """Drop the request in `slot`, which follows `before` (-1: none); returns the next slot."""
    request = s.requests[e, slot]
    k = log.used[0]
    if k < len(log.records):
        fill(log, k, e, SHED, gpu, model)
        record = log.records[k]
        record.task, record.decision = request.task, request.decision
        record.arrival_s, record.start_s, record.finish_s = request.arrival_s, at_s, at_s
        log.used[0] = k + 1
    following: int = request.next
    unlink(s, e, gpu, model, slot, before)
    free_slots(s, e, slot, slot)
    s.envs[e].shed += 1
    change_waiting(s, e, gpu, model, -1)
    return following


@compiled
def unlink(s: State, e: int, gpu: int, model: int, slot: int, before: int) -> None:
    """Take `slot` out of the list of those that wait, in which it follows `before`."""
    queue = s.queues[e, gpu, model]
    if before < 0:
        queue.head = s.requests[e, slot].next
    else:
        s.requests[e, before].next = s.requests[e, slot].next
    if queue.tail == slot:
        queue.tail = before


@compiled
def start_batch(
    cluster: Cluster, s: State, e: int, gpu: int, model: int, size: int, at_s: float
) -> None:
    """Run the batch of `size` requests that `take_batch` has taken from the queue."""
    change_waiting(s, e, gpu, model, -size)
    change_running(s, e, gpu, model, size)
    finish_s = at_s + cluster.batch_s[cluster.pool_of[gpu], model, size]
    s.gpus[e, gpu].model = model
    s.gpus[e, gpu].start_s = at_s
    s.gpus[e, gpu].drain_s = finish_s
    if s.gpus[e, gpu].waiting > 0:
        s.gpus[e, gpu].drain_s += queued_work_s(cluster, s, e, gpu)
    s.envs[e].busy_gpus += 1
    set_key(s.contests, e, FINISH, 0, cluster.rules[0].gpus, gpu, finish_s)


@compiled
def complete(cluster: Cluster, s: State, e: int, gpu: int, log: Log) -> None:
    """Finish the running batch of `gpu`: its requests earn their utility."""
    model = s.gpus[e, gpu].model
    size = s.gpus[e, gpu].running
    earn(cluster, s, e, gpu, model, log)
    change_running(s, e, gpu, model, -size)
    s.gpus[e, gpu].model = -1
    s.envs[e].busy_gpus -= 1


@compiled
def earn(cluster: Cluster, s: State, e: int, gpu: int, model: int, log: Log) -> None:
    """Credit the requests of the batch that has just finished, and free their slots."""
    rules = cluster.rules[0]
    finish_s = s.contests[e, FINISH, gpu].key
    size = s.gpus[e, gpu].running
    first = s.queues[e, gpu, model].batch
    slot, last, late = first, first, 0
    step_in_time, step_late = s.envs[e].step_in_time, s.envs[e].step_late
    for _ in range(size):
        request = s.requests[e, slot]
        outcome, utility = IN_TIME, cluster.accuracy[request.task, model]
        lateness_s = finish_s - request.arrival_s - request.deadline_s
        if lateness_s <= 0.0:
            step_in_time += utility
        else:
            outcome, late = LATE, late + 1
            utility *= decay(rules.decay, rules.grace_s, lateness_s)
            step_late += utility
        if log.used[0] < len(log.records):
            write(s, e, gpu, model, slot, outcome, utility, log)
        last, slot = slot, request.next
    free_slots(s, e, first, last)
    s.envs[e].in_time += size - late
    s.envs[e].late += late
    s.envs[e].step_in_time, s.envs[e].step_late = step_in_time, step_late


@compiled
def write(
    s: State, e: int, gpu: int, model: int, slot: int, outcome: int, utility: float, log: Log
) -> None:
    """Log the completion of a request of the batch that has just finished."""
    k = log.used[0]
    fill(log, k, e, outcome, gpu, model)
    record, request = log.records[k], s.requests[e, slot]
    record.batch, record.utility = s.gpus[e, gpu].running, utility
    record.task, record.decision = request.task, request.decision
    record.arrival_s = request.arrival_s
    record.start_s = s.gpus[e, gpu].start_s
    record.finish_s = s.contests[e, FINISH, gpu].key
    log.used[0] = k + 1


@compiled
def advance(cluster: Cluster, s: State, e: int, until_s: float, log: Log) -> float:
    """Finish every batch due by `until_s`, in order; returns the last finish, or the clock."""
    gpus = cluster.rules[0].gpus
    last_s: float = s.envs[e].now_s
    while s.envs[e].busy_gpus > 0:
        gpu = winner(s.contests, e, FINISH, 0, gpus, 1)
        finish_s = s.contests[e, FINISH, gpu].key
        if finish_s > until_s:
            break
        last_s = finish_s
        complete(cluster, s, e, gpu, log)
        form_batch(cluster, s, e, gpu, finish_s, log)
        if s.gpus[e, gpu].running == 0:
            set_key(s.contests, e, FINISH, 0, gpus, gpu, math.inf)
        update_load(cluster, s, e, gpu)
    return last_s
