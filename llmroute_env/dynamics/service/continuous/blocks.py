"""The blocks of the KV cache that those who decode need: counted, never walked.

Each fills a block at every 16th step. Who does so at the same steps is counted together, as a
residue, so that what many steps need is known without looking at anybody.
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
    rounds = free // decoding
    count = rounds * BLOCK
    if count >= most:
        return most
    free -= rounds * decoding
    while count < most:
        free -= due(world, e, gpu, steps + count)
        if free < 0:
            break
        count += 1
    return int(count)
