"""The work that waits, and what one request more would add, if every queue ran in full batches.

This is a prediction, W(n) of docs/service-model.md: what arrives meanwhile, and what is shed, it
does not know.
"""

from __future__ import annotations

from llmroute_env.dynamics.cluster import Cluster
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.world import World


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
