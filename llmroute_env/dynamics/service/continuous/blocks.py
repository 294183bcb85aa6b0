"""The blocks of the KV cache that those who decode need: counted, never walked.

Each fills a block at every 16th step. Who does so at the same steps is counted together, as a
residue, so that what many steps need is known without looking at anybody.

Free blocks stand in a queue, of which only is known how many there are and how many were ever taken
from its head: the block at place p, counted from the first that ever stood there, is still free if
p is no less. What leaves the queue elsewhere are blocks that a preempted request finds again. They
stand behind those of every other that was preempted and waits, as the last one preempted is the
first admitted and blocks join at the tail; so nobody's places change whom they matter to. Whoever
waits and is aborted leaves its blocks where they stand, and nobody asks for them again.
"""

from __future__ import annotations

from typing import Any

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.service.continuous.arrays import BLOCK
from llmroute_env.dynamics.world import World


@compiled
def blocks_of(tokens: int) -> int:
    """Blocks that hold so many tokens."""
    return (tokens + BLOCK - 1) // BLOCK


@compiled
def take_blocks(instance: Any, count: int) -> None:
    """Take so many free blocks, from the head of the queue."""
    instance.free_blocks -= count
    instance.taken_blocks += count


@compiled
def found_blocks(instance: Any, slot: Any) -> int:
    """Blocks of one who waits, from its first on, that nobody has taken since it was preempted."""
    # The last of its blocks came first into the queue, so that block j stands at `place` - j.
    return int(min(slot.full_blocks, max(slot.place - instance.taken_blocks + 1, 0)))


@compiled
def computed_of(instance: Any, slot: Any) -> int:
    """Computed tokens of one who decodes, after the steps that the instance has taken."""
    return int(slot.prompt + slot.output - 1 - (slot.end - instance.steps))


@compiled
def residue_of(slot: Any) -> int:
    """The steps at which one who decodes begins a block: `steps + residue` is a multiple of 16."""
    return int((slot.prompt + slot.output - 1 - slot.end) % BLOCK)


@compiled
def due(world: World, e: int, gpu: int, steps: int) -> int:
    """How many begin a block in the step after so many."""
    return int(world.state.service.residues[e, gpu, (-steps) % BLOCK])


@compiled
def needed(world: World, e: int, gpu: int, steps: int, count: int) -> int:
    """Blocks that `count` steps need, after so many."""
    blocks = (count // BLOCK) * world.state.service.instances[e, gpu].decoding
    for step in range(steps, steps + count % BLOCK):
        blocks += due(world, e, gpu, step)
    return int(blocks)


@compiled
def affordable(world: World, e: int, gpu: int, steps: int, free: int, most: int) -> int:
    """How many steps, after so many, can be taken with the free blocks; at most `most`."""
    decoding = world.state.service.instances[e, gpu].decoding
    if free >= blocks_of(most) * decoding:
        return most
    rounds = free // decoding
    count = rounds * BLOCK
    free -= rounds * decoding
    while count < most:
        free -= due(world, e, gpu, steps + count)
        if free < 0:
            break
        count += 1
    return int(count)
