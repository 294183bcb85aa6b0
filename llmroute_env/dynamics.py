"""What happens to requests: submit, form a batch, complete it, advance the clock.

This is the only implementation: the single env, the vector env, compiled heuristics, snapshots
and rollouts all call it. docs/service-model.md defines what it computes. `s` is the State of all
envs and `e` the env at hand; indexing the arrays in place, rather than slicing them first, keeps
reference counting out of the inner loops.
"""

from __future__ import annotations

import math

from llmroute_env._compiled import compiled
from llmroute_env.batching import (
    change_running,
    change_waiting,
    fill,
    form_batch,
)
from llmroute_env.cluster import Cluster
from llmroute_env.dispatch import (
    FINISH,
    ROUND_ROBIN,
    choose_gpu,
    set_key,
    update_load,
    winner,
)
from llmroute_env.queues import append_slot, drop_first, slot_at
from llmroute_env.reward import decay
from llmroute_env.state import IN_TIME, LATE, REJECTED, Log, State


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
    s.models[e, model].routed += 1
    expect(cluster, s, e)
    hosted = cluster.batch_limit[cluster.pool_of[gpu], model] > 0
    if not hosted or s.queues[e, gpu, model].waiting >= rules.queue_capacity:
        reject(s, e, gpu, model, log)
        return
    enqueue(cluster, s, e, gpu, model)
    if s.gpus[e, gpu].running == 0:
        form_batch(cluster, s, e, gpu, s.envs[e].now_s, log)
    update_load(cluster, s, e, gpu)


@compiled
def expect(cluster: Cluster, s: State, e: int) -> None:
    """Count what the pending request would earn from the largest model in time."""
    rules = cluster.rules[0]
    user_class = s.envs[e].user_class
    peak = cluster.utility[user_class, s.envs[e].task, rules.peak_model]
    s.envs[e].peak_utility += peak
    if rules.classes > 1:
        s.classes[e, user_class].routed += 1
        s.classes[e, user_class].peak_utility += peak


@compiled
def reject(s: State, e: int, gpu: int, model: int, log: Log) -> None:
    """Turn the pending request away."""
    s.envs[e].rejected += 1
    k = log.used[0]
    if k < len(log.records):
        now_s = s.envs[e].now_s
        fill(log, k, e, REJECTED, gpu, model)
        record = log.records[k]
        record.task, record.user_class = s.envs[e].task, s.envs[e].user_class
        record.decision = s.envs[e].decision
        record.arrival_s, record.start_s, record.finish_s = now_s, now_s, now_s
        log.used[0] = k + 1


@compiled
def enqueue(cluster: Cluster, s: State, e: int, gpu: int, model: int) -> None:
    """Append the pending request to the queue of (gpu, model)."""
    queue = s.queues[e, gpu, model]
    added_s = queue.added_s
    if queue.waiting == 0:
        queue.oldest = s.envs[e].decision
    request = s.requests[e, append_slot(cluster, s, e, gpu, model)]
    request.arrival_s = s.envs[e].now_s
    request.deadline_s = s.envs[e].deadline_s
    request.decision = s.envs[e].decision
    request.task, request.user_class = s.envs[e].task, s.envs[e].user_class
    s.gpus[e, gpu].drain_s = max(s.gpus[e, gpu].drain_s, s.envs[e].now_s) + added_s
    change_waiting(cluster, s, e, gpu, model, 1)


@compiled
def complete(cluster: Cluster, s: State, e: int, gpu: int, log: Log) -> None:
    """Finish the running batch of `gpu`: its requests earn their utility."""
    model = s.gpus[e, gpu].model
    size = s.gpus[e, gpu].running
    earn(cluster, s, e, gpu, model, log)
    change_running(s, e, gpu, model, -size)
    drop_first(s, e, gpu, model, size)
    s.gpus[e, gpu].model = -1
    s.envs[e].busy_gpus -= 1


@compiled
def earn(cluster: Cluster, s: State, e: int, gpu: int, model: int, log: Log) -> None:
    """Credit the requests of the batch that has just finished."""
    rules = cluster.rules[0]
    finish_s = s.contests[e, FINISH, gpu].key
    size = s.gpus[e, gpu].running
    late = 0
    step_in_time, step_late = s.envs[e].step_in_time, s.envs[e].step_late
    place, room = s.queues[e, gpu, model].first, s.queues[e, gpu, model].room
    number, queues = gpu * rules.models + model, rules.gpus * rules.models
    for _ in range(size):
        slot = slot_at(place, number, queues)
        place = place + 1 if place + 1 < room else 0
        request = s.requests[e, slot]
        outcome = IN_TIME
        utility = cluster.utility[request.user_class, request.task, model]
        lateness_s = finish_s - request.arrival_s - request.deadline_s
        if lateness_s <= 0.0:
            step_in_time += utility
        else:
            outcome, late = LATE, late + 1
            terms = cluster.terms[request.user_class, request.task]
            utility *= decay(terms.decay, terms.grace_s, lateness_s)
            step_late += utility
        if rules.classes > 1:
            count_class(s, e, request.user_class, outcome, utility)
        if log.used[0] < len(log.records):
            write(s, e, gpu, model, slot, outcome, utility, log)
    s.envs[e].in_time += size - late
    s.envs[e].late += late
    s.envs[e].step_in_time, s.envs[e].step_late = step_in_time, step_late


@compiled
def count_class(s: State, e: int, user_class: int, outcome: int, utility: float) -> None:
    """Count an answer for the class of its user."""
    s.classes[e, user_class].in_time += outcome == IN_TIME
    s.classes[e, user_class].utility += utility


@compiled
def write(
    s: State, e: int, gpu: int, model: int, slot: int, outcome: int, utility: float, log: Log
) -> None:
    """Log the completion of a request of the batch that has just finished."""
    k = log.used[0]
    fill(log, k, e, outcome, gpu, model)
    record, request = log.records[k], s.requests[e, slot]
    record.batch, record.utility = s.gpus[e, gpu].running, utility
    record.task, record.user_class = request.task, request.user_class
    record.decision = request.decision
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
