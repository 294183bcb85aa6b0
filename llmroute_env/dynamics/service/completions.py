"""The log of what ended: one COMPLETION record per request, as long as there is room.

A log without room keeps nothing: episodes that only their counters are asked of pay nothing for it.
"""

from __future__ import annotations

from typing import Any

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.state import REJECTED, SHED
from llmroute_env.dynamics.world import World


@compiled
def begin_record(world: World, e: int, outcome: int, gpu: int, model: int) -> int:
    """Take the next record and write what all have in common; its number, or -1 without room."""
    log = world.log
    k = log.used[0]
    if k >= len(log.records):
        return -1
    record = log.records[k]
    record.env, record.outcome, record.gpu, record.model = e, outcome, gpu, model
    record.batch, record.utility = 0, 0.0
    log.used[0] = k + 1
    return int(k)


@compiled
def log_rejected(world: World, e: int, gpu: int, model: int) -> None:
    """The pending request was turned away, at once."""
    k = begin_record(world, e, REJECTED, gpu, model)
    if k >= 0:
        env, record = world.state.envs[e], world.log.records[k]
        record.task, record.user_class, record.decision = env.task, env.user_class, env.decision
        record.arrival_s, record.start_s, record.finish_s = env.now_s, env.now_s, env.now_s


@compiled
def log_shed(world: World, e: int, gpu: int, model: int, request: Any, at_s: float) -> None:
    """The waiting `request` was dropped."""
    k = begin_record(world, e, SHED, gpu, model)
    if k >= 0:
        record = world.log.records[k]
        record.task, record.user_class = request.task, request.user_class
        record.decision, record.arrival_s = request.decision, request.arrival_s
        record.start_s, record.finish_s = at_s, at_s


@compiled
def log_served(
    world: World, e: int, gpu: int, model: int, request: Any, outcome: int, utility: float
) -> None:
    """The `request` was answered by what `gpu` runs, which finishes now."""
    k = begin_record(world, e, outcome, gpu, model)
    if k >= 0:
        record, batch = world.log.records[k], world.state.gpus[e, gpu]
        record.batch, record.utility = batch.running, utility
        record.task, record.user_class = request.task, request.user_class
        record.decision, record.arrival_s = request.decision, request.arrival_s
        record.start_s, record.finish_s = batch.start_s, batch.finish_s
