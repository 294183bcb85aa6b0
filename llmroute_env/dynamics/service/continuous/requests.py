"""Requests of an instance: they come, are answered, or leave because their users have gone."""

from __future__ import annotations

import math

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.records import copy_record
from llmroute_env.dynamics.returns import arrived_s, give_up
from llmroute_env.dynamics.reward import credit
from llmroute_env.dynamics.service.border import expect_event
from llmroute_env.dynamics.service.completions import log_aborted, log_answered
from llmroute_env.dynamics.service.continuous.arrays import (
    FINE_BITS,
    FINISHING,
    NEVER,
    NONE,
    PATIENCE,
    WAITING,
)
from llmroute_env.dynamics.service.continuous.heaps import base_of, push, remove
from llmroute_env.dynamics.service.continuous.predictions import work_of_pending
from llmroute_env.dynamics.service.continuous.slots import (
    append_leaving,
    append_waiting,
    give_back,
    leave_waiting,
    slot_at,
    take_slot,
)
from llmroute_env.dynamics.service.continuous.steps import (
    begin,
    can_admit,
    end_of,
    move_on,
    seen_s,
    steps_to,
    stop_running,
)
from llmroute_env.dynamics.service.counts import change_running, change_waiting
from llmroute_env.dynamics.tournament import EVENT
from llmroute_env.dynamics.world import World
from llmroute_env.specs import TICKS_PER_S


@compiled
def moment(seconds: float) -> int:
    """A moment of the world in fine ticks; NEVER for infinity."""
    return int(seconds * TICKS_PER_S) << FINE_BITS if seconds < 2.0**22 else NEVER


@compiled
def empty(world: World, e: int) -> None:
    """Nobody is at any instance."""
    for gpu in range(world.cluster.rules[0].gpus):
        empty_gpu(world, e, gpu)


@compiled
def empty_gpu(world: World, e: int, gpu: int) -> None:
    """Nobody is at one instance."""
    own = world.state.service
    instance = own.instances[e, gpu]
    instance.steps, instance.context, instance.work = 0, 0, 0
    instance.leap, instance.waiting_tokens, instance.decoding = 1, 0, 0
    instance.taken_blocks, instance.piece = 0, NONE
    instance.free_blocks = world.cluster.service.engines[world.cluster.pool_of[gpu]].blocks
    instance.part, instance.new, instance.part_chunk = NONE, NONE, 0
    instance.first_running, instance.last_running = NONE, NONE
    instance.first_waiting, instance.last_waiting = NONE, NONE
    instance.first_leaving, instance.free_slot, instance.used_slots = NONE, NONE, 0
    own.sizes[e, gpu, FINISHING], own.sizes[e, gpu, PATIENCE] = 0, 0
    for residue in range(own.residues.shape[2]):
        own.residues[e, gpu, residue] = 0


@compiled
def evict(world: World, e: int, gpu: int, at_s: float) -> None:
    """Give up all that run and wait: what was computed of them is gone."""
    instance, model = world.state.service.instances[e, gpu], world.state.gpus[e, gpu].model
    for first in (instance.first_running, instance.first_waiting):
        slot = first
        while slot != NONE:
            record = slot_at(world, e, gpu, slot)
            give_up(world, e, gpu, model, record.number, at_s)
            slot = record.next
    empty_gpu(world, e, gpu)


@compiled
def admit(world: World, e: int, gpu: int, model: int) -> bool:
    """Let the pending request join the queue of an instance; False if that cannot be."""
    cluster, s = world.cluster, world.state
    env = s.envs[e]
    limit = cluster.service.engines[cluster.pool_of[gpu]].length_limit
    full = s.gpus[e, gpu].waiting >= cluster.rules[0].queue_capacity
    if full or world.tape.prompt_tokens[env.first + env.request] >= limit:
        return False
    now = moment(env.now_s)
    join(world, e, gpu, model, now)
    if s.gpus[e, gpu].running == 0:
        env.busy_gpus += 1
        s.gpus[e, gpu].model, s.gpus[e, gpu].start_s = model, env.now_s
        begin(world, e, gpu, model, now)
    elif s.gpus[e, gpu].waiting == 1:
        # Whoever comes at the very end of a step is not part of the next.
        interrupt(world, e, gpu, now + 1)
    tell_work(world, e, gpu, env.now_s)
    publish(world, e, gpu)
    return True


@compiled
def join(world: World, e: int, gpu: int, model: int, now: int) -> None:
    """The pending request waits at an instance."""
    cluster, tape, env = world.cluster, world.tape, world.state.envs[e]
    instance = world.state.service.instances[e, gpu]
    slot, number = take_slot(world, e, gpu), env.first + env.request
    record = slot_at(world, e, gpu, slot)
    record.arrival_s, record.deadline_s, record.number = (
        arrived_s(world, e),
        env.deadline_s,
        env.request,
    )
    record.task, record.user_class = env.task, env.user_class
    record.start_s, record.first_token_s = -1.0, 0.0
    record.prompt = tape.prompt_tokens[number]
    limit = cluster.service.engines[cluster.pool_of[gpu]].length_limit
    record.output = min(tape.output_tokens[number], limit - record.prompt)
    record.answered, record.preemptions, record.full_blocks, record.leaving = 0, 0, 0, 0
    record.status = WAITING
    record.work = work_of_pending(world, e, gpu)
    patience_s = cluster.terms[env.user_class, env.task].patience_s
    record.gone = NEVER
    if patience_s < math.inf:
        # Of who comes back late it may be over.
        record.gone = max(moment(record.arrival_s + patience_s), now)
        push(world, e, gpu, PATIENCE, slot, record.gone)
    append_waiting(world, e, gpu, slot)
    instance.waiting_tokens += record.prompt
    instance.work += record.work
    change_waiting(world, e, gpu, model, 1)


@compiled
def interrupt(world: World, e: int, gpu: int, at: int) -> None:
    """If the head of the queue can be admitted, end the leap with the first step that ends by `at`.

    That is at or after it.
    """
    instance = world.state.service.instances[e, gpu]
    if instance.leap > 1 and can_admit(world, e, gpu):
        instance.leap = steps_to(world, e, gpu, at)


@compiled
def tell_work(world: World, e: int, gpu: int, at_s: float) -> None:
    """Somebody has come or gone: tell everybody how much work is here."""
    s = world.state
    s.gpus[e, gpu].drain_s = at_s + float(s.service.instances[e, gpu].work) * 2.0**-40


@compiled
def publish(world: World, e: int, gpu: int) -> None:
    """Tell everybody when the leap ends, and ask to be called then."""
    record = world.state.gpus[e, gpu]
    if record.running == 0:
        record.finish_s = math.inf
        expect_event(world, e, gpu, math.inf)
        return
    record.finish_s = seen_s(end_of(world, e, gpu))
    gone = next_gone(world, e, gpu)
    expect_event(world, e, gpu, min(record.finish_s, seen_s(gone) if gone < NEVER else math.inf))


@compiled
def next_gone(world: World, e: int, gpu: int) -> int:
    """When the next patience ends of those who wait or run."""
    own = world.state.service
    if own.sizes[e, gpu, PATIENCE] == 0:
        return NEVER
    return int(own.heaps[e, base_of(world, gpu, PATIENCE)].key)


@compiled
def handle_event(world: World, e: int, gpu: int) -> None:
    """Do what is due on an instance: steps end, users go."""
    s = world.state
    at_s = s.contests[e, EVENT, gpu].key
    model, now = s.gpus[e, gpu].model, moment(at_s)
    held = s.gpus[e, gpu].running + s.gpus[e, gpu].waiting
    while s.gpus[e, gpu].running > 0:
        end, gone = end_of(world, e, gpu), next_gone(world, e, gpu)
        if min(end, gone) > now:
            break
        if end <= gone:
            end_leap(world, e, gpu, model, end)
        else:
            lose_patience(world, e, gpu, model, gone)
    if s.gpus[e, gpu].running == 0:
        s.gpus[e, gpu].model = -1
        s.envs[e].busy_gpus -= 1
    # Leaps end also where nobody leaves: no router may tell one from another by that.
    if s.gpus[e, gpu].running + s.gpus[e, gpu].waiting < held:
        tell_work(world, e, gpu, at_s)
    publish(world, e, gpu)


@compiled
def end_leap(world: World, e: int, gpu: int, model: int, at: int) -> None:
    """The steps of the leap are done: who is answered leaves, and the next step begins."""
    s = world.state
    own = s.service
    instance = own.instances[e, gpu]
    move_on(world, e, gpu)
    top = base_of(world, gpu, FINISHING)
    while own.sizes[e, gpu, FINISHING] > 0 and own.heaps[e, top].key == instance.steps:
        slot = own.heaps[e, top].slot
        if slot_at(world, e, gpu, slot).leaving:
            # Its last token comes too late: it leaves with the impatient.
            remove(world, e, gpu, FINISHING, slot)
        else:
            finish(world, e, gpu, model, slot, at)
    while instance.first_leaving != NONE:
        slot = instance.first_leaving
        instance.first_leaving = slot_at(world, e, gpu, slot).next_leaving
        abort(world, e, gpu, model, slot, at)
    while next_gone(world, e, gpu) <= at:
        abort(world, e, gpu, model, own.heaps[e, base_of(world, gpu, PATIENCE)].slot, at)
    if s.gpus[e, gpu].running + s.gpus[e, gpu].waiting > 0:
        begin(world, e, gpu, model, at)


@compiled
def finish(world: World, e: int, gpu: int, model: int, slot: int, at: int) -> None:
    """A request has its last token."""
    record, finish_s = slot_at(world, e, gpu, slot), seen_s(at)
    terms = world.cluster.terms[record.user_class, record.task]
    late_s = finish_s - record.arrival_s - record.deadline_s
    late_s = max(late_s, record.first_token_s - record.arrival_s - terms.ttft_s)
    if record.output > 1:
        pace_s = (record.output - 1) * terms.tpot_s
        late_s = max(late_s, finish_s - record.first_token_s - pace_s)
    outcome, utility = credit(world, e, record, model, late_s)
    stop_running(world, e, gpu, slot)
    log_answered(world, e, gpu, model, record, outcome, utility, finish_s)
    change_running(world, e, gpu, model, -1)
    forget(world, e, gpu, slot)


@compiled
def abort(world: World, e: int, gpu: int, model: int, slot: int, at: int) -> None:
    """A request leaves because its user has gone."""
    record, instance = slot_at(world, e, gpu, slot), world.state.service.instances[e, gpu]
    if record.status == WAITING:
        instance.waiting_tokens -= record.prompt + record.answered
        leave_waiting(world, e, gpu, slot)
        change_waiting(world, e, gpu, model, -1)
    else:
        stop_running(world, e, gpu, slot)
        change_running(world, e, gpu, model, -1)
    world.state.envs[e].aborted += 1
    log_aborted(world, e, gpu, model, record, seen_s(at))
    forget(world, e, gpu, slot)


@compiled
def forget(world: World, e: int, gpu: int, slot: int) -> None:
    """Nobody is in the slot any more."""
    remove(world, e, gpu, PATIENCE, slot)
    world.state.service.instances[e, gpu].work -= slot_at(world, e, gpu, slot).work
    give_back(world, e, gpu, slot)


@compiled
def lose_patience(world: World, e: int, gpu: int, model: int, at: int) -> None:
    """A user goes within a step: who waits leaves now, who runs when the step ends."""
    own = world.state.service
    slot = own.heaps[e, base_of(world, gpu, PATIENCE)].slot
    instance, record = own.instances[e, gpu], slot_at(world, e, gpu, slot)
    if record.status != WAITING:
        remove(world, e, gpu, PATIENCE, slot)
        append_leaving(world, e, gpu, slot)
        if instance.leap > 1:
            instance.leap = steps_to(world, e, gpu, at)
        return
    was_head = instance.first_waiting == slot
    abort(world, e, gpu, model, slot, at)
    if was_head:
        interrupt(world, e, gpu, at)


@compiled
def copy_requests(world: World, source: int, target: int) -> None:
    """Copy all instances of one env to another; of the slots only those in use."""
    own = world.state.service
    width = world.cluster.service.engines[0].slots
    for gpu in range(world.cluster.rules[0].gpus):
        copy_record(own.instances[target, gpu], own.instances[source, gpu])
        for residue in range(own.residues.shape[2]):
            own.residues[target, gpu, residue] = own.residues[source, gpu, residue]
        for k in range(own.instances[source, gpu].used_slots):
            place = gpu * width + k
            copy_record(own.slots[target, place], own.slots[source, place])
        for heap in (FINISHING, PATIENCE):
            base = base_of(world, gpu, heap)
            own.sizes[target, gpu, heap] = own.sizes[source, gpu, heap]
            for k in range(own.sizes[source, gpu, heap]):
                copy_record(own.heaps[target, base + k], own.heaps[source, base + k])
            for k in range(own.instances[source, gpu].used_slots):
                own.places[target, base + k] = own.places[source, base + k]
