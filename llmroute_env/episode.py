"""Episodes of many envs, compiled: begin one, take one decision, step a range of envs."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env._compiled import compiled
from llmroute_env.dispatch import FINISH, LOAD, fill_tree
from llmroute_env.dynamics import advance, submit
from llmroute_env.observation import encode
from llmroute_env.state import Records, State
from llmroute_env.world import World

TICKS_PER_S = 2.0**30

NEXT_STEP, SAME_STEP, DISABLED = range(3)
"""When an env whose episode has ended begins the next one."""


class Outputs(NamedTuple):
    """What a step reports of E envs with observations of F columns."""

    observations: NDArray[np.float32]  # (E, F)
    rewards: NDArray[np.float64]  # (E,), the sum of its terms:
    utility_in_time: NDArray[np.float64]  # (E,)
    utility_late: NDArray[np.float64]  # (E,)
    elapsed_s: NDArray[np.float64]  # (E,) between the previous decision and this one, or the end
    terminated: NDArray[np.bool_]  # (E,)
    truncated: NDArray[np.bool_]  # (E,)
    final_observations: NDArray[np.float32]  # (E, F), valid where an episode has just ended
    final_envs: Records  # (E,) ENV at that moment
    final_models: Records  # (E, M) MODEL at that moment
    final_classes: Records  # (E, C) CLASS at that moment


def allocate_outputs(envs: int, columns: int, s: State) -> Outputs:
    """Zeroed outputs for `envs` envs with observations of `columns` columns."""
    return Outputs(
        observations=np.zeros((envs, columns), np.float32),
        rewards=np.zeros(envs),
        utility_in_time=np.zeros(envs),
        utility_late=np.zeros(envs),
        elapsed_s=np.zeros(envs),
        terminated=np.zeros(envs, np.bool_),
        truncated=np.zeros(envs, np.bool_),
        final_observations=np.zeros((envs, columns), np.float32),
        final_envs=np.zeros_like(s.envs),
        final_models=np.zeros_like(s.models),
        final_classes=np.zeros_like(s.classes),
    )


@compiled
def draw(world: World, e: int) -> float:
    """A uniform number in [0, 1) from the env's own stream (Steele et al. 2014, SplitMix64)."""
    s = world.state
    s.envs[e].rng += np.uint64(0x9E3779B97F4A7C15)
    z = s.envs[e].rng
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * 2.0**-53


@compiled
def clear(world: World, e: int) -> None:
    """Empty the cluster and set the episode's counters to 0."""
    cluster, s = world.cluster, world.state
    env = s.envs[e]
    env.now_s, env.elapsed_s, env.over, env.next_gpu, env.busy_gpus = 0.0, 0.0, False, 0, 0
    env.fast_rate_per_s, env.slow_rate_per_s = 0.0, 0.0
    env.routed, env.in_time, env.late, env.rejected, env.shed = 0, 0, 0, 0, 0
    env.waiting, env.running = 0, 0
    env.step_in_time, env.step_late, env.utility, env.peak_utility = 0.0, 0.0, 0.0, 0.0
    for gpu in range(cluster.rules[0].gpus):
        record = s.gpus[e, gpu]
        s.contests[e, FINISH, gpu].key, s.contests[e, LOAD, gpu].key = math.inf, 0.0
        record.start_s, record.drain_s = 0.0, 0.0
        record.model, record.running, record.waiting = -1, 0, 0
        for m in range(cluster.rules[0].models):
            queue = s.queues[e, gpu, m]
            queue.first, queue.room, queue.running, queue.waiting = 0, 0, 0, 0
            queue.added_s = cluster.batch_s[cluster.pool_of[gpu], m, 1]
    for m in range(cluster.rules[0].models):
        model = s.models[e, m]
        model.waiting, model.running, model.routed = 0, 0, 0
    for c in range(cluster.rules[0].classes):
        users = s.classes[e, c]
        users.routed, users.in_time, users.utility, users.peak_utility = 0, 0, 0.0, 0.0
    fill_tree(s.contests, e, FINISH, 0, cluster.rules[0].gpus)
    for p in range(cluster.rules[0].pools):
        fill_tree(s.contests, e, LOAD, cluster.pools[p].first_gpu, cluster.pools[p].gpus)


@compiled
def cut_window(world: World, e: int) -> None:
    """Draw a load and the window of the tape that the episode replays."""
    cluster, tape, s = world.cluster, world.tape, world.state
    rules = cluster.rules[0]
    position, level = draw(world, e), draw(world, e)
    load = rules.min_load * (rules.max_load / rules.min_load) ** level
    stretch = rules.tape_load / load
    length_s = rules.window_s / stretch
    start_s = position * max(rules.tape_span_s - length_s, 0.0)
    first = np.searchsorted(tape.arrival_s, start_s)
    end = np.searchsorted(tape.arrival_s, start_s + length_s)
    if end == first:  # A silent window: begin with the next request, or with the last one.
        first = min(first, len(tape.arrival_s) - 1)
        end = first + 1
        start_s = tape.arrival_s[first]
    env = s.envs[e]
    env.first, env.end, env.tape_start_s = first, end, start_s
    env.load, env.stretch = load, stretch


@compiled
def present(world: World, e: int, decision: int) -> None:
    """Make request number `decision` the pending one: its time must have come."""
    cluster, tape, s = world.cluster, world.tape, world.state
    rules = cluster.rules[0]
    env = s.envs[e]
    env.decision = decision
    env.task = tape.task[env.first + decision]
    env.user_class = tape.user_class[env.first + decision]
    terms = cluster.terms[env.user_class, env.task]
    env.deadline_s, env.grace_s = terms.deadline_s, terms.grace_s
    fast_s, slow_s = rules.fast_window_s, rules.slow_window_s
    elapsed_s = env.elapsed_s
    env.fast_rate_per_s = env.fast_rate_per_s * math.exp(-elapsed_s / fast_s) + 1.0 / fast_s
    env.slow_rate_per_s = env.slow_rate_per_s * math.exp(-elapsed_s / slow_s) + 1.0 / slow_s


@compiled
def arrival_s(world: World, e: int, decision: int) -> float:
    """Arrival time of request number `decision`, seconds since the window began, in whole ticks."""
    tape, s = world.tape, world.state
    env = s.envs[e]
    since_start_s = (tape.arrival_s[env.first + decision] - env.tape_start_s) * env.stretch
    return float(np.rint(since_start_s * TICKS_PER_S)) / TICKS_PER_S


@compiled
def begin_episode(world: World, e: int) -> None:
    """Clear env `e`, cut its window and present the first request."""
    s = world.state
    clear(world, e)
    cut_window(world, e)
    s.envs[e].now_s = arrival_s(world, e, 0)
    present(world, e, 0)


@compiled
def step_env(world: World, e: int, action: int) -> tuple[bool, bool]:
    """Route the pending request and run to the next one; returns (terminated, truncated)."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    env = s.envs[e]
    env.step_in_time, env.step_late = 0.0, 0.0
    submit(world, e, action)
    decision = env.decision + 1
    last = env.first + decision >= env.end
    until_s = math.inf if last else arrival_s(world, e, decision)
    finish_s = advance(world, e, until_s)
    now_s = finish_s if last else until_s
    env.elapsed_s = now_s - env.now_s
    env.now_s = now_s
    env.utility += env.step_in_time + env.step_late
    if last:
        env.task, env.user_class = -1, -1
    else:
        present(world, e, decision)
    truncated = not last and rules.max_requests > 0 and decision >= rules.max_requests
    env.over = last or truncated
    return last, truncated


@compiled
def reset_envs(world: World, out: Outputs, chosen: NDArray[np.bool_]) -> None:
    """Begin new episodes in the chosen envs."""
    s = world.state
    for e in range(len(s.envs)):
        if chosen[e]:
            begin_episode(world, e)
            clear_step(out, e)
            out.terminated[e], out.truncated[e] = False, False
            encode(world, e, out.observations[e])


@compiled
def clear_step(out: Outputs, e: int) -> None:
    """Report that nothing was earned and no time passed."""
    out.rewards[e], out.utility_in_time[e], out.utility_late[e] = 0.0, 0.0, 0.0
    out.elapsed_s[e] = 0.0


@compiled
def encode_envs(world: World, out: Outputs) -> None:
    """Write the observations of all envs."""
    s = world.state
    for e in range(len(s.envs)):
        encode(world, e, out.observations[e])


@compiled
def step_envs(
    world: World,
    out: Outputs,
    actions: NDArray[np.int64],
    first: int,
    last: int,
    logged: int,
) -> int:
    """Step envs first..last-1; returns where it stopped lest the log overflow, else last.

    The log holds `logged` completions of this step already; all others are overwritten.

    If the action of an env e among them is out of range, nothing changes, and it returns -1 - e.
    """
    cluster, s, log = world.cluster, world.state, world.log
    rules = cluster.rules[0]
    same_step = rules.autoreset == SAME_STEP
    most = rules.models * rules.gpus if rules.joint_action else rules.models
    for e in range(first, last):
        if actions[e] < 0 or actions[e] >= most:
            return -1 - e
    log.used[0] = logged
    for e in range(first, last):
        in_flight = s.envs[e].waiting + s.envs[e].running
        if len(log.records) > 0 and log.used[0] + in_flight + 1 > len(log.records):
            return e
        if s.envs[e].over:
            restart(world, e, out)
            continue
        terminated, truncated = step_env(world, e, actions[e])
        out.rewards[e] = s.envs[e].step_in_time + s.envs[e].step_late
        out.utility_in_time[e] = s.envs[e].step_in_time
        out.utility_late[e] = s.envs[e].step_late
        out.elapsed_s[e] = s.envs[e].elapsed_s
        out.terminated[e], out.truncated[e] = terminated, truncated
        if s.envs[e].over and same_step:
            encode(world, e, out.final_observations[e])
            keep_final(world, e, out)
            begin_episode(world, e)
        elif s.envs[e].over:
            keep_final(world, e, out)
        encode(world, e, out.observations[e])
    return last


@compiled
def keep_final(world: World, e: int, out: Outputs) -> None:
    """Copy the counters of the episode that has just ended."""
    s = world.state
    out.final_envs[e] = s.envs[e]
    for m in range(s.models.shape[1]):
        out.final_models[e, m] = s.models[e, m]
    for c in range(s.classes.shape[1]):
        out.final_classes[e, c] = s.classes[e, c]


@compiled
def restart(world: World, e: int, out: Outputs) -> None:
    """The step of an env whose episode had ended: begin the next one, or stay if disabled."""
    cluster = world.cluster
    clear_step(out, e)
    if cluster.rules[0].autoreset == NEXT_STEP:
        begin_episode(world, e)
        out.terminated[e], out.truncated[e] = False, False
        encode(world, e, out.observations[e])
