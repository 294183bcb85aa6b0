"""Random cases with late signals on failing machines, and the environments that tell of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import numpy as np
from gymnasium.utils import seeding

from llmroute_env.env import LLMRouteEnv
from llmroute_env.signal_specs import Signals
from llmroute_env.specs import Defer

from .failing_cases import failures_of, random_outages, random_world
from .failing_watched import FailingWatched, LateFailing
from .late_signals import Lateness
from .observation_reference import load_1_per_s
from .service_case import Case, WorldCase
from .test_observations import (
    cut_to,
    lateness,
    some_signals,
    window_of,
    windowed_fields,
    with_own_deadlines,
)


@dataclass(frozen=True)
class Told:
    """A trace, what happens beside it, and the environment that replays windows of it."""

    case: Case
    world: WorldCase
    due: list[float]
    env: LLMRouteEnv
    seed: int
    state: int  # of the env's stream when its first episode begins

    def episode(self, state: int) -> Episode:
        """What is played when an episode begins with the stream in `state`."""
        config = self.env.config
        following, window = window_of(self.case, self.due, config, state)
        late = lateness(config.signals, state)
        one = load_1_per_s(self.case, self.due[0])
        return Episode(cut_to(self.case, window), one, self, late, window.load, following)


@dataclass(frozen=True)
class Episode:
    """The requests of a window, and all that the reference knows besides."""

    cut: Case
    load_1_per_s: float
    told: Told
    late: Lateness
    load: float
    following: int

    def watched(self, kind: type[FailingWatched]) -> FailingWatched:
        """What a reference makes of it, before it has played."""
        more = {"world": self.told.world, "chooses": self.told.case}
        more |= {"late": self.late} if issubclass(kind, LateFailing) else {}
        return kind(self.cut, self.load_1_per_s, **more)


def told(case: Case, seed: int, is_late: bool) -> Told:
    """A case where machines fail, mostly while the first window is served."""
    rng = Random(f"{seed} failing")
    case, due = with_own_deadlines(case, rng)
    case, world = random_world(case, rng)
    signals = some_signals(case, rng) if is_late else Signals()
    fields = windowed_fields(case, due, rng) | {
        "signals": signals,
        "defer": Defer(world.wait_s, world.most_defers) if world.most_defers else None,
        "reject_utility": world.reject_utility,
    }
    generator, _ = seeding.np_random(seed)
    state = int(generator.integers(2**64, dtype=np.uint64))
    plain = LLMRouteEnv("stable", **fields).config
    cut = cut_to(case, window_of(case, due, plain, state)[1])
    world = replace(world, outages=with_early(random_outages_of(cut, world, rng), cut, world, rng))
    spans_s = spans_of(case)
    world = replace(world, notice_s=rng.choice((0.0, rng.choice(spans_s), 5.0 * max(spans_s))))
    env = LLMRouteEnv("stable", completions=True, **fields, failures=failures_of(world))
    if case.classes:
        env.simulation.tape.user_class[:] = case.users
    return Told(case, world, due, env, seed, state)


def spans_of(case: Case) -> list[float]:
    return [table[-1] for pool in case.pools for table in pool.latency_s.values()]


def random_outages_of(
    cut: Case, world: WorldCase, rng: Random
) -> tuple[tuple[int, float, float], ...]:
    return random_outages(cut, world, rng, spans_of(cut))


def with_early(
    outages: tuple[tuple[int, float, float], ...], cut: Case, world: WorldCase, rng: Random
) -> tuple[tuple[int, float, float], ...]:
    """Now and then some that begin before the first request."""
    found, first_s = list(outages), cut.arrivals_s[0]
    for machine in {outage[0] for outage in outages}:
        from_s = rng.choice((0.0, 0.5, 0.999)) * first_s
        next_s = min(outage[1] for outage in outages if outage[0] == machine) - world.warm_up_s
        until_s = from_s + rng.choice((0.3, 0.9)) * (next_s - from_s)
        if rng.random() < 0.3 and until_s > from_s + 2.0**-28 and next_s > until_s + 2.0**-28:
            found.append((machine, from_s, until_s))
    return tuple(found)
