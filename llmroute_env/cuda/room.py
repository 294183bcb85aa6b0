"""How many decisions an env can take before a ring of requests might be too short for it.

On a CPU rings are as long as they can ever have to be, and what is never touched costs nothing. On
a device memory is taken when it is asked for: rings begin short, whoever might need a longer one
stops before anything has changed, and goes on once all are twice as long (simulation.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.extending import overload

from llmroute_env.dynamics.compiled import CHOSEN, compiled
from llmroute_env.dynamics.service.queues import Rings
from llmroute_env.dynamics.world import World

UNLIMITED = 2**62


@compiled
def shortest_rest(world: World, e: int) -> int:
    """Slots that the fullest queue of env `e` has left: a decision adds one request at most."""
    rules, s = world.cluster.rules[0], world.state
    slots = s.service.requests.shape[1] // (rules.gpus * rules.models)
    held = s.envs[e].waiting + s.envs[e].running
    if held < slots:
        return int(slots - held)
    most = 0
    for gpu in range(rules.gpus):
        for model in range(rules.models):
            queue = s.queues[e, gpu, model]
            most = max(most, queue.running + queue.waiting)
    return int(slots - most)


@compiled
def no_limit(world: World, e: int) -> int:
    """There is room for all that can be."""
    return UNLIMITED


def decisions_that_fit(world: World, e: int) -> int:
    """Decisions that env `e` can take whatever they are."""
    chosen = shortest_rest if isinstance(world.state.service, Rings) else no_limit
    return chosen(world, e)


def _decisions_that_fit(world: Any, e: Any) -> Callable[..., Any]:
    state = world.types[world.fields.index("state")]
    own = state.types[state.fields.index("service")]
    chosen = shortest_rest if own.instance_class is Rings else no_limit

    def found(world: World, e: int) -> int:
        return chosen(world, e)

    return found


overload(decisions_that_fit, jit_options=CHOSEN, strict=False)(_decisions_that_fit)
