"""SplitMix64 (Steele et al. 2014): a stream is a state of 64 bits, and may be read anywhere."""

from __future__ import annotations

import math

import numpy as np

from llmroute_env.dynamics.compiled import compiled

GAMMA = np.uint64(0x9E3779B97F4A7C15)
"""What every number adds to the state."""


@compiled
def mixed(state: np.uint64) -> np.uint64:
    """64 bits from a state."""
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def bits(stream: np.uint64, k: int) -> np.uint64:
    """The 64 bits of number k, from 1 on: the state of a stream of its own."""
    return mixed(stream + np.uint64(k) * GAMMA)


@compiled
def share(found: np.uint64) -> float:
    """The number in [0, 1) that 64 bits stand for."""
    return float(found >> np.uint64(11)) * 2.0**-53


@compiled
def normal(stream: np.uint64, k: int) -> float:
    """A number of the standard normal distribution, from two of the stream, k and k + 1."""
    radius = math.sqrt(-2.0 * math.log(1.0 - share(bits(stream, k))))
    return radius * math.cos(2.0 * math.pi * share(bits(stream, k + 1)))
