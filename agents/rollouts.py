"""What every action would have earned: rollouts from visited states, compiled.

From a state each action is tried, then a base policy followed for a while under the same
arrivals (common random numbers), so that the values of the actions differ by what the actions
did and not by what happened to arrive (Tesauro and Galperin 1996; Bertsekas and Castanon 1999).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.compiled_policies import CompiledPolicy, walk
from llmroute_env._compiled import compiled
from llmroute_env.cluster import Cluster, Tape
from llmroute_env.dynamics import advance
from llmroute_env.episode import Outputs, begin_episode, keep_final
from llmroute_env.observation import encode
from llmroute_env.state import Log, State


@compiled
def fork(cluster: Cluster, s: State, source: int, target: int) -> None:
    """Make env `target` a copy of env `source`; of the requests only slots ever used are copied."""
    rules = cluster.rules[0]
    s.envs[target] = s.envs[source]
    for model in range(rules.models):
        s.models[target, model] = s.models[source, model]
    for gpu in range(rules.gpus):
        s.gpus[target, gpu] = s.gpus[source, gpu]
        s.contests[target, 0, gpu] = s.contests[source, 0, gpu]
        s.contests[target, 1, gpu] = s.contests[source, 1, gpu]
        for model in range(rules.models):
            s.queues[target, gpu, model] = s.queues[source, gpu, model]
    for slot in range(s.envs[source].slots):
        s.requests[target, slot] = s.requests[source, slot]


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


class Tried(NamedTuple):
    """States of N envs in which every action was tried."""

    observations: NDArray[np.float32]  # (N, F)
    values: NDArray[np.float64]  # (N, actions): utility within the horizon


@compiled
def visit_and_try(
    behaviour: CompiledPolicy,
    base: CompiledPolicy,
    cluster: Cluster,
    tape: Tape,
    s: State,
    out: Outputs,
    skips: NDArray[np.int64],
    horizon_s: float,
    log: Log,
    tried: Tried,
) -> int:
    """Follow `behaviour` for `skips[e]` decisions in every env e but the last, then try actions.

    An episode that ends is followed by the next; `out.terminated` marks the envs in which one did,
    and `out` holds the counters of the last such. Returns the decisions taken.
    """
    taken = 0
    spare = len(s.envs) - 1
    for e in range(spare):
        out.terminated[e] = False
        left = skips[e]
        while left > 0 or s.envs[e].over:
            if s.envs[e].over:
                keep_final(s, e, out)
                out.terminated[e] = True
                begin_episode(cluster, tape, s, e)
            moved = walk(behaviour, cluster, tape, s, e, -1, math.inf, left, log)
            left -= moved
            taken += moved
        encode(cluster, s, e, tried.observations[e])
        taken += try_actions(base, cluster, tape, s, e, spare, horizon_s, log, tried.values[e])
    return taken
