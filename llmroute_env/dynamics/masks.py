"""Which actions can be taken, where that changes: machines fail, or a request is put off."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.actions import NOBODY, gpu_of, model_of, routes
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.dispatch import next_host, seems_up
from llmroute_env.dynamics.returns import may_defer
from llmroute_env.dynamics.world import World


@compiled
def mask_envs(world: World, masks: NDArray[np.bool_]) -> None:
    """Leave in `masks`, shape (E, actions), which hold what is hosted, what can be taken."""
    for e in range(len(masks)):
        mask_env(world, e, masks[e])


@compiled
def mask_env(world: World, e: int, mask: NDArray[np.bool_]) -> None:
    """Leave what leads to a GPU that is believed to be up, if anything does."""
    routing = routes(world.cluster)
    open_routes = 0
    for action in range(routing):
        open_routes += mask[action] and is_open(world, e, action)
    for action in range(routing):
        if open_routes > 0 and not is_open(world, e, action):
            mask[action] = False
    if world.cluster.rules[0].defer_s > 0.0:
        mask[len(mask) - 1] = may_defer(world, e)


@compiled
def is_open(world: World, e: int, action: int) -> bool:
    """Whether an action that routes leads to a GPU that is believed to be up."""
    gpu, model = gpu_of(world.cluster, action), model_of(world.cluster, action)
    if gpu == NOBODY:
        return next_host(world, e, 0, model) >= 0
    return seems_up(world, e, gpu)
