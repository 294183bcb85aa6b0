"""What scrapes of an instance find, and what its router adds to that.

A row that routers see has the instance as it is in the step that runs when it is scraped: a leap of
one step, in which `part_chunk` is what the step leaves of the prompt that is part way computed.
"""

from __future__ import annotations

import numpy as np

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.noise import factor, noisy_count
from llmroute_env.dynamics.records import copy_record
from llmroute_env.dynamics.service.continuous.arrays import FINE_BITS
from llmroute_env.dynamics.service.continuous.blocks import needed
from llmroute_env.dynamics.service.continuous.predictions import (
    PER_FINE_S,
    prompt_of_pending,
    steps_done_by,
    tokens_to_compute,
    work_of_pending,
)
from llmroute_env.dynamics.service.continuous.steps import length_of_leap, seen_s
from llmroute_env.dynamics.world import World
from llmroute_env.specs import TICKS_PER_S


@compiled
def show(world: World, source: int, target: int, gpu: int) -> None:
    """Scrape env `source`, or copy what was scraped."""
    own, rules = world.state.service, world.cluster.rules[0]
    copy_record(own.instances[target, gpu], own.instances[source, gpu])
    if source < rules.view_rows:
        at = int(world.state.gpus[target, gpu].scraped_s * TICKS_PER_S)
        scrape(world, source, target, gpu, at)
        if rules.noise > 0.0:
            add_noise(world, source, target, gpu, at)
        if world.state.gpus[target, gpu].running > 0:
            seen = own.instances[target, gpu]
            world.state.gpus[target, gpu].finish_s = seen_s(seen.began + seen.first)


@compiled
def scrape(world: World, e: int, row: int, gpu: int, at: int) -> None:
    """What an instance of env `e` is at tick `at`."""
    s = world.state
    instance, seen = s.service.instances[e, gpu], s.service.instances[row, gpu]
    seen.part_chunk = tokens_to_compute(world, e, gpu) - int(instance.waiting_tokens)
    if s.gpus[e, gpu].running == 0:
        return
    done = steps_done_by(world, e, gpu, at << FINE_BITS)
    seen.context += done * instance.decoding
    seen.free_blocks -= needed(world, e, gpu, instance.steps + 1, done)
    seen.began += length_of_leap(instance.first, instance.growth, done)
    seen.first += instance.growth * done
    seen.leap, seen.growth = 1, 0


@compiled
def add_noise(world: World, e: int, row: int, gpu: int, at: int) -> None:
    """Noise of what the shared records do not hold; those who decode have that of who runs."""
    s, models = world.state, world.cluster.rules[0].models
    seen = s.service.instances[row, gpu]
    engine = world.cluster.service.engines[world.cluster.pool_of[gpu]]
    others = 2 + 2 * models
    if s.gpus[row, gpu].running > 0:
        left = float(seen.began + seen.first - (at << FINE_BITS))
        left = float(np.rint(left * factor(world, e, gpu, at, 0)))
        seen.first = (at << FINE_BITS) + int(left) - seen.began
        if seen.decoding > 0:
            by = factor(world, e, gpu, at, 3 + 2 * s.gpus[e, gpu].model)
            seen.decoding = min(max(noisy_count(seen.decoding, by), 1), engine.most_running)
    seen.context = noisy_count(seen.context, factor(world, e, gpu, at, others))
    tokens = noisy_count(seen.waiting_tokens, factor(world, e, gpu, at, others + 1))
    seen.waiting_tokens = tokens
    seen.part_chunk = noisy_count(seen.part_chunk, factor(world, e, gpu, at, others + 2))
    taken = noisy_count(engine.blocks - seen.free_blocks, factor(world, e, gpu, at, others + 3))
    seen.free_blocks = engine.blocks - min(taken, engine.blocks)


@compiled
def reckon(world: World, e: int, row: int, gpu: int, model: int) -> float:
    """The work that the pending request is predicted to take; its prompt waits."""
    world.state.service.instances[row, gpu].waiting_tokens += prompt_of_pending(world, e)
    return float(work_of_pending(world, e, gpu)) * PER_FINE_S
