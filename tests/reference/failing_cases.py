"""Random cases where machines fail, requests are put off and sent again, and play in both."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np

from llmroute_env.env import LLMRouteEnv
from llmroute_env.failure_specs import Failures, Outage
from llmroute_env.specs import Defer

from .failing_reference import machines_of
from .service_case import DEFER, REJECT, Case, Fate, WorldCase
from .simulator_adapter import fate_of, fields_of, number_of, set_classes, set_deadline


def random_world(case: Case, rng: Random) -> tuple[Case, WorldCase]:
    """What happens beside the arrivals of a case, and the case with some of its requests put off.

    Machines fail and are back where requests arrive and batches finish, now and then exactly.
    """
    sizes = [pool.gpus for pool in case.pools]
    widths = [w for w in (1, 1, 2, 3) if all(size % w == 0 for size in sizes)]
    spans_s = [table[-1] for pool in case.pools for table in pool.latency_s.values()]
    world = WorldCase(
        gpus_per_machine=rng.choice(widths),
        pools=() if len(sizes) == 1 or rng.random() < 0.6 else (rng.randrange(len(sizes)),),
        warm_up_s=rng.choice((0.0, 0.0, rng.choice(spans_s))),
        timeout_s=rng.choice((0.0, rng.choice(spans_s), 3.5 * rng.choice(spans_s))),
        tries=rng.choice((1, 2, 2, 3, 5)),
        wait_s=rng.choice((1.0, 0.5, 2.0)) * rng.choice(spans_s),
        most_defers=rng.choice((0, 1, 3)),
    )
    world = replace(world, outages=random_outages(case, world, rng, spans_s))
    share = rng.choice((0.0, 0.1, 0.4)) if world.most_defers else 0.0
    actions = tuple(DEFER if rng.random() < share else action for action in case.actions)
    if REJECT in actions:
        world = replace(world, reject_utility=rng.choice((0.0, -0.25)))
    return replace(case, actions=actions), world


def random_outages(
    case: Case, world: WorldCase, rng: Random, spans_s: list[float]
) -> tuple[tuple[int, float, float], ...]:
    found = []
    for machine in range(len(machines_of([pool.gpus for pool in case.pools], world))):
        at_s = -1.0
        for arrival_s in sorted(rng.choices(case.arrivals_s, k=rng.choice((0, 1, 2, 6)))):
            from_s = arrival_s + rng.choice((0.0, rng.choice(spans_s), 0.3 * spans_s[0]))
            if from_s > at_s + world.warm_up_s + 2.0**-28:
                # At least some ticks.
                down_s = rng.choice((1.0, 0.4, 3.0, 20.0)) * rng.choice(spans_s)
                at_s = from_s + max(down_s, 2.0**-28)
                found.append((machine, from_s, at_s))
    # A trace begins with its first request: so does the episode.
    start_s = case.arrivals_s[0]
    return tuple((m, a, b) for m, a, b in found if a >= start_s)


def failures_of(world: WorldCase) -> Failures | None:
    if not world.outages:
        return None
    return Failures(
        outages=tuple(Outage(*outage) for outage in world.outages),
        gpus_per_machine=world.gpus_per_machine,
        warm_up_s=world.warm_up_s,
        notice_s=world.notice_s,
        detection="time-out" if world.timeout_s > 0 else "fail-fast",
        timeout_s=world.timeout_s,
        tries=world.tries,
        pools=world.pools,
    )


def play(case: Case, world: WorldCase) -> tuple[list[Fate], LLMRouteEnv]:
    """What the environment makes of every decision, in their order; and it itself at the end."""
    fields = fields_of(case) | {
        "failures": failures_of(world),
        "defer": Defer(world.wait_s, world.most_defers) if world.most_defers else None,
        "reject_utility": world.reject_utility,
    }
    env = LLMRouteEnv("stable", **fields)
    set_classes(env.simulation, case)
    env.reset(seed=0)
    state, records, over = env.simulation.state.envs, [], False
    while not over:
        set_deadline(env.simulation, case.deadlines_s[int(state["request"][0])])
        action = case.actions[int(state["decision"][0]) % len(case.actions)]
        _, reward, over, _, _ = env.step(env_number(action, case))
        ended = env.simulation.completions.copy()
        assert abs(reward - ended["utility"].sum()) < 1e-9
        records.append(ended)
    found = np.concatenate(records)
    assert sorted(found["decision"]) == list(range(len(found))), "every decision comes to one end"
    return [fate_of(record) for record in found[np.argsort(found["decision"])]], env


def env_number(action: object, case: Case) -> int:
    """The environment's number of an action: defer is the last, after reject."""
    if action != DEFER:
        return number_of(action, case)  # type: ignore[arg-type]
    return number_of(REJECT, case) + (REJECT in case.actions)
