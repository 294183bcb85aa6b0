"""The border of a service model: what the rest of the dynamics asks it, and nothing else.

A service model is a NamedTuple of read-only tables, `cluster.service`, whose static methods answer
the questions below. `state.service` holds what it alone changes. What everybody may know of it, it
publishes in the records of the state: what waits and what runs (counts.py), when a GPU is done with
what runs and when with all it holds (`GPU.finish_s`, `GPU.drain_s`), the work that one more request
would add (`QUEUE.added_s`), and through `expect_event` when it is to be asked again. Routers may
see all this later than it was so (scrapes.py): they are answered from the rows of `view_of`.

The class is known when a caller is compiled, so a question costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

from numba.extending import overload

from llmroute_env.dynamics.compiled import CHOSEN, compiled
from llmroute_env.dynamics.state import Records, State
from llmroute_env.dynamics.tournament import EVENT, set_key
from llmroute_env.dynamics.world import World

Question = TypeVar("Question", bound=Callable[..., Any])

Due = tuple[float, float]
Outlook = tuple[float, float, float, float]
"""What `tightest` and `prospect` find."""


class ServiceModel(Protocol):
    """What a service model has to be, beside a NamedTuple of its tables; `config` is an EnvConfig.

    Its static methods `empty`, `admit`, `handle_event`, `evict`, `copy_requests`, `added_work_s`,
    `remaining_s`, `tightest`, `prospect`, `show` and `reckon`, made by `compiled`, answer the
    questions of these names; of the last six there are answers from what is published
    (published.py).
    """

    reads_lengths: bool
    """Whether requests have prompts and answers of so many tokens."""

    @staticmethod
    def check(config: Any) -> None:
        """Raise a ConfigError unless every pool can host its models."""
        ...

    @staticmethod
    def batch_limit(config: Any, model: Any, pool: Any) -> int:
        """The most requests of a model that run at once on a GPU of a pool that hosts it."""
        ...

    @staticmethod
    def sustained_per_s(config: Any, model: Any) -> float:
        """Requests per second that a model alone serves in time, on all that host it."""
        ...

    @classmethod
    def tables(cls, config: Any) -> Any:
        """The model itself, for a configuration."""
        ...

    @staticmethod
    def allocate(config: Any, envs: int) -> NamedTuple:
        """Its own arrays, zeroed, each with `envs` rows."""
        ...

    @staticmethod
    def in_use(state: State) -> NamedTuple:
        """The same arrays, without columns that nothing has reached yet: for snapshots."""
        ...

    @staticmethod
    def waiting(state: State, e: int, gpu: int, model: int, most: int) -> Records:
        """The first requests that wait there, at most so many: for pictures.

        They have at least the fields arrival_s, deadline_s and task.
        """
        ...


def question(ask: Question) -> Question:
    """`ask`, which compiled callers replace by the answer of the service model of their world."""

    def answer(world: Any, *arguments: Any) -> Any:
        cluster = world.types[world.fields.index("cluster")]
        model = cluster.types[cluster.fields.index("service")].instance_class
        return getattr(model, ask.__name__).original

    overload(ask, jit_options=CHOSEN, strict=False)(answer)
    return ask


@question
def empty(world: World, e: int) -> None:
    """Empty all GPUs of env `e`: the counts are 0, GPU.model -1 and its times 0 already."""
    world.cluster.service.empty(world, e)


@question
def admit(world: World, e: int, gpu: int, model: int) -> bool:
    """Take the pending request for `model` on `gpu`, which hosts it; False if it has no room."""
    taken: bool = world.cluster.service.admit(world, e, gpu, model)
    return taken


@question
def handle_event(world: World, e: int, gpu: int) -> None:
    """Do what is due on `gpu` at the time that was expected: who is answered is credited."""
    world.cluster.service.handle_event(world, e, gpu)


@question
def evict(world: World, e: int, gpu: int, at_s: float) -> None:
    """`gpu` fails at `at_s`: `give_up` (returns.py) all that it holds, and forget it.

    The counts of its requests, GPU.model and its times become those of an empty GPU afterwards.
    """
    world.cluster.service.evict(world, e, gpu, at_s)


@question
def copy_requests(world: World, source: int, target: int) -> None:
    """Copy what `state.service` holds of one env to another; the shared records are already."""
    world.cluster.service.copy_requests(world, source, target)


@question
def added_work_s(world: World, e: int, gpu: int, model: int) -> float:
    """Seconds of work that the pending request would add to `gpu`, which hosts `model`."""
    added_s: float = world.cluster.service.added_work_s(world, e, gpu, model)
    return added_s


@question
def remaining_s(world: World, e: int, gpu: int) -> float:
    """Seconds until a busy `gpu` is done with the batch, or the step, that it runs."""
    left_s: float = world.cluster.service.remaining_s(world, e, gpu)
    return left_s


@question
def tightest(world: World, e: int, gpu: int, model: int) -> tuple[float, float]:
    """Of the pending request's deadlines there the one that it is likeliest to miss.

    Returns:
        What is predicted and what is allowed, seconds; the latter inf if nothing is due.
    """
    found: tuple[float, float] = world.cluster.service.tightest(world, e, gpu, model)
    return found


@question
def prospect(world: World, e: int, gpu: int, model: int) -> tuple[Due, Outlook]:
    """What the pending request would meet on `gpu`, which hosts `model`: `tightest`, and more.

    Returns:
        The answer of `tightest`, which has the same predictions; and predicted seconds to the first
        token, and for each after it, share of the KV cache that is in use, tokens of prompts that
        are still to be computed.
    """
    found: tuple[Due, Outlook] = world.cluster.service.prospect(world, e, gpu, model)
    return found


@question
def show(world: World, source: int, target: int, gpu: int) -> None:
    """Complete row `target` of what routers see of `gpu`: the shared records are copied already.

    It is a scrape if `source` is an env, of the moment `scraped_s`; else a copy of another row.
    """
    world.cluster.service.show(world, source, target, gpu)


@question
def reckon(world: World, e: int, row: int, gpu: int, model: int) -> float:
    """Add the pending request, which `gpu` has just taken, to what `row` has of the service's own.

    It is counted among those that wait there afterwards. Returns seconds of work that it adds.
    """
    added_s: float = world.cluster.service.reckon(world, e, row, gpu, model)
    return added_s


@compiled
def expect_event(world: World, e: int, gpu: int, at_s: float) -> None:
    """Ask for `handle_event` of `gpu` at `at_s` and no other time; inf for not at all."""
    set_key(world.state.contests, e, EVENT, 0, world.cluster.rules[0].gpus, gpu, at_s)
