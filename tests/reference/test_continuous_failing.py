"""Continuous batching where machines fail, against the independent reference, on random cases."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import Defer

from .continuous_adapter import config_of, fate_of, number_of
from .continuous_case import TICK_S, Case, Fate
from .continuous_cases import Draw, random_case
from .continuous_failing import DEFER, FailingEngines, FailingInstance
from .continuous_reference import Request
from .failing_cases import failures_of
from .failing_reference import machines_of
from .service_case import WorldCase


def random_world(seed: int) -> tuple[Case, WorldCase]:
    """A case of continuous batching, and what happens beside its arrivals."""
    case, rng = random_case(seed), np.random.default_rng((seed, 41))
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
    share = 0.2 if world.most_defers and draw.chance(0.6) else 0.0
    requests = [replace(r, action=DEFER) if draw.chance(share) else r for r in case.requests]
    return replace(case, requests=tuple(requests)), replace(world, outages=tuple(outages))


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
    counts = compare_many(range(160))
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


@pytest.mark.parametrize("mutant", [KeepsItsTokens, PatienceBeginsAnew, DeadlinesBeginAnew])
def test_some_case_shows_a_wrong_rule(mutant):
    worlds = [random_world(seed) for seed in range(160)]
    assert any(mutant(*pair).play() != FailingEngines(*pair).play() for pair in worlds)


WRONG = {
    "no warm-up": {"warm_up_s": 0.0},
    "no time-out": {"timeout_s": 0.0},
    "one more try": {"tries": 5},
    "one GPU a machine": {"gpus_per_machine": 1},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_some_case_shows_a_wrong_setting(wrong):
    worlds = [random_world(seed) for seed in range(160)]
    others = [(case, replace(world, **WRONG[wrong])) for case, world in worlds]
    pairs = zip(worlds, others, strict=True)
    assert any(FailingEngines(*a).play() != FailingEngines(*b).play() for a, b in pairs)
