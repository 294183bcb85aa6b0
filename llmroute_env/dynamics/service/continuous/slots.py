"""The slots of an instance: taken and given back, and the lists that they are in.

A slot has a number within its instance. The running list is in order of admission, the queue of
those that wait in order of arrival but for the preempted, who go to its head.
"""

from __future__ import annotations

from typing import Any

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.service.continuous.arrays import FINISHING, NONE, PATIENCE
from llmroute_env.dynamics.service.continuous.heaps import base_of
from llmroute_env.dynamics.world import World


@compiled
def slot_at(world: World, e: int, gpu: int, slot: int) -> Any:
    """The record of a slot."""
    own = world.state.service
    return own.slots[e, gpu * world.cluster.service.engines[0].slots + slot]


@compiled
def take_slot(world: World, e: int, gpu: int) -> int:
    """A free slot, of lowest number if none was given back."""
    own = world.state.service
    instance = own.instances[e, gpu]
    slot = instance.free_slot
    if slot == NONE:
        slot = instance.used_slots
        instance.used_slots += 1
    else:
        instance.free_slot = slot_at(world, e, gpu, slot).next
    for heap in (FINISHING, PATIENCE):
        own.places[e, base_of(world, gpu, heap) + slot] = 0
    return int(slot)


@compiled
def give_back(world: World, e: int, gpu: int, slot: int) -> None:
    """A slot that nobody is in any more."""
    instance = world.state.service.instances[e, gpu]
    slot_at(world, e, gpu, slot).next = instance.free_slot
    instance.free_slot = slot


@compiled
def link(world: World, e: int, gpu: int, before: int, slot: int, after: int) -> None:
    """Put a slot between two neighbours of a list, each NONE at an end of it."""
    record = slot_at(world, e, gpu, slot)
    record.previous, record.next = before, after
    if before != NONE:
        slot_at(world, e, gpu, before).next = slot
    if after != NONE:
        slot_at(world, e, gpu, after).previous = slot


@compiled
def unlink(world: World, e: int, gpu: int, slot: int) -> None:
    """Take a slot out from between its neighbours."""
    record = slot_at(world, e, gpu, slot)
    if record.previous != NONE:
        slot_at(world, e, gpu, record.previous).next = record.next
    if record.next != NONE:
        slot_at(world, e, gpu, record.next).previous = record.previous


@compiled
def append_running(world: World, e: int, gpu: int, slot: int) -> None:
    """The latest of those that run."""
    instance = world.state.service.instances[e, gpu]
    link(world, e, gpu, instance.last_running, slot, NONE)
    if instance.last_running == NONE:
        instance.first_running = slot
    instance.last_running = slot


@compiled
def leave_running(world: World, e: int, gpu: int, slot: int) -> None:
    """It runs no more."""
    instance, record = world.state.service.instances[e, gpu], slot_at(world, e, gpu, slot)
    if instance.first_running == slot:
        instance.first_running = record.next
    if instance.last_running == slot:
        instance.last_running = record.previous
    unlink(world, e, gpu, slot)


@compiled
def append_waiting(world: World, e: int, gpu: int, slot: int) -> None:
    """The last of the queue."""
    instance = world.state.service.instances[e, gpu]
    link(world, e, gpu, instance.last_waiting, slot, NONE)
    if instance.first_waiting == NONE:
        instance.first_waiting = slot
    instance.last_waiting = slot


@compiled
def prepend_waiting(world: World, e: int, gpu: int, slot: int) -> None:
    """The head of the queue."""
    instance = world.state.service.instances[e, gpu]
    link(world, e, gpu, NONE, slot, instance.first_waiting)
    if instance.last_waiting == NONE:
        instance.last_waiting = slot
    instance.first_waiting = slot


@compiled
def leave_waiting(world: World, e: int, gpu: int, slot: int) -> None:
    """It waits no more."""
    instance, record = world.state.service.instances[e, gpu], slot_at(world, e, gpu, slot)
    if instance.first_waiting == slot:
        instance.first_waiting = record.next
    if instance.last_waiting == slot:
        instance.last_waiting = record.previous
    unlink(world, e, gpu, slot)


@compiled
def append_leaving(world: World, e: int, gpu: int, slot: int) -> None:
    """It runs, and leaves when the step ends."""
    instance, record = world.state.service.instances[e, gpu], slot_at(world, e, gpu, slot)
    record.leaving, record.next_leaving = 1, NONE
    if instance.first_leaving == NONE:
        instance.first_leaving = slot
    else:
        slot_at(world, e, gpu, instance.last_leaving).next_leaving = slot
    instance.last_leaving = slot
