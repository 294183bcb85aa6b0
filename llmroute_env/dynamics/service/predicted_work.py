"""The work that waits, and what one request more would add, if every queue ran in full batches.

This is a prediction, W(n) of docs/service-model.md: what arrives meanwhile, and what is shed, it
does not know.
"""

from __future__ import annotations

from llmroute_env.dynamics.cluster import Cluster
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.world import World


@compiled
def marginal_work_s(cluster: Cluster, pool: int, model: int, waiting: int) -> float:
    """Seconds of work that one more request adds to a queue of `waiting`, in full batches."""
    limit = cluster.batch_limit[pool, model]
    rest = waiting if waiting < limit else waiting % limit
    batch_s = cluster.service.batch_s
    return float(batch_s[pool, model, rest + 1] - batch_s[pool, model, rest])


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
            batch_s = cluster.service.batch_s
            work_s += full * batch_s[pool, model, limit] + batch_s[pool, model, rest]
    return work_s
