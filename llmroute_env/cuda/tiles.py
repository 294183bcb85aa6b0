"""What a thread is given: its own tile of every array, in which the number of its env is its lane.

The dynamics are told of an env by its number in arrays of envs. A tile is such arrays, of a warp.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.extending import overload

from llmroute_env.cuda.layout import WARP
from llmroute_env.dynamics.compiled import CHOSEN, compiled
from llmroute_env.dynamics.state import Log
from llmroute_env.dynamics.stepping import Outputs
from llmroute_env.dynamics.world import World


def of_tile(arrays: Any, tile: int) -> Any:
    """The same NamedTuple of arrays, of NamedTuples too, each of one tile."""
    found = [of_tile(a, tile) if isinstance(a, tuple) else a[tile] for a in arrays]
    return type(arrays)(*found)


def _of_tile(arrays: Any, tile: Any) -> Callable[..., Any]:
    parts = [
        f"of_tile(a.{name}, tile)" if isinstance(part, types.BaseTuple) else f"a.{name}[tile]"
        for name, part in zip(arrays.fields, arrays.types, strict=True)
    ]
    # Numba knows no loop over a tuple of arrays that differ.
    source = f"lambda a, tile: Found({', '.join(parts)})"
    found: Callable[..., Any] = eval(source, {"Found": arrays.instance_class, "of_tile": of_tile})
    return found


overload(of_tile, jit_options=CHOSEN, strict=False)(_of_tile)


@compiled
def lane_of(thread: int) -> int:
    """The number of a thread's env in its tile."""
    return thread % WARP


@compiled
def world_of(world: World, thread: int) -> World:
    """The world that a thread's env is in: of the log what is its alone."""
    tile, lane = thread // WARP, thread % WARP
    log = world.log
    own = Log(
        log.records[tile, lane],
        log.used[tile, lane],
        log.tokens[tile, lane],
        log.origins[tile, lane],
    )
    return World(world.cluster, world.tape, of_tile(world.state, tile), own)


@compiled
def outputs_of(out: Outputs, thread: int) -> Outputs:
    """Where the envs of a thread's tile report."""
    found: Outputs = of_tile(out, thread // WARP)
    return found
