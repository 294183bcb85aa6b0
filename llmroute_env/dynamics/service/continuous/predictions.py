"""What is predicted of the pending request at an instance, from mean lengths of answers.

Nobody knows how long an answer will be: its task's mean stands for it, as for all who are there.
docs/continuous-batching.md has the formulas.
"""

from __future__ import annotations

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.service.continuous.arrays import FINE_BITS
from llmroute_env.dynamics.service.continuous.blocks import blocks_of, needed
from llmroute_env.dynamics.service.continuous.step_times import (
    beside,
    decode,
    linear,
    piece_of,
    prefill,
)
from llmroute_env.dynamics.service.continuous.steps import length_of_leap
from llmroute_env.dynamics.world import World, if_exact, view_of

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
    low, high = 0, int(instance.leap) - 1
    left = at - int(instance.began)
    while low < high:
        middle = (low + high + 1) // 2
        if length_of_leap(instance.first, instance.growth, middle) <= left:
            low = middle
        else:
            high = middle - 1
    return low


@compiled
def free_blocks(world: World, e: int, gpu: int, done: int) -> int:
    """Free blocks of the KV cache in the step that runs, `done` of its leap being over."""
    instance = world.state.service.instances[view_of(world, e), gpu]
    return int(instance.free_blocks) - needed(world, e, gpu, instance.steps + 1, done)


@compiled
def now(world: World, e: int) -> int:
    """The clock of an env, in fine ticks."""
    return int(world.state.envs[e].now_s * 2.0**30) << FINE_BITS


@compiled
def step_s(world: World, gpu: int, decoding: int, context: int, chunk: int) -> float:
    """Seconds of a step of so many who decode, and a piece of a prompt."""
    tables, pool = world.cluster.service, world.cluster.pool_of[gpu]
    length = tables.engines[pool].host + linear(tables, pool, decoding, decoding + chunk)
    if decoding > 0:
        piece = piece_of(tables, pool, decoding, context)
        length += decode(tables, pool, decoding, context, piece, chunk > 0)
        length += tables.head[pool, decoding]
    if chunk > 0:
        length += prefill(tables, pool, chunk, 0) + beside(tables, pool, decoding, chunk)
    return float(max(length, 1)) * PER_FINE_S


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
    s = world.state
    row = view_of(world, e)
    instance = s.service.instances[row, gpu]
    held = s.gpus[row, gpu].running + s.gpus[row, gpu].waiting
    engine = world.cluster.service.engines[world.cluster.pool_of[gpu]]
    together = min(held + 1, engine.most_running)
    context = instance.context + done * instance.decoding
    context += instance.waiting_tokens + prompt_of_pending(world, e)
    return step_s(world, gpu, together, context * together // (held + 1), 0)


@compiled
def predicted_ttft_s(world: World, e: int, gpu: int, done: int) -> float:
    """Seconds to the pending request's first token.

    These are the rest of the step that runs, room that must become free, and prompts up to its own.
    """
    s, row = world.state, view_of(world, e)
    instance, held = s.service.instances[row, gpu], s.gpus[row, gpu]
    pool = world.cluster.pool_of[gpu]
    engine = world.cluster.service.engines[pool]
    prompt = prompt_of_pending(world, e)
    if held.running == 0:
        return prompts_s(world, gpu, 0, 0, prompt)
    waited_s = left_of_step_s(world, e, gpu, done)
    tokens = prefill_tokens(world, e, gpu) + prompt
    # Who must be done first, for a place in the step and for blocks.
    over = float(held.running + held.waiting + 1 - engine.most_running)
    free = free_blocks(world, e, gpu, done)
    lacking = blocks_of(instance.waiting_tokens + prompt) - free
    if lacking > 0:
        taken = engine.blocks - free
        over = max(over, float(lacking) * float(held.running) / float(max(taken, 1)))
    if over > 0.0:
        each_s = answer_of_pending(world, e) * predicted_tpot_s(world, e, gpu, done)
        waited_s += each_s * over / float(held.running)
    context = instance.context + done * instance.decoding
    return waited_s + prompts_s(world, gpu, instance.decoding, context, tokens)


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
def prompts_s(world: World, gpu: int, decoding: int, context: int, tokens: int) -> float:
    """Seconds until so many tokens of prompts are computed, beside those who decode."""
    engine = world.cluster.service.engines[world.cluster.pool_of[gpu]]
    budget = int(max(engine.most_tokens - decoding, 1))
    full = (tokens - 1) // budget
    last_s = step_s(world, gpu, decoding, context, tokens - full * budget)
    if full == 0:
        return last_s
    return float(full) * step_s(world, gpu, decoding, context, budget) + last_s
