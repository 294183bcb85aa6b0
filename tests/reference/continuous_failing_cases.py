"""Random cases of continuous batching where machines fail, and the environment that plays them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import Defer

from .continuous_adapter import config_of, fate_of, number_of
from .continuous_case import TICK_S, Case, Fate
from .continuous_cases import Draw, random_case
from .continuous_failing import DEFER
from .failing_cases import failures_of
from .failing_reference import machines_of
from .service_case import WorldCase


def random_world(seed: int) -> tuple[Case, WorldCase]:
    """A case of continuous batching, and what happens beside its arrivals."""
    case, rng = random_case(seed), np.random.default_rng((seed, 41))
    world = drawn_world(case, rng)
    share = 0.2 if world.most_defers and rng.random() < 0.6 else 0.0
    return with_defers(case, share, rng), world


def with_defers(case: Case, share: float, rng: np.random.Generator) -> Case:
    requests = [replace(r, action=DEFER) if rng.random() < share else r for r in case.requests]
    return replace(case, requests=tuple(requests))


def drawn_world(case: Case, rng: np.random.Generator) -> WorldCase:
    """Machines that fail while a case is played, and what becomes of requests."""
    draw = Draw(rng, None)  # type: ignore[arg-type]
    sizes = [pool.instances for pool in case.pools]
    widths = [w for w in (1, 1, 2, 3) if all(size % w == 0 for size in sizes)]
    arrivals = [request.arrival for request in case.requests]
    while_s = max(arrivals[-1] - arrivals[0], 20) * TICK_S / len(arrivals)

    def some_s(factor: int) -> float:
        return max(round(draw.spread(1, factor) * while_s / 2 / TICK_S), 1) * TICK_S

    world = WorldCase(
        gpus_per_machine=int(rng.choice(widths)),
        pools=() if len(sizes) == 1 or draw.chance(0.7) else (draw.integer(0, len(sizes) - 1),),
        warm_up_s=some_s(8) if draw.chance(0.3) else 0.0,
        timeout_s=some_s(8) if draw.chance(0.5) else 0.0,
        tries=draw.integer(1, 4),
        wait_s=some_s(8),
        most_defers=int(rng.choice([0, 1, 3])),
        reject_utility=float(rng.choice([0.0, 0.0, -0.25])),
    )
    outages = []
    for machine in range(len(machines_of(sizes, world))):
        at_s = -1.0
        for arrival in sorted(rng.choice(arrivals, int(rng.choice([0, 1, 1, 3, 5])))):
            from_s = float(arrival) * TICK_S + (some_s(12) if draw.chance(0.6) else 0.0)
            if from_s > at_s + world.warm_up_s:
                at_s = from_s + some_s(30)
                outages.append((machine, from_s, at_s))
    return replace(world, outages=tuple(outages))


def play(case: Case, world: WorldCase) -> tuple[list[Fate], np.void]:
    """What the environment makes of every decision, in their order; its counters at the end."""
    config = replace(
        config_of(case),
        failures=failures_of(world),
        defer=Defer(world.wait_s, world.most_defers) if world.most_defers else None,
        reject_utility=world.reject_utility,
    )
    simulation = Simulation(config)
    simulation.tape.user_class[:] = [request.user for request in case.requests]
    simulation.begin(np.zeros(1, np.uint64))
    found: dict[int, Fate] = {}
    env = simulation.state.envs[0]
    while not env["over"]:
        action = case.requests[int(env["decision"]) % len(case.requests)].action
        number = config.actions - 1 if action == DEFER else number_of(action, case)
        simulation.step(np.array([number]))
        origins = simulation.completion_origins
        for k, record in enumerate(simulation.completions):
            decision = int(record["decision"])
            assert decision not in found
            fate = fate_of(record, simulation.completion_tokens[k])
            number = int(origins["request"][k]) if len(origins) else decision
            found[decision] = replace(fate, number=number)
            prompt = simulation.completion_tokens["prompt_tokens"][k]
            assert prompt == case.requests[number].prompt_tokens
    assert sorted(found) == list(range(len(found)))
    assert env["waiting"] == env["running"] == env["away"] == env["busy_gpus"] == 0
    return [found[decision] for decision in range(len(found))], env
