"""The queues' requests in memory: append, remove the first, close a gap.

A queue holds its running batch and then those that wait, in order of arrival, in a ring of slots.
A ring grows when it is full, so that memory in use follows the longest queue and not what queues
could hold. The rings of an env are interleaved in blocks: its short queues lie side by side, and
a batch is read from few cache lines. Nearly all time of a step with many envs goes into cache
misses, so this decides how fast it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.records import copy_record
from llmroute_env.dynamics.state import Records, State
from llmroute_env.dynamics.world import World

REQUEST = np.dtype(
    [
        ("arrival_s", "f8"),
        ("deadline_s", "f8"),
        ("number", "i4"),  # its number in the episode
        ("task", "i2"),
        ("user_class", "i2"),
    ],
    align=True,
)


class Rings(NamedTuple):
    """Where the requests of all queues are; memory of a slot is committed when it is first used."""

    requests: Records  # (E, R) REQUEST, as many as the longest rings of all queues need


BLOCK_BITS = 3
BLOCK = 1 << BLOCK_BITS
"""Requests of a queue that lie side by side: three cache lines."""


def ring_slots(queue_capacity: int, largest_batch: int) -> int:
    """Slots of the longest ring that a queue can need, in whole blocks."""
    return -(-(queue_capacity + largest_batch) // BLOCK) * BLOCK


def used_slots(s: State) -> int:
    """Slots of an env that its longest ring has reached: a snapshot needs no more of them."""
    _, gpus, models = s.queues.shape
    blocks = -(-int(s.queues["room"].max()) // BLOCK)
    return blocks * BLOCK * int(gpus * models)


@compiled
def slot_of(world: World, e: int, gpu: int, model: int, k: int) -> int:
    """The slot of request `k` of the queue, counted from the first of its running batch."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    queue = s.queues[e, gpu, model]
    place = queue.first + k
    if place >= queue.room:
        place -= queue.room
    return slot_at(place, gpu * rules.models + model, rules.gpus * rules.models)


@compiled
def slot_at(place: int, number: int, queues: int) -> int:
    """The slot at `place` of the ring of queue `number` of so many: for loops over a queue."""
    block = (place >> BLOCK_BITS) * queues + number
    return int((block << BLOCK_BITS) + (place & (BLOCK - 1)))


def waiting_slots(s: State, e: int, gpu: int, model: int, most: int) -> NDArray[np.int64]:
    """The slots of the first requests that wait, at most so many; shape (W,)."""
    _, gpus, models = s.queues.shape
    queue = s.queues[e, gpu, model]
    count = min(int(queue["waiting"]), most)
    places = (int(queue["first"]) + int(queue["running"]) + np.arange(count)) % int(queue["room"])
    blocks = (places >> BLOCK_BITS) * gpus * models + gpu * models + model
    slots: NDArray[np.int64] = (blocks << BLOCK_BITS) + (places & (BLOCK - 1))
    return slots


@compiled
def append_slot(world: World, e: int, gpu: int, model: int) -> int:
    """The slot after the last request of the queue, free to be written."""
    s = world.state
    queue = s.queues[e, gpu, model]
    held = queue.running + queue.waiting
    if held == queue.room:
        grow(world, e, gpu, model)
    return slot_of(world, e, gpu, model, held)


@compiled
def grow(world: World, e: int, gpu: int, model: int) -> None:
    """Double the room of a full ring: the requests up to its old end move to the new one."""
    cluster, s = world.cluster, world.state
    queue = s.queues[e, gpu, model]
    old = queue.room
    queues = cluster.rules[0].gpus * cluster.rules[0].models
    # Never beyond the slots that are there: ring_slots made room for the most that can be held.
    added = min(max(old, BLOCK), s.service.requests.shape[1] // queues - old)
    first = queue.first
    # `first` is 0 while slots are moved, so that slot_of counts places and does not wrap.
    queue.first, queue.room = 0, old + added
    if first == 0:
        # The queue lies in order from the ring's start: the new room follows its end as it is.
        return
    # What lies from `first` to the old end moves to the new end, so that the ring stays one run of
    # places. Backwards: source and target overlap where the ring grows by less than they are long.
    for place in range(old - 1, first - 1, -1):
        source = slot_of(world, e, gpu, model, place)
        target = slot_of(world, e, gpu, model, place + added)
        copy_record(s.service.requests[e, target], s.service.requests[e, source])
    queue.first = first + added


@compiled
def drop_first(world: World, e: int, gpu: int, model: int, count: int) -> None:
    """Forget the first `count` requests of the queue."""
    s = world.state
    queue = s.queues[e, gpu, model]
    queue.first += count
    if queue.first >= queue.room:
        queue.first -= queue.room


@compiled
def drop(world: World, e: int, gpu: int, model: int, k: int) -> None:
    """Forget request `k` of the queue: those before it move up by one."""
    s = world.state
    # From the front: before the gap are at most those chosen for a batch, behind it may be many.
    for later in range(k, 0, -1):
        target = slot_of(world, e, gpu, model, later)
        source = slot_of(world, e, gpu, model, later - 1)
        copy_record(s.service.requests[e, target], s.service.requests[e, source])
    drop_first(world, e, gpu, model, 1)
