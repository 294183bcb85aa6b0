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
from llmroute_env.state import IN_TIME, LATE, REJECTED
from llmroute_env.world import World


@compiled
def submit(world: World, e: int, action: int) -> None:
    """Route the pending request of env `e`; an idle GPU starts on it at once."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    gpu, model = action // rules.models, action % rules.models
    if not rules.joint_action:
        gpu = choose_gpu(world, e, model)
    if rules.dispatcher == ROUND_ROBIN:
        s.envs[e].next_gpu = gpu + 1
    s.envs[e].routed += 1
    s.models[e, model].routed += 1
    expect(world, e)
    hosted = cluster.batch_limit[cluster.pool_of[gpu], model] > 0
    if not hosted or s.queues[e, gpu, model].waiting >= rules.queue_capacity:
        reject(world, e, gpu, model)
        return
    enqueue(world, e, gpu, model)
    if s.gpus[e, gpu].running == 0:
        form_batch(world, e, gpu, s.envs[e].now_s)
    update_load(world, e, gpu)


@compiled
def expect(world: World, e: int) -> None:
    """Count what the pending request would earn from the largest model in time."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    user_class = s.envs[e].user_class
    peak = cluster.utility[user_class, s.envs[e].task, rules.peak_model]
    s.envs[e].peak_utility += peak
    if rules.classes > 1:
        s.classes[e, user_class].routed += 1
        s.classes[e, user_class].peak_utility += peak


@compiled
def reject(world: World, e: int, gpu: int, model: int) -> None:
    """Turn the pending request away."""
    s, log = world.state, world.log
    s.envs[e].rejected += 1
    k = log.used[0]
    if k < len(log.records):
        now_s = s.envs[e].now_s
        fill(world, k, e, REJECTED, gpu, model)
        record = log.records[k]
        record.task, record.user_class = s.envs[e].task, s.envs[e].user_class
        record.decision = s.envs[e].decision
        record.arrival_s, record.start_s, record.finish_s = now_s, now_s, now_s
        log.used[0] = k + 1


@compiled
def enqueue(world: World, e: int, gpu: int, model: int) -> None:
    """Append the pending request to the queue of (gpu, model)."""
    s = world.state
    queue = s.queues[e, gpu, model]
    added_s = queue.added_s
    if queue.waiting == 0:
        queue.oldest = s.envs[e].decision
    request = s.requests[e, append_slot(world, e, gpu, model)]
    request.arrival_s = s.envs[e].now_s
    request.deadline_s = s.envs[e].deadline_s
    request.decision = s.envs[e].decision
    request.task, request.user_class = s.envs[e].task, s.envs[e].user_class
    s.gpus[e, gpu].drain_s = max(s.gpus[e, gpu].drain_s, s.envs[e].now_s) + added_s
    change_waiting(world, e, gpu, model, 1)


@compiled
def complete(world: World, e: int, gpu: int) -> None:
    """Finish the running batch of `gpu`: its requests earn their utility."""
    s = world.state
    model = s.gpus[e, gpu].model
    size = s.gpus[e, gpu].running
    earn(world, e, gpu, model)
    change_running(world, e, gpu, model, -size)
    drop_first(world, e, gpu, model, size)
    s.gpus[e, gpu].model = -1
    s.envs[e].busy_gpus -= 1


@compiled
def earn(world: World, e: int, gpu: int, model: int) -> None:
    """Credit the requests of the batch that has just finished."""
    cluster, s, log = world.cluster, world.state, world.log
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
            count_class(world, e, request.user_class, outcome, utility)
        if log.used[0] < len(log.records):
            write(world, e, gpu, model, slot, outcome, utility)
    s.envs[e].in_time += size - late
    s.envs[e].late += late
    s.envs[e].step_in_time, s.envs[e].step_late = step_in_time, step_late


@compiled
def count_class(world: World, e: int, user_class: int, outcome: int, utility: float) -> None:
    """Count an answer for the class of its user."""
    s = world.state
    s.classes[e, user_class].in_time += outcome == IN_TIME
    s.classes[e, user_class].utility += utility


@compiled
def write(
    world: World, e: int, gpu: int, model: int, slot: int, outcome: int, utility: float
) -> None:
    """Log the completion of a request of the batch that has just finished."""
    s, log = world.state, world.log
    k = log.used[0]
    fill(world, k, e, outcome, gpu, model)
    record, request = log.records[k], s.requests[e, slot]
    record.batch, record.utility = s.gpus[e, gpu].running, utility
    record.task, record.user_class = request.task, request.user_class
    record.decision = request.decision
    record.arrival_s = request.arrival_s
    record.start_s = s.gpus[e, gpu].start_s
    record.finish_s = s.contests[e, FINISH, gpu].key
    log.used[0] = k + 1


@compiled
def advance(world: World, e: int, until_s: float) -> float:
    """Finish every batch due by `until_s`, in order; returns the last finish, or the clock."""
    cluster, s = world.cluster, world.state
    gpus = cluster.rules[0].gpus
    last_s: float = s.envs[e].now_s
    while s.envs[e].busy_gpus > 0:
        gpu = winner(s.contests, e, FINISH, 0, gpus, 1)
        finish_s = s.contests[e, FINISH, gpu].key
        if finish_s > until_s:
            break
        last_s = finish_s
        complete(world, e, gpu)
        form_batch(world, e, gpu, finish_s)
        if s.gpus[e, gpu].running == 0:
            set_key(s.contests, e, FINISH, 0, gpus, gpu, math.inf)
        update_load(world, e, gpu)
    return last_s
