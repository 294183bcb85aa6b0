"""What every action would have earned: rollouts from visited states, compiled.

From a state each action is tried, then a base policy followed for a while under the same
arrivals (common random numbers), so that the values of the actions differ by what the actions
did and not by what happened to arrive (Tesauro and Galperin 1996; Bertsekas and Castanon 1999).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agents.compiled_policies import CompiledPolicy, walk
from llmroute_env._compiled import compiled
from llmroute_env.cluster import Cluster, Tape
from llmroute_env.dynamics import advance
from llmroute_env.episode import begin_episode
from llmroute_env.observation import encode
from llmroute_env.state import Log, State


@compiled
def fork(cluster: Cluster, s: State, source: int, target: int) -> None:
    """Make env `target` a copy of env `source`; of the rings only what lives is copied."""
    rules = cluster.rules[0]
    s.envs[target] = s.envs[source]
    for model in range(rules.models):
        s.models[target, model] = s.models[source, model]
    for gpu in range(rules.gpus):
        s.gpus[target, gpu] = s.gpus[source, gpu]
        s.contests[target, 0, gpu] = s.contests[source, 0, gpu]
        s.contests[target, 1, gpu] = s.contests[source, 1, gpu]
        for model in range(rules.models):
            queue = s.queues[source, gpu, model]
            s.queues[target, gpu, model] = queue
            index = queue.head
            for _ in range(queue.running + queue.waiting):
                s.requests[target, gpu, model, index] = s.requests[source, gpu, model, index]
                index = index + 1 if index + 1 < rules.ring else 0


@compiled
def try_actions(
    base: CompiledPolicy,
    cluster: Cluster,
    tape: Tape,
    s: State,
    e: int,
    spare: int,
    horizon_s: float,
    log: Log,
    values: NDArray[np.float64],
) -> int:
    """Write the utility that each action and then `base` earn in `horizon_s` from env `e` on.

    Requests in flight at the horizon are served to their end. Env `spare` is overwritten. Returns
    the decisions taken.
    """
    taken = 0
    until_s = s.envs[e].now_s + horizon_s
    for action in range(len(values)):
        fork(cluster, s, e, spare)
        taken += walk(base, cluster, tape, s, spare, action, until_s, 2**62, log)
        values[action] = s.envs[spare].utility - s.envs[e].utility
        if not s.envs[spare].over:
            s.envs[spare].step_in_time, s.envs[spare].step_late = 0.0, 0.0
            advance(cluster, s, spare, math.inf, log)
            values[action] += s.envs[spare].step_in_time + s.envs[spare].step_late
    return taken


@compiled
def visit_and_try(
    behaviour: CompiledPolicy,
    base: CompiledPolicy,
    cluster: Cluster,
    tape: Tape,
    s: State,
    skips: NDArray[np.int64],
    horizon_s: float,
    log: Log,
    observations: NDArray[np.float32],
    values: NDArray[np.float64],
) -> int:
    """Follow `behaviour` for `skips[e]` decisions in every env e but the last, then try actions.

    Writes what is seen there, (E - 1, F), and what each action earns, (E - 1, actions). An episode
    that ends is followed by the next. Returns the decisions taken.
    """
    taken = 0
    spare = len(s.envs) - 1
    for e in range(spare):
        left = skips[e]
        while left > 0 or s.envs[e].over:
            if s.envs[e].over:
                begin_episode(cluster, tape, s, e)
            moved = walk(behaviour, cluster, tape, s, e, -1, math.inf, left, log)
            left -= moved
            taken += moved
        encode(cluster, s, e, observations[e])
        taken += try_actions(base, cluster, tape, s, e, spare, horizon_s, log, values[e])
    return taken
