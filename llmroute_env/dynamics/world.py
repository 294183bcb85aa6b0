"""The world: everything that the compiled dynamics read and change, as one thing to pass on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from numba.extending import overload

from llmroute_env.dynamics.cluster import Cluster, Tape
from llmroute_env.dynamics.compiled import CHOSEN
from llmroute_env.dynamics.state import Log, State


class World(NamedTuple):
    """E envs on one cluster and one tape; `env e of a world` is what a compiled function moves."""

    cluster: Cluster  # read-only tables
    tape: Tape  # all arrivals of the workload
    state: State  # everything that changes
    log: Log  # where completions go


Function = TypeVar("Function", bound=Callable[..., Any])


def are_late(gpu: Any) -> bool:
    """Whether a world whose GPUs are of this record type has signals that are late."""
    return "scraped_s" in gpu.fields


def can_fail(gpu: Any) -> bool:
    """Whether a world whose GPUs are of this record type has machines that fail."""
    return "is_up" in gpu.fields


def if_exact(exact: Callable[..., Any]) -> Callable[[Function], Function]:
    """Decorate what is done where signals are late; where they are exact, `exact` is."""
    return unless(are_late, exact)


def if_nothing_fails(steady: Callable[..., Any]) -> Callable[[Function], Function]:
    """Decorate what is done where machines fail; where none can, `steady` is."""
    return unless(can_fail, steady)


def unless(
    is_so: Callable[[Any], bool], usual: Callable[..., Any]
) -> Callable[[Function], Function]:
    """Decorate what is done where `is_so` of the record type of the GPUs, `usual` elsewhere.

    Both are plain functions of a world, of which compiled callers contain only one.
    """

    def decorate(special: Function) -> Function:
        def ask(world: World, *arguments: Any) -> Any:
            return (special if is_so(world.state.gpus.dtype) else usual)(world, *arguments)

        def answer(world: Any, *arguments: Any) -> Any:
            state = world.types[world.fields.index("state")]
            return special if is_so(state.types[state.fields.index("gpus")].dtype) else usual

        overload(ask, jit_options=CHOSEN, strict=False)(answer)
        chosen: Function = ask  # type: ignore[assignment]
        return chosen

    return decorate


def own_row(world: World, e: int) -> int:
    """What is, is seen."""
    return e


@if_exact(own_row)
def view_of(world: World, e: int) -> int:
    """The row of `gpus`, `queues` and `models` that routers of env `e` see: of what GPUs tell."""
    return int(e + world.cluster.rules[0].view_rows)
