"""The world: everything that the compiled dynamics read and change, as one thing to pass on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from numba.extending import overload

from llmroute_env.dynamics.cluster import Cluster, Tape
from llmroute_env.dynamics.compiled import CHOSEN, chosen
from llmroute_env.dynamics.state import Log, State


class World(NamedTuple):
    """E envs on one cluster and one tape; `env e of a world` is what a compiled function moves."""

    cluster: Cluster  # read-only tables
    tape: Tape  # all arrivals of the workload
    state: State  # everything that changes
    log: Log  # where completions go


Function = TypeVar("Function", bound=Callable[..., Any])


def is_uncertain(gpu: Any) -> bool:
    """Whether in a world whose GPUs are of this record type signals are late or machines fail.

    The dynamics are compiled for two kinds of worlds. In the others nothing of this is asked.
    """
    return "is_up" in gpu.fields


def if_exact(exact: Callable[..., Any]) -> Callable[[Function], Function]:
    """Decorate what is done where signals are late; where they are exact, `exact` is.

    Both are plain functions of a world, of which compiled callers contain only one where all worlds
    have exact signals.
    """

    def decorate(late: Function) -> Function:
        either_late, either_exact = chosen(late), chosen(exact)

        def either(world: World, *arguments: Any) -> Any:
            if world.cluster.rules[0].view_rows > 0:
                return either_late(world, *arguments)
            return either_exact(world, *arguments)

        return by_kind(exact, either)  # type: ignore[return-value]

    return decorate


def if_nothing_fails(steady: Callable[..., Any]) -> Callable[[Function], Function]:
    """Decorate what is done where machines may fail; where they cannot, `steady` is.

    What is decorated does as `steady` where there are no machines that fail.
    """

    def decorate(failing: Function) -> Function:
        return by_kind(steady, failing)

    return decorate


def by_kind(usual: Callable[..., Any], uncertain: Function) -> Function:
    """A function that is `uncertain` where the world is, else `usual`: compiled as one of them."""

    def ask(world: World, *arguments: Any) -> Any:
        return (uncertain if is_uncertain(world.state.gpus.dtype) else usual)(world, *arguments)

    def answer(world: Any, *arguments: Any) -> Any:
        state = world.types[world.fields.index("state")]
        return uncertain if is_uncertain(state.types[state.fields.index("gpus")].dtype) else usual

    overload(ask, jit_options=CHOSEN, strict=False)(answer)
    asked: Function = ask  # type: ignore[assignment]
    return asked


def own_row(world: World, e: int) -> int:
    """What is, is seen."""
    return e


@if_exact(own_row)
def view_of(world: World, e: int) -> int:
    """The row of `gpus`, `queues` and `models` that routers of env `e` see: of what GPUs tell."""
    return int(e + world.cluster.rules[0].view_rows)
