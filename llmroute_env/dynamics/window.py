"""The window of the tape that an episode replays: when its requests arrive."""

from __future__ import annotations

import math

import numpy as np

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.world import World
from llmroute_env.specs import TICKS_PER_S


@compiled
def arrival_s(world: World, e: int, number: int) -> float:
    """Arrival time of request `number`, seconds since the window began, in whole ticks."""
    tape, s = world.tape, world.state
    env = s.envs[e]
    since_start_s = (tape.arrival_s[env.first + number] - env.tape_start_s) * env.stretch
    return float(np.rint(since_start_s * TICKS_PER_S)) / TICKS_PER_S


@compiled
def next_arrival_s(world: World, e: int) -> float:
    """When the next request arrives; inf if none does."""
    env = world.state.envs[e]
    none = env.first + env.arrived >= env.end
    return math.inf if none else arrival_s(world, e, env.arrived)
