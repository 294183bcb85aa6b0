"""The encoder of the features (features.py): from the state of an env to one row of numbers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.cluster import Cluster
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.dispatch import choose_gpu, seems_up
from llmroute_env.dynamics.features import (
    AGE,
    BACKLOG,
    BATCH,
    BUSY,
    CLASS,
    DEADLINE,
    FAST_RATE,
    GPU_AGE,
    GPU_BACKLOG,
    GPU_HELD,
    GPU_IN_FLIGHT,
    GPU_KV,
    GPU_LEAVING,
    GPU_PREFILL,
    GPU_RUNNING,
    GPU_SENT,
    GPU_SLACK,
    GPU_TPOT,
    GPU_TTFT,
    GPU_UP,
    GPU_WORK,
    GRACE,
    KV,
    MOST_LOG,
    PREFILL,
    PROMPT,
    RATE,
    RUNNING,
    SENT,
    SHORT_RATE,
    SLACK,
    SLOW_RATE,
    TASK,
    TPOT,
    TRIES,
    TTFT,
    WAITED,
)
from llmroute_env.dynamics.signals import (
    added_work_s,
    age_s,
    held,
    in_flight,
    leaving_s,
    load_over_long_window,
    load_over_short_window,
    prompt_tokens,
    prospect,
    remaining_s,
    running_by_model,
    sent,
    serves,
    serving_model,
    share_of_busy_gpus,
    tightest,
    time_left_s,
    tries,
    waited_s,
    waiting,
    waiting_for_model,
)
from llmroute_env.dynamics.world import World

NOWHERE = (1e9, 0.0), (1e9, 1e9, 1.0, 1e9)
"""In place of a prospect where the model is not served: all at its bound."""


@compiled
def slack(latency_s: float, deadline_s: float) -> float:
    """1 - latency / deadline, compressed logarithmically below -1 and bounded by -16."""
    if deadline_s == math.inf:
        return 1.0
    if deadline_s <= 0.0:
        return -MOST_LOG
    value = 1.0 - latency_s / deadline_s
    if value >= -1.0:
        return value
    return max(-1.0 - math.log(-value), -MOST_LOG)


@compiled
def log_rate(load: float) -> float:
    """log1p of an arrival rate; exact enough for float32, and twice as fast as log1p."""
    return min(math.log(1.0 + load), MOST_LOG)


@compiled
def log_backlog(cluster: Cluster, count: int) -> float:
    """log1p of the waiting requests per GPU."""
    if count < len(cluster.log_backlog):
        return float(cluster.log_backlog[count])
    return min(math.log1p(count / cluster.rules[0].gpus), MOST_LOG)


@compiled
def encode(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write the observation of env `e` into `row`."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    at = cluster.layout
    env = s.envs[e]
    if at[TASK] >= 0:
        encode_one_of(row, at[TASK], rules.tasks, env.task)
    if at[FAST_RATE] >= 0:
        row[at[FAST_RATE]] = log_rate(load_over_short_window(world, e))
    if at[SLOW_RATE] >= 0:
        row[at[SLOW_RATE]] = log_rate(load_over_long_window(world, e))
    if at[RATE] >= 0:
        row[at[RATE]] = min(load_over_long_window(world, e), 10_000.0)
    if at[SHORT_RATE] >= 0:
        row[at[SHORT_RATE]] = min(load_over_short_window(world, e), 10_000.0)
    if at[CLASS] >= 0:
        encode_one_of(row, at[CLASS], rules.classes, env.user_class)
    if at[BUSY] >= 0:
        row[at[BUSY]] = share_of_busy_gpus(world, e)
    if at[DEADLINE] >= 0:
        bounded_s = min(max(time_left_s(world, e), 1e-6), 8e6)
        row[at[DEADLINE]] = math.log(bounded_s)
    if at[GRACE] >= 0:
        relative = env.grace_s / max(env.deadline_s, 1e-6)
        row[at[GRACE]] = min(math.log1p(relative), MOST_LOG)
    if at[PROMPT] >= 0:
        row[at[PROMPT]] = min(math.log1p(float(prompt_tokens(world, e))), MOST_LOG)
    if at[TRIES] >= 0:
        row[at[TRIES]] = math.log1p(float(tries(world, e)))
    if at[WAITED] >= 0:
        row[at[WAITED]] = min(math.log1p(waited_s(world, e) * 1e3), MOST_LOG)
    encode_models(world, e, row)
    of_gpus = (at[GPU_TTFT], at[GPU_TPOT], at[GPU_KV], at[GPU_PREFILL])
    if any_of(of_gpus):
        encode_prospects(world, e, row, at[GPU_SLACK], of_gpus)
    elif at[GPU_SLACK] >= 0:
        encode_slacks(world, e, row)
    for feature in (GPU_HELD, GPU_IN_FLIGHT):
        if at[feature] >= 0:
            encode_held(world, e, row, feature)
    if at[GPU_WORK] >= 0:
        encode_work(world, e, row)
    if at[GPU_BACKLOG] >= 0:
        encode_backlogs(world, e, row)
    if at[GPU_RUNNING] >= 0:
        encode_running(world, e, row)
    if any_of((at[AGE], at[SENT], at[GPU_AGE], at[GPU_SENT])):
        encode_ages(world, e, row)
        encode_sent(world, e, row)
    if at[GPU_UP] >= 0 or at[GPU_LEAVING] >= 0:
        encode_health(world, e, row)


@compiled
def encode_one_of(row: NDArray[np.float32], first: int, count: int, chosen: int) -> None:
    """Write 1 into the chosen one of `count` columns and 0 into the others."""
    for k in range(count):
        row[first + k] = 1.0 if k == chosen else 0.0


@compiled
def encode_for_pairs(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write only what priced pairs read, where an observation that holds it all has it."""
    cluster, s = world.cluster, world.state
    at, env = cluster.layout, s.envs[e]
    encode_one_of(row, at[TASK], cluster.rules[0].tasks, env.task)
    row[at[FAST_RATE]] = log_rate(load_over_short_window(world, e))
    if at[CLASS] >= 0:
        encode_one_of(row, at[CLASS], cluster.rules[0].classes, env.user_class)
    encode_slacks(world, e, row)
    encode_work(world, e, row)


@compiled
def encode_load(world: World, e: int, row: NDArray[np.float32], feature: int) -> None:
    """Write only what balancers compare: GPU_HELD, GPU_IN_FLIGHT, GPU_KV or GPU_TTFT.

    The observation has it.
    """
    column = world.cluster.layout[feature]
    if feature in (GPU_HELD, GPU_IN_FLIGHT):
        encode_held(world, e, row, feature)
    elif feature == GPU_KV:
        encode_prospects(world, e, row, -1, (-1, -1, column, -1))
    else:
        encode_prospects(world, e, row, -1, (column, -1, -1, -1))


@compiled
def encode_models(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write the features that have one column per model."""
    cluster = world.cluster
    rules = cluster.rules[0]
    at = cluster.layout
    # Read once: after every write into the row the compiler would read them again.
    backlog, running, batch, slacks = at[BACKLOG], at[RUNNING], at[BATCH], at[SLACK]
    of_models = (at[TTFT], at[TPOT], at[KV], at[PREFILL])
    looks_out = any_of(of_models)
    gpus = rules.gpus
    for m in range(rules.models):
        full = gpus * cluster.largest_limit[m]
        waits, runs = waiting_for_model(world, e, m), running_by_model(world, e, m)
        if backlog >= 0:
            row[backlog + m] = log_backlog(cluster, waits)
        if running >= 0:
            row[running + m] = runs / full
        if batch >= 0:
            row[batch + m] = min((waits + runs) / full, 10_000.0)
        if looks_out:
            gpu = choose_gpu(world, e, m)
            found = prospect(world, e, gpu, m) if seems_up(world, e, gpu) else NOWHERE
            encode_prospect(row, slacks, of_models, m, found)
        elif slacks >= 0:
            gpu = choose_gpu(world, e, m)
            value = -MOST_LOG
            if seems_up(world, e, gpu):
                latency_s, due_s = tightest(world, e, gpu, m)
                value = slack(latency_s, due_s)
            row[slacks + m] = value


@compiled
def encode_slacks(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write the predicted slack on every (GPU, model)."""
    cluster = world.cluster
    rules = cluster.rules[0]
    column = cluster.layout[GPU_SLACK]
    for gpu in range(rules.gpus):
        for m in range(rules.models):
            value = -MOST_LOG
            if serves(world, e, gpu, m):
                latency_s, due_s = tightest(world, e, gpu, m)
                value = slack(latency_s, due_s)
            row[column] = value
            column += 1


@compiled
def encode_work(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write the work that the pending request adds on every (GPU, model)."""
    cluster = world.cluster
    rules = cluster.rules[0]
    column = cluster.layout[GPU_WORK]
    per_s = rules.load_1_per_s / rules.gpus
    for gpu in range(rules.gpus):
        for m in range(rules.models):
            value = MOST_LOG
            if serves(world, e, gpu, m):
                value = min(added_work_s(world, e, gpu, m) * per_s, MOST_LOG)
            row[column] = value
            column += 1


@compiled
def encode_backlogs(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write how many requests wait for every (GPU, model)."""
    rules = world.cluster.rules[0]
    column = world.cluster.layout[GPU_BACKLOG]
    for gpu in range(rules.gpus):
        for m in range(rules.models):
            row[column] = min(math.log(1.0 + waiting(world, e, gpu, m)), MOST_LOG)
            column += 1


@compiled
def encode_running(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write how long every GPU still runs its batch, in the column of the batch's model."""
    rules = world.cluster.rules[0]
    column = world.cluster.layout[GPU_RUNNING]
    per_s = rules.load_1_per_s / rules.gpus
    for gpu in range(rules.gpus):
        for m in range(rules.models):
            row[column + m] = 0.0
        model = serving_model(world, e, gpu)
        if model >= 0:
            left = remaining_s(world, e, gpu) * per_s
            row[column + model] = min(math.log(1.0 + left), MOST_LOG)
        column += rules.models


@compiled
def encode_prospect(
    row: NDArray[np.float32],
    slacks: int,
    at: tuple[int, int, int, int],
    column: int,
    found: tuple[tuple[float, float], tuple[float, float, float, float]],
) -> None:
    """Write slack, TTFT, TPOT, KV cache and prompts to compute, those that are `at` a column."""
    due, (ttft_s, tpot_s, in_use, tokens) = found
    if slacks >= 0:
        row[slacks + column] = slack(due[0], due[1])
    if at[0] >= 0:
        row[at[0] + column] = min(math.log1p(ttft_s * 1e3), MOST_LOG)
    if at[1] >= 0:
        row[at[1] + column] = min(math.log1p(tpot_s * 1e6), MOST_LOG)
    if at[2] >= 0:
        row[at[2] + column] = in_use
    if at[3] >= 0:
        row[at[3] + column] = min(math.log1p(tokens), MOST_LOG)


@compiled
def any_of(at: tuple[int, int, int, int]) -> bool:
    """Whether an observation has any of four features."""
    return max(max(at[0], at[1]), max(at[2], at[3])) >= 0


@compiled
def encode_prospects(
    world: World, e: int, row: NDArray[np.float32], slacks: int, at: tuple[int, int, int, int]
) -> None:
    """Write what a request would meet on every (GPU, model)."""
    rules = world.cluster.rules[0]
    column = 0
    for gpu in range(rules.gpus):
        for m in range(rules.models):
            found = NOWHERE
            if serves(world, e, gpu, m):
                found = prospect(world, e, gpu, m)
            encode_prospect(row, slacks, at, column, found)
            column += 1


@compiled
def encode_health(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write which GPUs seem to be up, and which are about to go."""
    at = world.cluster.layout
    for gpu in range(world.cluster.rules[0].gpus):
        if at[GPU_UP] >= 0:
            row[at[GPU_UP] + gpu] = 1.0 if seems_up(world, e, gpu) else 0.0
        if at[GPU_LEAVING] >= 0:
            left_ms = leaving_s(world, e, gpu) * 1e3
            row[at[GPU_LEAVING] + gpu] = min(math.log1p(left_ms), MOST_LOG)


@compiled
def encode_held(world: World, e: int, row: NDArray[np.float32], feature: int) -> None:
    """Write how many requests every (GPU, model) has, or for GPU_IN_FLIGHT of the router's own."""
    rules = world.cluster.rules[0]
    column = world.cluster.layout[feature]
    for gpu in range(rules.gpus):
        for m in range(rules.models):
            count = held(world, e, gpu, m) if feature == GPU_HELD else in_flight(world, e, gpu, m)
            row[column] = min(math.log1p(float(count)), MOST_LOG)
            column += 1


@compiled
def log_age(world: World, e: int, gpu: int) -> float:
    """log1p of how old the signals of a GPU are, in units of 0.1 s."""
    return min(math.log1p(10.0 * age_s(world, e, gpu)), MOST_LOG)


@compiled
def encode_ages(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write how old signals are, of every GPU and of those that models would be served by."""
    rules, at = world.cluster.rules[0], world.cluster.layout
    if at[AGE] >= 0:
        for m in range(rules.models):
            row[at[AGE] + m] = log_age(world, e, choose_gpu(world, e, m))
    if at[GPU_AGE] >= 0:
        for gpu in range(rules.gpus):
            row[at[GPU_AGE] + gpu] = log_age(world, e, gpu)


@compiled
def encode_sent(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write how many requests were sent since, to every (GPU, model) and to every model."""
    rules, at = world.cluster.rules[0], world.cluster.layout
    for m in range(rules.models):
        total = 0
        for gpu in range(rules.gpus):
            count = sent(world, e, gpu, m)
            total += count
            if at[GPU_SENT] >= 0:
                column = at[GPU_SENT] + gpu * rules.models + m
                row[column] = min(math.log1p(float(count)), MOST_LOG)
        if at[SENT] >= 0:
            row[at[SENT] + m] = min(math.log1p(float(total)), MOST_LOG)
