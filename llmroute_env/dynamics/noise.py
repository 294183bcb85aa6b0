"""What becomes of a scrape: whether it arrives, and what noise does to it.

Of every env there is a stream of all scrapes, of that one of every GPU, of that one of every
scrape: any of their numbers can be had without those before it.
"""

from __future__ import annotations

import math

import numpy as np

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.streams import bits, normal, share
from llmroute_env.dynamics.world import World
from llmroute_env.specs import TICKS_PER_S

APART = np.uint64(0x5C4A9E5C4A9E5C4B)
"""What the stream of an env differs by from that of its scrapes."""

MOST_COUNTED = 2.0**30
"""As a count comes out of noise."""


@compiled
def first_after(world: World, e: int, gpu: int) -> int:
    """When the first scrape of `gpu` in the episode is due, in ticks."""
    interval = world.cluster.rules[0].scrape_s * TICKS_PER_S
    return int(share(bits(world.state.gpus[e, gpu].stream, 1)) * interval)


@compiled
def of_scrape(world: World, e: int, gpu: int, at: int) -> np.uint64:
    """The stream of what becomes of the scrape of `gpu` at tick `at`, the k-th from 0 on."""
    k = at // int(world.cluster.rules[0].scrape_s * TICKS_PER_S)
    return bits(world.state.gpus[e, gpu].stream, k + 2)


@compiled
def arrives(world: World, e: int, gpu: int, at: int) -> bool:
    """Whether the scrape of `gpu` at tick `at` is not lost."""
    lost = world.cluster.rules[0].lost
    return bool(lost == 0.0 or share(bits(of_scrape(world, e, gpu, at), 1)) >= lost)


@compiled
def factor(world: World, e: int, gpu: int, at: int, what: int) -> float:
    """What noise multiplies quantity number `what` of a scrape by: log-normal, with mean 1."""
    noise = world.cluster.rules[0].noise
    return math.exp(noise * normal(of_scrape(world, e, gpu, at), 2 + 2 * what) - noise * noise / 2)


@compiled
def noisy_count(count: int, by: float) -> int:
    """A count as it comes out of noise."""
    return int(min(np.rint(count * by), MOST_COUNTED))


@compiled
def noisy_until(at_s: float, until_s: float, by: float) -> float:
    """The end of what is left at `at_s`, as it comes out of noise, in whole ticks."""
    return at_s + float(np.rint(max(until_s - at_s, 0.0) * by * TICKS_PER_S)) / TICKS_PER_S
