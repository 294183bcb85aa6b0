"""What threads do: one env each, by the functions that the CPU runs.

Every body takes the numbers of the threads first..last-1, what they all read and change, and what
they are told (Orders). A kernel gives it one thread; on a CPU one call is all of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llmroute_env.cuda.room import decisions_that_fit
from llmroute_env.cuda.tiles import lane_of, outputs_of, world_of
from llmroute_env.dynamics.actions import most_actions
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.stepping import Outputs, reset_env, show_env, step_envs
from llmroute_env.dynamics.world import World

DONE, RING_FULL, LOG_FULL, REFUSED = range(4)
"""What came of an order to one env. All but DONE have changed nothing."""


class Answers(NamedTuple):
    """What came of an order, for every env and for any.

    Launches are numbered from 1 on, and `last[k]` is the last one in which k came of an order to
    anybody: nothing has to be cleared before the next one.
    """

    came: Any  # (E,) int64: DONE, ...
    last: Any  # (4,) int64


class Orders(NamedTuple):
    """What threads are told, and where they answer."""

    launch: int
    again: int  # whether only those are meant that have stopped
    answers: Answers
    actions: Any  # (E,) int64
    chosen: Any  # (E,) bool, who is to begin an episode
    seeded: Any  # (E,) bool, who of them gets another stream
    seeds: Any  # (E,) uint64


@compiled
def tell(answers: Answers, launch: int, thread: int, came: int) -> None:
    """Note what came of an order."""
    answers.came[thread] = came
    if came != DONE:
        answers.last[came] = launch


@compiled
def check_threads(first: int, last: int, world: World, out: Outputs, orders: Orders) -> None:
    """Refuse actions that are none, before any env takes a step."""
    most = most_actions(world.cluster)
    for thread in range(first, last):
        action = orders.actions[thread]
        tell(orders.answers, orders.launch, thread, DONE if 0 <= action < most else REFUSED)


@compiled
def step_threads(first: int, last: int, world: World, out: Outputs, orders: Orders) -> None:
    """Step envs, but those that might need more room than there is."""
    for thread in range(first, last):
        if orders.answers.last[REFUSED] == orders.launch:
            return
        if orders.again == 0 or orders.answers.came[thread] != DONE:
            own, e = world_of(world, thread), lane_of(thread)
            if decisions_that_fit(own, e) < 1:
                tell(orders.answers, orders.launch, thread, RING_FULL)
            else:
                actions = orders.actions[thread - e :]
                done = step_envs(own, outputs_of(out, thread), actions, e, e + 1, 0)
                tell(orders.answers, orders.launch, thread, DONE if done > e else LOG_FULL)


@compiled
def reset_threads(first: int, last: int, world: World, out: Outputs, orders: Orders) -> None:
    """Begin episodes in the chosen envs."""
    for thread in range(first, last):
        if orders.chosen[thread]:
            own, e = world_of(world, thread), lane_of(thread)
            if orders.seeded[thread]:
                own.state.envs[e].rng = orders.seeds[thread]
            reset_env(own, e, outputs_of(out, thread))
            own.log.used[0] = 0


@compiled
def show_threads(first: int, last: int, world: World, out: Outputs, orders: Orders) -> None:
    """Write where envs are."""
    for thread in range(first, last):
        show_env(world_of(world, thread), lane_of(thread), outputs_of(out, thread))
