"""Continuous batching where machines fail, against the independent reference, on random cases."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from .continuous_case import Case, Fate
from .continuous_failing import FailingEngines, FailingInstance
from .continuous_failing_cases import play, random_world
from .continuous_reference import Request
from .service_case import WorldCase

HAPPENS = (
    *("in time", "late", "rejected", "aborted", "deferred", "retried", "lost", "preempted"),
    *("time-out", "fail-fast", "warm-up", "machines of several", "one pool", "answers lost"),
    *("aborted after it came back", "reject utility"),
)


class Watched(FailingInstance):
    """Counts what is lost with it."""

    lost = 0

    def fail(self) -> list[Request]:
        held = super().fail()
        Watched.lost += sum(request.answered > 0 for request in held)
        return held


class WatchedEngines(FailingEngines):
    instance = Watched


def compare(seed: int, counts: Counter[str]) -> None:
    case, world = random_world(seed)
    expected = WatchedEngines(case, world).play()
    found, env = play(case, world)
    for decision, (one, other) in enumerate(zip(expected, found, strict=True)):
        assert one == other, f"case {seed}, decision {decision}: expected {one}, found {other}"
    told = Counter(fate.outcome.replace(" ", "_") for fate in expected)
    assert all(env[name] == told[name] for name in ("lost", "retried", "aborted", "in_time"))
    counts.update(cases=1, requests=len(case.requests), decisions=len(expected))
    counts.update(fate.outcome for fate in expected)
    counts["preempted"] += any(fate.preemptions for fate in expected)
    counts["reject utility"] += any(fate.utility < 0 for fate in expected)
    again = {fate.number for fate in expected if fate.outcome in ("retried", "deferred")}
    gone = {fate.number for fate in expected if fate.outcome == "aborted"}
    counts["aborted after it came back"] += len(again & gone)
    counts["answers lost"] = Watched.lost
    if world.outages:
        counts["time-out" if world.timeout_s else "fail-fast"] += 1
        counts["warm-up"] += world.warm_up_s > 0
        counts["machines of several"] += world.gpus_per_machine > 1
        counts["one pool"] += len(world.pools) == 1


def compare_many(seeds: range) -> Counter[str]:
    counts: Counter[str] = Counter()
    for seed in seeds:
        compare(seed, counts)
    return counts


def test_the_simulator_agrees_where_machines_fail():
    counts = compare_many(range(80))
    assert [what for what in HAPPENS if counts[what] == 0] == []


@pytest.mark.verify
def test_thousands_of_new_cases_agree_where_machines_fail(record_property):
    first = int(np.random.default_rng().integers(10**6, 10**9))
    counts = compare_many(range(first, first + 4000))
    told = "cases", "requests", "decisions", "in time", "retried", "lost", "deferred", "aborted"
    figures = ", ".join(f"{counts[what]:,} {what}" for what in told)
    record_property("figure", f"continuous batching on failing machines: {figures}; no difference")
    assert [what for what in HAPPENS if counts[what] < 50] == []


class KeepsItsTokens(FailingEngines):
    def takes(self, now: int, number: int, place: int, model: int) -> bool:
        taken = super().takes(now, number, place, model)
        if taken and self.tries[number]:
            [one] = [r for r in self.held(place) if r.number == number]
            one.answered = min(1, one.limit - 1)
        return taken

    def held(self, place: int) -> list[Request]:
        return [*self.instances[place].running, *self.instances[place].waiting]


class PatienceBeginsAnew(FailingEngines):
    def takes(self, now: int, number: int, place: int, model: int) -> bool:
        taken = super().takes(now, number, place, model)
        for one in [r for r in self.instances[place].waiting if taken and r.number == number]:
            one.gone += now * 1024 - one.arrival
        return taken


class DeadlinesBeginAnew(FailingEngines):
    def takes(self, now: int, number: int, place: int, model: int) -> bool:
        taken = super().takes(now, number, place, model)
        held = [*self.instances[place].running, *self.instances[place].waiting]
        for one in [r for r in held if taken and r.number == number]:
            one.arrival = now * 1024
        return taken


@cache
def world_of(seed: int) -> tuple[Case, WorldCase, list[Fate]]:
    """A case, and what becomes of it by the rules."""
    case, world = random_world(seed)
    return case, world, FailingEngines(case, world).play()


@pytest.mark.parametrize("mutant", [KeepsItsTokens, PatienceBeginsAnew, DeadlinesBeginAnew])
def test_some_case_shows_a_wrong_rule(mutant):
    worlds = map(world_of, range(160))
    assert any(mutant(case, world).play() != rightly for case, world, rightly in worlds)


WRONG = {
    "no warm-up": {"warm_up_s": 0.0},
    "no time-out": {"timeout_s": 0.0},
    "one more try": {"tries": 5},
    "one GPU a machine": {"gpus_per_machine": 1},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_some_case_shows_a_wrong_setting(wrong):
    worlds = map(world_of, range(160))
    others = ((case, replace(world, **WRONG[wrong]), rightly) for case, world, rightly in worlds)
    assert any(FailingEngines(case, world).play() != rightly for case, world, rightly in others)
