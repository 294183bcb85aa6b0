"""What routers see of continuous batching on failing machines equals the document's formulas."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from gymnasium.utils import seeding

from llmroute_env.env import LLMRouteEnv
from llmroute_env.specs import Defer

from .continuous_adapter import fate_of
from .continuous_case import Fate
from .continuous_failing import DEFER
from .continuous_failing_cases import drawn_world, with_defers
from .continuous_failing_watched import FailingWatched, LateFailing
from .continuous_watching import Teller, Told, cut, number_of
from .failing_cases import failures_of
from .service_case import WorldCase
from .test_continuous_observations import check_rows, window_of, with_load, with_signals
from .test_observations import lateness


def failing(seed: int, is_late: bool) -> tuple[Told, WorldCase]:
    """A case where machines fail, mostly while the first window is served."""
    told, rng = with_load(Teller(seed).told(), seed), np.random.default_rng((seed, 44))
    told = with_signals(told, seed) if is_late else told
    _, window = window_of(told, state_of(seed))
    case = cut(told, window.first, window.arrivals_s).case
    world = drawn_world(case, rng)
    longest_s = max([until_s - from_s for _, from_s, until_s in world.outages], default=0.0)
    world = replace(world, notice_s=float(rng.choice([0.0, 0.2, 3.0])) * longest_s)
    share = 0.2 if world.most_defers and rng.random() < 0.6 else 0.0
    watching = replace(told.watching, case=with_defers(told.watching.case, share, rng))
    config = replace(
        told.config,
        failures=failures_of(world),
        defer=Defer(world.wait_s, world.most_defers) if world.most_defers else None,
        reject_utility=world.reject_utility,
    )
    return replace(told, watching=watching, config=config), world


def state_of(seed: int) -> int:
    generator, _ = seeding.np_random(seed)
    return int(generator.integers(2**64, dtype=np.uint64))


def check(seed: int, is_late: bool, counts: Counter[str]) -> None:
    told, world = failing(seed, is_late)
    env, state = told.environment(), state_of(seed)
    for episode in range(2):
        late = {"late": lateness(told.config.signals, state)} if is_late else {}
        state, window = window_of(told, state)
        watching = cut(told, window.first, window.arrivals_s)
        kind = LateFailing if is_late else FailingWatched
        watched = kind(watching, told.config.load_1_per_s, world=world, **late)
        watched.play()
        play_one(f"case {seed}", env, seed if episode == 0 else None, watched)
        assert env.summary() == whole_summary(env, watched, window.load), f"case {seed}"
        counts.update(episodes=1, decisions=watched.decisions, requests=watched.all.routed)
        counts.update(watched.outcomes)


def play_one(name: str, env: LLMRouteEnv, seed: int | None, watched: FailingWatched) -> None:
    rows, masks = [env.reset(seed=seed)[0]], [env.simulation.action_masks()[0]]
    found: dict[int, Fate] = {}
    over, requests = False, watched.case.requests
    while not over:
        number = len(rows) - 1
        action, step = requests[number % len(requests)].action, watched.steps[number]
        action = env.config.actions - 1 if action == DEFER else number_of(action, watched.watching)
        row, reward, over, _, info = env.step(action)
        rows.append(row)
        masks.append(env.simulation.action_masks()[0])
        found |= fates_of(env)
        terms = step.in_time, step.late, step.in_time + step.late + step.rejected, step.elapsed_s
        told = info["utility_in_time"], info["utility_late"], reward, info["elapsed_s"]
        assert told == terms, f"{name}, step {number}"
    assert found == watched.fates, name
    check_rows(name, env.config, np.array(rows), watched.rows())
    assert np.array(masks).tolist() == watched.masks, name


def fates_of(env: LLMRouteEnv) -> dict[int, Fate]:
    """What decisions have come to in this step, by their number."""
    simulation, found = env.simulation, {}
    for k, record in enumerate(simulation.completions):
        decision, origins = int(record["decision"]), simulation.completion_origins
        number = int(origins["request"][k]) if len(origins) else decision
        found[decision] = replace(fate_of(record, simulation.completion_tokens[k]), number=number)
    return found


def whole_summary(env: LLMRouteEnv, watched: FailingWatched, load: float) -> dict[str, object]:
    outcomes = Counter(watched.outcomes)
    found = watched.summary(load)
    if env.config.defer:
        found["deferred"] = outcomes["deferred"]
    if env.config.failures:
        found |= {name: outcomes[name] for name in ("lost", "retried")}
        found["failures"] = watched.failures
    return found


def run(seeds: range, is_late: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    for seed in seeds:
        check(seed, is_late, counts)
    return counts


@pytest.mark.parametrize(
    ("cases", "is_late"), [(25, False), pytest.param(50, True, marks=pytest.mark.verify)]
)
def test_the_document_suffices_where_machines_fail(cases, is_late):
    counts = run(range(cases), is_late)
    assert min(counts[name] for name in ("retried", "lost", "deferred", "aborted")) > 5, counts


@pytest.mark.verify
@pytest.mark.parametrize("is_late", [False, True])
def test_the_document_suffices_on_many_cases(is_late, record_property):
    first = int(np.random.default_rng().integers(10**6, 10**9))
    counts = run(range(first, first + 800), is_late)
    told = "episodes", "requests", "decisions", "retried", "lost", "deferred"
    figures = ", ".join(f"{counts[what]:,} {what}" for what in told)
    kind = "late" if is_late else "exact"
    record_property("figure", f"continuous batching, {kind} signals of failing machines: {figures}")


class BelievesForEver(LateFailing):
    def health(self, place: int) -> tuple[bool, float]:
        up, leaves = super().health(place)
        return up and place not in self.failed, leaves


class LearnsNothing(LateFailing):
    def learn(self, now: int, place: int) -> None:
        pass


class KeepsItsDrainTime(LateFailing):
    def fail(self, now: int, machine: int) -> None:
        before = [engine.drain for engine in self.instances]
        super().fail(now, machine)
        for place in self.machines[machine]:
            self.instances[place].drain = before[place]


class TheWholeDeadline(LateFailing):
    def left_s(self, ticks: float) -> float:
        return ticks / 2.0**30


class CountsWhatWasSentInVain(LateFailing):
    def send(self, now: int, number: int, action: tuple[int, int] | None) -> None:
        if action is not None and action[0] in self.down and not self.watching.by_model:
            self.sent.append((now, action[0], 1, 0.0))
        super().send(now, number, action)


WRONG = BelievesForEver, LearnsNothing, KeepsItsDrainTime, TheWholeDeadline, CountsWhatWasSentInVain


@cache
def observations(kind: type[LateFailing], seed: int) -> list[list[float]]:
    told, world = failing(seed, is_late=True)
    late = lateness(told.config.signals, state_of(seed))
    _, window = window_of(told, state_of(seed))
    what = cut(told, window.first, window.arrivals_s), told.config.load_1_per_s
    watched = kind(*what, late=late, world=world)
    watched.play()
    return watched.observations


@pytest.mark.parametrize("mutant", WRONG, ids=lambda kind: kind.__name__)
def test_some_case_shows_a_wrong_rule(mutant):
    seeds = range(40, 60)
    assert any(observations(mutant, one) != observations(LateFailing, one) for one in seeds)
