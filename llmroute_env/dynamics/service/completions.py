"""The log of what ended: one COMPLETION record per request, as long as there is room.

A log without room keeps nothing: episodes that only their counters are asked of pay nothing for it.
"""

from __future__ import annotations

from typing import Any

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.returns import arrived_s, decision_of
from llmroute_env.dynamics.state import ABORTED, SHED
from llmroute_env.dynamics.window import arrival_s
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
    if len(log.tokens) > 0:
        clear_tokens(world, k)
    return int(k)


@compiled
def fill_identity(world: World, e: int, k: int, number: int, task: int, user_class: int) -> None:
    """Write which request record `k` is of, and which decision was the last about it."""
    record = world.log.records[k]
    record.task, record.user_class = task, user_class
    record.decision = decision_of(world, e, number)
    if len(world.log.origins) > 0:
        origin, fate = world.log.origins[k], world.state.fates[e, number]
        origin.request, origin.defers, origin.tries = number, fate.defers, fate.tries


@compiled
def clear_tokens(world: World, k: int) -> None:
    """No tokens were answered."""
    tokens = world.log.tokens[k]
    tokens.first_token_s, tokens.preemptions = 0.0, 0
    tokens.prompt_tokens, tokens.output_tokens = 0, 0


@compiled
def log_pending(world: World, e: int, outcome: int, gpu: int, model: int, utility: float) -> None:
    """The decision about the pending request came to `outcome` at once."""
    k = begin_record(world, e, outcome, gpu, model)
    if k >= 0:
        env, record = world.state.envs[e], world.log.records[k]
        fill_identity(world, e, k, env.request, env.task, env.user_class)
        record.arrival_s, record.start_s, record.finish_s = (
            arrived_s(world, e),
            env.now_s,
            env.now_s,
        )
        record.utility = utility
        if len(world.log.tokens) > 0:
            tokens = world.log.tokens[k]
            tokens.first_token_s = env.now_s
            tokens.prompt_tokens = world.tape.prompt_tokens[env.first + env.request]


@compiled
def log_failed(world: World, e: int, outcome: int, failed: Any) -> None:
    """The request of a RETURN was in flight, or on its way, to a GPU that is down."""
    k = begin_record(world, e, outcome, failed.gpu, failed.model)
    if k >= 0:
        tape, record = world.tape, world.log.records[k]
        number, at = failed.request, world.state.envs[e].first + failed.request
        fill_identity(world, e, k, number, tape.task[at], tape.user_class[at])
        record.arrival_s = arrival_s(world, e, number)
        record.start_s, record.finish_s = failed.at_s, failed.at_s
        if len(world.log.tokens) > 0:
            world.log.tokens[k].first_token_s = failed.at_s
            world.log.tokens[k].prompt_tokens = tape.prompt_tokens[at]


@compiled
def log_shed(world: World, e: int, gpu: int, model: int, request: Any, at_s: float) -> None:
    """The waiting `request` was dropped."""
    k = begin_record(world, e, SHED, gpu, model)
    if k >= 0:
        fill_identity(world, e, k, request.number, request.task, request.user_class)
        record = world.log.records[k]
        record.arrival_s, record.start_s, record.finish_s = request.arrival_s, at_s, at_s


@compiled
def log_served(
    world: World, e: int, gpu: int, model: int, request: Any, outcome: int, utility: float
) -> None:
    """The `request` was answered by what `gpu` runs, which finishes now."""
    k = begin_record(world, e, outcome, gpu, model)
    if k >= 0:
        record, batch = world.log.records[k], world.state.gpus[e, gpu]
        fill_identity(world, e, k, request.number, request.task, request.user_class)
        record.batch, record.utility, record.arrival_s = batch.running, utility, request.arrival_s
        record.start_s, record.finish_s = batch.start_s, batch.finish_s


@compiled
def log_answered(
    world: World,
    e: int,
    gpu: int,
    model: int,
    request: Any,
    outcome: int,
    utility: float,
    finish_s: float,
) -> None:
    """The `request` has its last token, beside all that still run."""
    k = begin_record(world, e, outcome, gpu, model)
    if k >= 0:
        world.log.records[k].utility = utility
        world.log.records[k].batch = world.state.gpus[e, gpu].running
        fill_tokens(world, e, k, request, request.output, finish_s)


@compiled
def log_aborted(world: World, e: int, gpu: int, model: int, request: Any, at_s: float) -> None:
    """The user of `request` has gone."""
    k = begin_record(world, e, ABORTED, gpu, model)
    if k >= 0:
        fill_tokens(world, e, k, request, request.answered, at_s)


@compiled
def fill_tokens(world: World, e: int, k: int, request: Any, answered: int, finish_s: float) -> None:
    """Write when a request that has tokens came, began and ended, and how long it was."""
    fill_identity(world, e, k, request.number, request.task, request.user_class)
    record = world.log.records[k]
    record.arrival_s = request.arrival_s
    record.start_s = request.start_s if request.start_s >= 0.0 else finish_s
    record.finish_s = finish_s
    if len(world.log.tokens) > 0:
        tokens = world.log.tokens[k]
        tokens.first_token_s = request.first_token_s if answered > 0 else finish_s
        tokens.prompt_tokens, tokens.output_tokens = request.prompt, answered
        tokens.preemptions = request.preemptions
