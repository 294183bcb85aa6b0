"""What is predicted of the pending request at an instance, from mean lengths of answers.

Nobody knows how long an answer will be: its task's mean stands for it, as for all who are there.
docs/continuous-batching.md has the formulas.
"""

from __future__ import annotations

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.service.continuous.arrays import BLOCK, FINE_BITS, NONE, EngineTables
from llmroute_env.dynamics.service.continuous.blocks import blocks_of, needed
from llmroute_env.dynamics.service.continuous.step_times import (
    added_by_tokens,
    beside,
    decode,
    linear,
    piece_of,
    prefill,
)
from llmroute_env.dynamics.service.continuous.steps import length_of_leap, steps_within
from llmroute_env.dynamics.world import World, if_exact, view_of
from llmroute_env.specs import TICKS_PER_S

PER_FINE_S = 2.0**-40


@compiled
def prompt_of_pending(world: World, e: int) -> int:
    """Prompt tokens of the pending request; 1 when there is none."""
    env = world.state.envs[e]
    at = env.first + env.request
    return int(world.tape.prompt_tokens[at]) if env.task >= 0 else 1


@compiled
def answer_of_pending(world: World, e: int) -> float:
    """Mean tokens of an answer to the pending request's task; 1 when there is none."""
    env = world.state.envs[e]
    return float(world.cluster.service.mean_output_tokens[env.task]) if env.task >= 0 else 1.0


@compiled
def work_of_pending(world: World, e: int, gpu: int) -> int:
    """The share of an instance's time that the pending request is likely to take, fine ticks."""
    tables, pool = world.cluster.service, world.cluster.pool_of[gpu]
    engine = tables.engines[pool]
    prompt = prompt_of_pending(world, e)
    tokens = min(prompt, engine.most_tokens)
    own = float(linear(tables, pool, 0, tokens)) * float(prompt) / float(tokens)
    own += float(prefill(tables, pool, prompt, 0))
    return int(own + engine.share * answer_of_pending(world, e))


@compiled
def steps_done(world: World, e: int, gpu: int) -> int:
    """How many steps of the leap have ended by now; 0 at an empty instance."""
    row = view_of(world, e)
    if world.state.gpus[row, gpu].running == 0:
        return 0
    return steps_done_by(world, row, gpu, now(world, e))


@compiled
def steps_done_by(world: World, row: int, gpu: int, at: int) -> int:
    """How many steps of the leap have ended by a moment within it."""
    instance = world.state.service.instances[row, gpu]
    # The last one ends later: what ends by now has been handled.
    left = at - int(instance.began)
    return steps_within(instance.first, instance.growth, left, int(instance.leap) - 1)


@compiled
def free_blocks(world: World, e: int, gpu: int, done: int) -> int:
    """Free blocks of the KV cache in the step that runs, `done` of its leap being over."""
    instance = world.state.service.instances[view_of(world, e), gpu]
    return int(instance.free_blocks) - needed(world, e, gpu, instance.steps + 1, done)


@compiled
def now(world: World, e: int) -> int:
    """The clock of an env, in fine ticks."""
    return int(world.state.envs[e].now_s * TICKS_PER_S) << FINE_BITS


@compiled
def decoding_step(
    tables: EngineTables, pool: int, decoding: int, context: int, near: int, mixed: bool
) -> int:
    """Fine ticks of a step of so many who decode, without what prompts add.

    `near` is as of `piece_of`, `mixed` as of `decode`.
    """
    length = tables.engines[pool].host + tables.linear[pool, max(decoding, 1)]
    if decoding > 0:
        piece = piece_of(tables, pool, decoding, context, near)
        length += decode(tables, pool, decoding, context, piece, mixed)
        length += tables.head[pool, decoding]
    return int(length)


@compiled
def seconds_of(ticks: int) -> float:
    """Seconds of a step of so many fine ticks, at least one."""
    return float(max(ticks, 1)) * PER_FINE_S


@compiled
def left_of_step_s(world: World, e: int, gpu: int, done: int) -> float:
    """Seconds until the step ends that runs, `done` of its leap being over."""
    instance = world.state.service.instances[view_of(world, e), gpu]
    end = instance.began + length_of_leap(instance.first, instance.growth, done + 1)
    # What was seen to run may have ended.
    return float(max(end - now(world, e), 0)) * PER_FINE_S


@compiled
def predicted_tpot_s(world: World, e: int, gpu: int, done: int) -> float:
    """Seconds a token, if the pending request and all who wait here ran with those who run.

    `done` is `steps_done`, which whoever asks more than once asks once.
    """
    s, row, pool = world.state, view_of(world, e), world.cluster.pool_of[gpu]
    instance, held = s.service.instances[row, gpu], s.gpus[row, gpu]
    all_of_them = int(held.running + held.waiting + 1)
    together, limit = all_of_them, int(world.cluster.service.engines[pool].most_running)
    context = int(instance.context + done * instance.decoding)
    context += int(instance.waiting_tokens) + prompt_of_pending(world, e)
    if all_of_them > limit:
        together, context = limit, context * limit // all_of_them
    tables = world.cluster.service
    return seconds_of(decoding_step(tables, pool, together, context, instance.piece, False))


@compiled
def predicted_ttft_s(world: World, e: int, gpu: int, done: int, tpot_s: float) -> float:
    """Seconds to the pending request's first token; `tpot_s` is what is predicted for the others.

    These are the rest of the step that runs, room that must become free, and prompts up to its own.
    """
    s, row = world.state, view_of(world, e)
    instance, held = s.service.instances[row, gpu], s.gpus[row, gpu]
    prompt = prompt_of_pending(world, e)
    if held.running == 0:
        return prompts_s(world, gpu, 0, 0, NONE, prompt)
    waited_s = left_of_step_s(world, e, gpu, done)
    over = must_leave(world, e, gpu, done, prompt)
    if over > 0.0:
        waited_s += answer_of_pending(world, e) * tpot_s * over / float(held.running)
    context = int(instance.context + done * instance.decoding)
    tokens = prefill_tokens(world, e, gpu) + prompt
    decoding = int(instance.decoding)
    return waited_s + prompts_s(world, gpu, decoding, context, instance.piece, tokens)


@compiled
def must_leave(world: World, e: int, gpu: int, done: int, prompt: int) -> float:
    """How many must be done first, for a place in the step and for blocks; not above 0: nobody."""
    s, row = world.state, view_of(world, e)
    instance, held = s.service.instances[row, gpu], s.gpus[row, gpu]
    engine = world.cluster.service.engines[world.cluster.pool_of[gpu]]
    over = float(held.running + held.waiting + 1 - engine.most_running)
    wanted = blocks_of(instance.waiting_tokens + prompt)
    # Mostly there is room for more than the steps can have taken, which need not be counted then.
    if wanted + (done // BLOCK + 1) * instance.decoding <= instance.free_blocks:
        return over
    free = free_blocks(world, e, gpu, done)
    if wanted > free:
        taken = engine.blocks - free
        over = max(over, float(wanted - free) * float(held.running) / float(max(taken, 1)))
    return over


@compiled
def tokens_to_compute(world: World, e: int, gpu: int) -> int:
    """`prefill_tokens`, as it is."""
    s = world.state
    instance = s.service.instances[e, gpu]
    tokens = int(instance.waiting_tokens)
    if instance.part >= 0:
        record = s.service.slots[e, gpu * world.cluster.service.engines[0].slots + instance.part]
        tokens += record.prompt + record.answered - instance.part_computed - instance.part_chunk
    return int(tokens)


def prefill_tokens_now(world: World, e: int, gpu: int) -> int:
    """What is, is seen."""
    return tokens_to_compute(world, e, gpu)


@if_exact(prefill_tokens_now)
def prefill_tokens(world: World, e: int, gpu: int) -> int:
    """Tokens that the steps after the one that runs must compute, of those who do not decode."""
    instance = world.state.service.instances[view_of(world, e), gpu]
    return int(instance.waiting_tokens + instance.part_chunk)


@compiled
def prompts_s(world: World, gpu: int, decoding: int, context: int, near: int, tokens: int) -> float:
    """Seconds until so many tokens of prompts are computed, beside those who decode."""
    tables, pool = world.cluster.service, world.cluster.pool_of[gpu]
    alone = decoding_step(tables, pool, decoding, context, near, True)
    budget = int(max(tables.engines[pool].most_tokens - decoding, 1))
    if tokens <= budget:
        return chunk_s(tables, pool, decoding, alone, tokens)
    full = (tokens - 1) // budget
    last_s = chunk_s(tables, pool, decoding, alone, tokens - full * budget)
    return float(full) * chunk_s(tables, pool, decoding, alone, budget) + last_s


@compiled
def chunk_s(tables: EngineTables, pool: int, decoding: int, alone: int, chunk: int) -> float:
    """Seconds of a step that takes `alone` without the chunk of a prompt that is in it."""
    added = added_by_tokens(tables, pool, decoding, decoding + chunk)
    added += prefill(tables, pool, chunk, 0) + beside(tables, pool, decoding, chunk)
    return seconds_of(alone + added)
