"""The two heaps of an instance: the least (key, number) first, and who leaves from anywhere."""

from __future__ import annotations

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.world import World


@compiled
def base_of(world: World, gpu: int, heap: int) -> int:
    """Where the heap of an instance begins among the entries of its env."""
    return int((2 * gpu + heap) * world.cluster.service.engines[0].slots)


@compiled
def is_before(world: World, e: int, base: int, i: int, j: int) -> bool:
    """Whether entry i of a heap goes before entry j."""
    entries = world.state.service.heaps
    a, b = entries[e, base + i], entries[e, base + j]
    return bool(a.key < b.key or (a.key == b.key and a.number < b.number))


@compiled
def swap(world: World, e: int, base: int, i: int, j: int) -> None:
    """Exchange two entries."""
    own = world.state.service
    a, b = own.heaps[e, base + i], own.heaps[e, base + j]
    key, number, slot = a.key, a.number, a.slot
    a.key, a.number, a.slot = b.key, b.number, b.slot
    b.key, b.number, b.slot = key, number, slot
    own.places[e, base + a.slot], own.places[e, base + b.slot] = i + 1, j + 1


@compiled
def rise(world: World, e: int, base: int, i: int) -> None:
    """Move entry i up to where it belongs."""
    while i > 0 and is_before(world, e, base, i, (i - 1) // 2):
        swap(world, e, base, i, (i - 1) // 2)
        i = (i - 1) // 2


@compiled
def sink(world: World, e: int, base: int, i: int, size: int) -> None:
    """Move entry i down to where it belongs."""
    while 2 * i + 1 < size:
        least = 2 * i + 1
        if least + 1 < size and is_before(world, e, base, least + 1, least):
            least += 1
        if not is_before(world, e, base, least, i):
            return
        swap(world, e, base, i, least)
        i = least


@compiled
def push(world: World, e: int, gpu: int, heap: int, slot: int, key: int) -> None:
    """Add a slot (of the instance, from 0 on) under a key."""
    own, base = world.state.service, base_of(world, gpu, heap)
    size = own.sizes[e, gpu, heap]
    entry = own.heaps[e, base + size]
    first = gpu * world.cluster.service.engines[0].slots
    entry.key, entry.slot = key, slot
    entry.number = own.slots[e, first + slot].number
    own.places[e, base + slot] = size + 1
    own.sizes[e, gpu, heap] = size + 1
    rise(world, e, base, size)


@compiled
def remove(world: World, e: int, gpu: int, heap: int, slot: int) -> None:
    """Take a slot out, if it is in."""
    own, base = world.state.service, base_of(world, gpu, heap)
    i = own.places[e, base + slot] - 1
    if i < 0:
        return
    last = own.sizes[e, gpu, heap] - 1
    if i != last:
        swap(world, e, base, i, last)
    own.places[e, base + slot] = 0
    own.sizes[e, gpu, heap] = last
    if i != last:
        sink(world, e, base, i, last)
        rise(world, e, base, i)
