"""The steps of an instance: what one holds, how many are alike, and what their end brings.

A step begins with `begin`: those that run get their tokens, or are preempted for lack of blocks;
those that wait are admitted. While only answers are written, all steps are alike until somebody
is done, until a block is wanting, or until attention leaves its line: these are one leap.
"""

from __future__ import annotations

import math

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.service.continuous.arrays import (
    BLOCK,
    DECODING,
    FINISHING,
    NONE,
    PREFILLING,
    WAITING,
)
from llmroute_env.dynamics.service.continuous.blocks import (
    affordable,
    blocks_of,
    computed_of,
    due,
    found_blocks,
    needed,
    residue_of,
    take_blocks,
)
from llmroute_env.dynamics.service.continuous.heaps import base_of, push, remove
from llmroute_env.dynamics.service.continuous.slots import (
    append_running,
    leave_running,
    leave_waiting,
    prepend_waiting,
    slot_at,
)
from llmroute_env.dynamics.service.continuous.step_times import (
    beside,
    decode,
    growth_of,
    linear,
    piece_of,
    prefill,
    steps_that_grow,
)
from llmroute_env.dynamics.service.counts import change_running, change_waiting
from llmroute_env.dynamics.world import World
from llmroute_env.specs import TICK_S


@compiled
def length_of_leap(first: int, growth: int, steps: int) -> int:
    """Fine ticks of so many steps."""
    return steps * first + growth * (steps * (steps - 1) // 2)


@compiled
def end_of(world: World, e: int, gpu: int) -> int:
    """When the leap ends."""
    instance = world.state.service.instances[e, gpu]
    return int(instance.began) + length_of_leap(instance.first, instance.growth, instance.leap)


@compiled
def steps_to(world: World, e: int, gpu: int, at: int) -> int:
    """The number of steps of the leap, at least one, whose end is the first at or after `at`."""
    instance = world.state.service.instances[e, gpu]
    before = at - int(instance.began) - 1
    return 1 + steps_within(instance.first, instance.growth, before, int(instance.leap) - 1)


@compiled
def steps_within(first: int, growth: int, left: int, most: int) -> int:
    """How many steps of a leap, at most `most`, are over after `left` fine ticks."""
    if most == 0 or left < first:
        return 0
    # A root in floats is close, which a search by halves takes longer to be.
    mean = max(float(first) - 0.5 * float(growth), 1.0)
    squared = mean * mean + 2.0 * float(growth) * float(left)
    close = 2.0 * float(left) / (mean + math.sqrt(max(squared, 0.0)))
    steps = int(min(max(close, 0.0), float(most)))
    while steps > 0 and length_of_leap(first, growth, steps) > left:
        steps -= 1
    while steps < most and length_of_leap(first, growth, steps + 1) <= left:
        steps += 1
    return steps


@compiled
def begin(world: World, e: int, gpu: int, model: int, at: int) -> None:
    """Begin the next step at `at`, and as many more as are like it; there is somebody to serve."""
    instance = world.state.service.instances[e, gpu]
    pool = world.cluster.pool_of[gpu]
    instance.began, instance.new = at, NONE
    preempted = make_room(world, e, gpu, model)
    attention = continue_part(world, e, gpu, model)
    if attention < 0:
        preempted, attention = True, 0
    tokens, answers = instance.decoding + instance.part_chunk, instance.decoding
    if instance.part != NONE and instance.part_chunk == rest_of(world, e, gpu):
        # Its prompt ends with this step.
        instance.new, instance.part = instance.part, NONE
        answers += 1
    budget = world.cluster.service.engines[pool].most_tokens - tokens
    if not preempted:
        while budget > 0 and can_admit(world, e, gpu):
            slot = instance.first_waiting
            computed = BLOCK * found_blocks(instance, slot_at(world, e, gpu, slot))
            chunk = admit_head(world, e, gpu, model, budget, computed)
            attention += prefill(world.cluster.service, pool, chunk, computed)
            budget, tokens = budget - chunk, tokens + chunk
            if instance.part != slot:
                answers += 1
                if instance.new == NONE:
                    instance.new = slot
    plan(world, e, gpu, tokens, answers, attention, preempted)


@compiled
def rest_of(world: World, e: int, gpu: int) -> int:
    """Tokens that are not computed of the prompt that is under way."""
    instance = world.state.service.instances[e, gpu]
    record = slot_at(world, e, gpu, instance.part)
    return int(record.prompt + record.answered - instance.part_computed)


@compiled
def make_room(world: World, e: int, gpu: int, model: int) -> bool:
    """Give those who decode the blocks that they begin; whether somebody had to be preempted."""
    instance = world.state.service.instances[e, gpu]
    preempted = False
    while due(world, e, gpu, instance.steps) > instance.free_blocks:
        preempt_last(world, e, gpu, model)
        preempted = True
    take_blocks(instance, due(world, e, gpu, instance.steps))
    return preempted


@compiled
def continue_part(world: World, e: int, gpu: int, model: int) -> int:
    """Give the prompt under way what is left of the step; its attention, or -1 if it had no room.

    Without one it is 0.
    """
    instance = world.state.service.instances[e, gpu]
    pool = world.cluster.pool_of[gpu]
    instance.part_chunk = 0
    if instance.part == NONE:
        return 0
    budget = world.cluster.service.engines[pool].most_tokens - instance.decoding
    computed = instance.part_computed
    chunk = min(rest_of(world, e, gpu), budget)
    added = blocks_of(computed + chunk) - blocks_of(computed)
    if added > instance.free_blocks:
        preempt_last(world, e, gpu, model)
        return -1
    take_blocks(instance, added)
    instance.part_chunk = chunk
    return prefill(world.cluster.service, pool, chunk, computed)


@compiled
def preempt_last(world: World, e: int, gpu: int, model: int) -> None:
    """The last admitted gives its blocks back, and heads the queue."""
    instance = world.state.service.instances[e, gpu]
    slot = instance.last_running
    record = slot_at(world, e, gpu, slot)
    computed = stop_running(world, e, gpu, slot)
    if world.cluster.service.engines[world.cluster.pool_of[gpu]].prefix_caching:
        record.full_blocks = computed // BLOCK
        record.place = instance.taken_blocks + instance.free_blocks - 1
    record.status = WAITING
    record.preemptions += 1
    prepend_waiting(world, e, gpu, slot)
    instance.waiting_tokens += record.prompt + record.answered
    change_running(world, e, gpu, model, -1)
    change_waiting(world, e, gpu, model, 1)


@compiled
def stop_running(world: World, e: int, gpu: int, slot: int) -> int:
    """Take a request out of the running list and its blocks from it, at the end of a step.

    Returns how many of its tokens are computed.
    """
    own = world.state.service
    instance, record = own.instances[e, gpu], slot_at(world, e, gpu, slot)
    if record.status == DECODING:
        computed = computed_of(instance, record)
        remove(world, e, gpu, FINISHING, slot)
        own.residues[e, gpu, residue_of(record)] -= 1
        instance.decoding -= 1
        instance.context -= computed
        record.answered = computed + 1 - record.prompt
    else:
        computed = instance.part_computed
        instance.part = NONE
    instance.free_blocks += blocks_of(computed)
    leave_running(world, e, gpu, slot)
    return int(computed)


@compiled
def can_admit(world: World, e: int, gpu: int) -> bool:
    """Whether somebody waits for whose whole prompt there is room."""
    instance = world.state.service.instances[e, gpu]
    engine = world.cluster.service.engines[world.cluster.pool_of[gpu]]
    if instance.first_waiting == NONE:
        return False
    if world.state.gpus[e, gpu].running >= engine.most_running:
        return False
    record = slot_at(world, e, gpu, instance.first_waiting)
    return bool(blocks_of(record.prompt + record.answered) <= instance.free_blocks)


@compiled
def admit_head(world: World, e: int, gpu: int, model: int, budget: int, computed: int) -> int:
    """The head of the queue runs from now on; returns how many of its tokens the step computes.

    `computed` of them, whole blocks, need not be.
    """
    instance = world.state.service.instances[e, gpu]
    slot = instance.first_waiting
    record = slot_at(world, e, gpu, slot)
    tokens = record.prompt + record.answered
    chunk = min(tokens - computed, budget)
    leave_waiting(world, e, gpu, slot)
    append_running(world, e, gpu, slot)
    instance.waiting_tokens -= tokens
    instance.free_blocks -= computed // BLOCK
    take_blocks(instance, blocks_of(chunk))
    change_waiting(world, e, gpu, model, -1)
    change_running(world, e, gpu, model, 1)
    record.status = PREFILLING
    if record.start_s < 0.0:
        record.start_s = seen_s(instance.began)
    if computed + chunk < tokens:
        instance.part, instance.part_computed, instance.part_chunk = slot, computed, chunk
    return int(chunk)


@compiled
def seen_s(at: int) -> float:
    """What the world is told of a moment: the first tick at or after it, in seconds."""
    return float((at + 1023) >> 10) * TICK_S


@compiled
def plan(
    world: World, e: int, gpu: int, tokens: int, answers: int, attention: int, preempted: bool
) -> None:
    """How long the step takes that begins, and how many like it follow."""
    own, tables = world.state.service, world.cluster.service
    instance, pool = own.instances[e, gpu], world.cluster.pool_of[gpu]
    decoding = instance.decoding
    context = instance.context + decoding
    piece = -1
    if decoding > 0:
        piece = piece_of(tables, pool, decoding, context, instance.piece)
        instance.piece = piece
    length = tables.engines[pool].host + linear(tables, pool, decoding, tokens)
    mixed = tokens > decoding
    of_decoding = decode(tables, pool, decoding, context, piece, mixed)
    length += of_decoding + attention + tables.head[pool, answers]
    length += beside(tables, pool, decoding, tokens - decoding)
    instance.first, instance.growth, instance.leap = max(length, 1), 0, 1
    if mixed or preempted:
        return
    base = base_of(world, gpu, FINISHING)
    most = own.heaps[e, base].key - instance.steps
    most = steps_on_line(world, e, gpu, piece, most)
    growth = growth_of(tables, pool, decoding, piece, of_decoding)
    most = min(most, steps_that_grow(growth, of_decoding, length))
    most = min(most, tables.engines[pool].most_leap)
    if most > 1:
        after = instance.steps + 1
        more = affordable(world, e, gpu, after, instance.free_blocks, most - 1)
        instance.leap, instance.growth = 1 + more, growth


@compiled
def steps_on_line(world: World, e: int, gpu: int, piece: int, most: int) -> int:
    """Steps until the attention of those who decode is on another line; at most `most`."""
    tables, pool = world.cluster.service, world.cluster.pool_of[gpu]
    instance = world.state.service.instances[e, gpu]
    if piece + 2 >= tables.engines[pool].decode_knots and piece >= 0:
        return most
    left = instance.decoding * tables.decode_knots[pool, piece + 1] - 1 - instance.context
    if left >= instance.decoding * most:
        return most
    return int(max(left // instance.decoding, 1))


@compiled
def move_on(world: World, e: int, gpu: int) -> None:
    """Take the steps of the leap: everybody who decodes has as many tokens more."""
    own = world.state.service
    instance = own.instances[e, gpu]
    leap = instance.leap
    take_blocks(instance, needed(world, e, gpu, instance.steps + 1, leap - 1))
    instance.context += leap * instance.decoding
    instance.steps += leap
    slot = instance.new
    while slot != NONE and slot != instance.part:
        start_decoding(world, e, gpu, slot)
        slot = slot_at(world, e, gpu, slot).next
    instance.new = NONE
    if instance.part != NONE:
        instance.part_computed += instance.part_chunk
        instance.part_chunk = 0


@compiled
def start_decoding(world: World, e: int, gpu: int, slot: int) -> None:
    """Its prompt is computed, and one token answered."""
    own = world.state.service
    instance, record = own.instances[e, gpu], slot_at(world, e, gpu, slot)
    if record.answered == 0:
        record.first_token_s = seen_s(instance.began + instance.first)
    record.answered += 1
    record.status = DECODING
    record.end = instance.steps + record.output - record.answered
    instance.decoding += 1
    instance.context += computed_of(instance, record)
    own.residues[e, gpu, residue_of(record)] += 1
    push(world, e, gpu, FINISHING, slot, record.end)
