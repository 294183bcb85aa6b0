"""One episode of one env: begin it, present a request, take a decision."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.failing import begin_among_machines, pass_failures
from llmroute_env.dynamics.machines import begin_machines, copy_machines
from llmroute_env.dynamics.records import copy_record
from llmroute_env.dynamics.returns import begin_fate, call_back, next_return_s
from llmroute_env.dynamics.routing import advance, submit
from llmroute_env.dynamics.scrapes import begin_scrapes, copy_view, look
from llmroute_env.dynamics.service.border import copy_requests, empty
from llmroute_env.dynamics.streams import GAMMA, mixed, share
from llmroute_env.dynamics.tournament import EVENT, LOAD, fill_tree
from llmroute_env.dynamics.window import arrival_s, next_arrival_s
from llmroute_env.dynamics.world import World


@compiled
def draw(world: World, e: int) -> float:
    """A uniform number in [0, 1) from the env's own stream."""
    env = world.state.envs[e]
    env.rng += GAMMA
    return share(mixed(env.rng))


@compiled
def clear(world: World, e: int) -> None:
    """Empty the cluster and set the episode's counters to 0."""
    cluster, s = world.cluster, world.state
    env = s.envs[e]
    env.now_s, env.elapsed_s, env.over, env.next_gpu, env.busy_gpus = 0.0, 0.0, False, 0, 0
    env.fast_rate_per_s, env.slow_rate_per_s = 0.0, 0.0
    env.routed, env.in_time, env.late, env.rejected, env.shed = 0, 0, 0, 0, 0
    env.aborted, env.deferred, env.lost, env.retried, env.failures = 0, 0, 0, 0, 0
    env.waiting, env.running, env.away = 0, 0, 0
    env.decision, env.request, env.arrived = 0, 0, 0
    env.step_in_time, env.step_late, env.step_rejected = 0.0, 0.0, 0.0
    env.utility, env.peak_utility = 0.0, 0.0
    for gpu in range(cluster.rules[0].gpus):
        record = s.gpus[e, gpu]
        s.contests[e, EVENT, gpu].key, s.contests[e, LOAD, gpu].key = math.inf, 0.0
        record.start_s, record.finish_s, record.drain_s = 0.0, math.inf, 0.0
        record.model, record.running, record.waiting = -1, 0, 0
        for m in range(cluster.rules[0].models):
            queue = s.queues[e, gpu, m]
            queue.running, queue.waiting, queue.added_s = 0, 0, 0.0
    for m in range(cluster.rules[0].models):
        model = s.models[e, m]
        model.waiting, model.running, model.routed = 0, 0, 0
    for c in range(cluster.rules[0].classes):
        users = s.classes[e, c]
        users.routed, users.in_time, users.utility, users.peak_utility = 0, 0, 0.0, 0.0
    empty(world, e)
    fill_tree(s.contests, e, EVENT, 0, cluster.rules[0].gpus)
    for p in range(cluster.rules[0].pools):
        fill_tree(s.contests, e, LOAD, cluster.pools[p].first_gpu, cluster.pools[p].gpus)


@compiled
def cut_window(world: World, e: int) -> None:
    """Draw a load and the window of the tape that the episode replays."""
    cluster, tape, s = world.cluster, world.tape, world.state
    rules = cluster.rules[0]
    # Both are drawn whatever they are used for: another load range does not shift other windows.
    position, level = draw(world, e), draw(world, e)
    load = rules.min_load * (rules.max_load / rules.min_load) ** level
    stretch = rules.tape_load / load
    length_s = rules.window_s / stretch
    start_s = position * max(rules.tape_span_s - length_s, 0.0)
    first = first_from(tape.arrival_s, start_s)
    end = first_from(tape.arrival_s, start_s + length_s)
    if end == first:  # A silent window: begin with the next request, or with the last one.
        first = min(first, len(tape.arrival_s) - 1)
        end = first + 1
        start_s = tape.arrival_s[first]
    env = s.envs[e]
    env.first, env.end, env.tape_start_s = first, end, start_s
    env.load, env.stretch = load, stretch


@compiled
def first_from(arrivals_s: NDArray[np.float64], at_s: float) -> int:
    """How many arrivals are before `at_s`; compiled in a tenth of np.searchsorted's time."""
    first, end = 0, len(arrivals_s)
    while first < end:
        middle = (first + end) // 2
        if arrivals_s[middle] < at_s:
            first = middle + 1
        else:
            end = middle
    return first


@compiled
def present(world: World, e: int, number: int, is_new: bool) -> None:
    """Make request `number` the pending one, which arrives or comes back: its time must be now."""
    cluster, tape, s = world.cluster, world.tape, world.state
    rules = cluster.rules[0]
    env = s.envs[e]
    env.request = number
    env.task = tape.task[env.first + number]
    env.user_class = tape.user_class[env.first + number]
    terms = cluster.terms[env.user_class, env.task]
    env.deadline_s, env.grace_s = terms.deadline_s, terms.grace_s
    env.waited_s = 0.0 if is_new else env.now_s - arrival_s(world, e, number)
    env.arrived += is_new
    if is_new and rules.come_back:
        begin_fate(world, e, number)
    # The request itself counts, once: a router that meets the first one of a burst sees it.
    counted = 1.0 if is_new else 0.0
    fast_s, slow_s = rules.fast_window_s, rules.slow_window_s
    elapsed_s = env.elapsed_s
    env.fast_rate_per_s = env.fast_rate_per_s * math.exp(-elapsed_s / fast_s) + counted / fast_s
    env.slow_rate_per_s = env.slow_rate_per_s * math.exp(-elapsed_s / slow_s) + counted / slow_s


@compiled
def begin_episode(world: World, e: int) -> None:
    """Clear env `e`, cut its window and present the first request."""
    s = world.state
    clear(world, e)
    # Before numbers are taken from the env's stream: those of others begin where it stands.
    begin_machines(world, e)
    begin_scrapes(world, e)
    cut_window(world, e)
    s.envs[e].now_s = arrival_s(world, e, 0)
    begin_among_machines(world, e)
    present(world, e, 0, True)
    look(world, e)


@compiled
def next_decision_s(world: World, e: int) -> float:
    """When the next request arrives or comes back; inf if none does."""
    return min(next_arrival_s(world, e), next_return_s(world, e))


@compiled
def step_env(world: World, e: int, action: int) -> tuple[bool, bool]:
    """Route the pending request and run to the next decision; returns (terminated, truncated)."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    env = s.envs[e]
    env.step_in_time, env.step_late, env.step_rejected = 0.0, 0.0, 0.0
    submit(world, e, action)
    last_s = pass_failures(world, e)
    until_s, is_new = next_arrival_s(world, e), True
    # Of what comes at the same moment first what has waited.
    if env.away > 0 and next_return_s(world, e) <= until_s:
        until_s, is_new = next_return_s(world, e), False
    # After the last request everything in flight is served to its end.
    last = until_s == math.inf
    last_s = max(last_s, advance(world, e, until_s))
    now_s = last_s if last else until_s
    env.elapsed_s = now_s - env.now_s
    env.now_s = now_s
    env.utility += env.step_in_time + env.step_late + env.step_rejected
    if last:
        env.task, env.user_class = -1, -1
    else:
        env.decision += 1
        present(world, e, env.arrived if is_new else call_back(world, e), is_new)
    look(world, e)
    truncated = not last and rules.max_requests > 0 and env.decision >= rules.max_requests
    env.over = last or truncated
    return last, truncated


@compiled
def fork(world: World, source: int, target: int) -> None:
    """Make env `target` a copy of env `source`."""
    s, rules = world.state, world.cluster.rules[0]
    copy_record(s.envs[target], s.envs[source])
    for model in range(rules.models):
        copy_record(s.models[target, model], s.models[source, model])
    for user_class in range(rules.classes):
        copy_record(s.classes[target, user_class], s.classes[source, user_class])
    for gpu in range(rules.gpus):
        copy_record(s.gpus[target, gpu], s.gpus[source, gpu])
        for contest in (EVENT, LOAD):
            copy_record(s.contests[target, contest, gpu], s.contests[source, contest, gpu])
        for model in range(rules.models):
            copy_record(s.queues[target, gpu, model], s.queues[source, gpu, model])
    for number in range(s.envs[source].arrived if rules.come_back else 0):
        copy_record(s.fates[target, number], s.fates[source, number])
    for place in range(s.envs[source].away):
        copy_record(s.returns[target, place], s.returns[source, place])
    copy_machines(world, source, target)
    copy_requests(world, source, target)
    copy_view(world, source, target)
