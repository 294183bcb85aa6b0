"""Which GPU: tournament trees over the GPUs, the dispatchers, and the work they predict.

A tournament tree over n GPUs keeps in its inner node k (of 1..n-1) the winner among the leaves
below: the GPU with the least key, ties to the lower number. Reading the winner costs O(1) and a
new key O(log n), so that an arrival never touches GPUs that it does not concern.
"""

from __future__ import annotations

from llmroute_env._compiled import compiled
from llmroute_env.cluster import Cluster
from llmroute_env.state import Records
from llmroute_env.world import World

LEAST_WORK, SHORTEST_QUEUE, ROUND_ROBIN = range(3)
DISPATCHERS = ("least-work", "shortest-queue", "round-robin")

FINISH, LOAD = range(2)
"""The two tournaments: finish of the running batch (inf when idle), and the dispatcher's load."""


@compiled
def winner(contests: Records, e: int, column: int, first: int, n: int, node: int) -> int:
    """The winner of `node` in the tree over n GPUs from `first` on; nodes n..2n-1 are leaves."""
    return first + node - n if node >= n else contests[e, column, first + node].winner


@compiled
def play(contests: Records, e: int, column: int, first: int, n: int, node: int) -> int:
    """The winner between the two children of `node`."""
    left = winner(contests, e, column, first, n, 2 * node)
    right = winner(contests, e, column, first, n, 2 * node + 1)
    left_key, right_key = contests[e, column, left].key, contests[e, column, right].key
    if left_key < right_key or (left_key == right_key and left < right):
        return left
    return right


@compiled
def set_key(
    contests: Records, e: int, column: int, first: int, n: int, gpu: int, key: float
) -> None:
    """Give `gpu` a new key and replay its matches."""
    contests[e, column, gpu].key = key
    node = (gpu - first + n) >> 1
    while node >= 1:
        before = contests[e, column, first + node].winner
        after = play(contests, e, column, first, n, node)
        if after == before and after != gpu:
            break
        contests[e, column, first + node].winner = after
        node >>= 1


@compiled
def fill_tree(contests: Records, e: int, column: int, first: int, n: int) -> None:
    """Play all matches."""
    for node in range(n - 1, 0, -1):
        contests[e, column, first + node].winner = play(contests, e, column, first, n, node)


@compiled
def choose_gpu(world: World, e: int, model: int) -> int:
    """The GPU that the dispatcher picks for `model`; -1 if no GPU hosts it. Changes nothing."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    if rules.dispatcher == ROUND_ROBIN:
        return next_host(cluster, s.envs[e].next_gpu, model)
    best = -1
    for p in range(rules.pools):
        if cluster.batch_limit[p, model] > 0:
            pool = cluster.pools[p]
            gpu: int = winner(s.contests, e, LOAD, pool.first_gpu, pool.gpus, 1)
            if best < 0 or s.contests[e, LOAD, gpu].key < s.contests[e, LOAD, best].key:
                best = gpu
    return best


@compiled
def next_host(cluster: Cluster, cursor: int, model: int) -> int:
    """The first GPU at or after `cursor`, cyclically, that hosts `model`."""
    gpus = cluster.rules[0].gpus
    for step in range(gpus):
        gpu: int = (cursor + step) % gpus
        if cluster.batch_limit[cluster.pool_of[gpu], model] > 0:
            return gpu
    return -1


@compiled
def added_work_s(cluster: Cluster, pool: int, model: int, waiting: int) -> float:
    """Seconds of work that one more request adds to a queue of `waiting`, in full batches."""
    limit = cluster.batch_limit[pool, model]
    rest = waiting if waiting < limit else waiting % limit
    added_s: float = cluster.batch_s[pool, model, rest + 1] - cluster.batch_s[pool, model, rest]
    return added_s


@compiled
def queued_work_s(world: World, e: int, gpu: int) -> float:
    """Seconds of work that waits on `gpu`, if every queue ran in full batches."""
    cluster, s = world.cluster, world.state
    work_s = 0.0
    pool = cluster.pool_of[gpu]
    for model in range(cluster.rules[0].models):
        waiting = s.queues[e, gpu, model].waiting
        if waiting > 0:
            limit = cluster.batch_limit[pool, model]
            full, rest = waiting // limit, waiting % limit
            batch_s = cluster.batch_s
            work_s += full * batch_s[pool, model, limit] + batch_s[pool, model, rest]
    return work_s


@compiled
def predicted_latency_s(world: World, e: int, gpu: int, model: int) -> float:
    """Predicted latency of the pending request on (gpu, model): all work there, then its own."""
    s = world.state
    backlog_s: float = max(s.gpus[e, gpu].drain_s - s.envs[e].now_s, 0.0)
    added_s: float = s.queues[e, gpu, model].added_s
    return backlog_s + added_s


@compiled
def update_load(world: World, e: int, gpu: int) -> None:
    """Tell the dispatcher that the drain time or the number of requests of `gpu` has changed."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    if rules.dispatcher == ROUND_ROBIN:
        return
    held = s.gpus[e, gpu].waiting + s.gpus[e, gpu].running
    key = s.gpus[e, gpu].drain_s if rules.dispatcher == LEAST_WORK else float(held)
    if key != s.contests[e, LOAD, gpu].key:
        pool = cluster.pools[cluster.pool_of[gpu]]
        set_key(s.contests, e, LOAD, pool.first_gpu, pool.gpus, gpu, key)
