"""Failures, retries, deferral and rejection against the independent reference, on random cases."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import strategies as st

from .failing_cases import play, random_world
from .failing_reference import FailingService
from .service_case import Case, WorldCase
from .service_reference import Gpu, Request
from .test_differential import difference, on_random_cases

HAPPENS = (
    *("in time", "late", "rejected", "shed", "deferred", "retried", "lost", "batched"),
    *("time-out", "fail-fast", "warm-up", "machines of several", "one pool", "again after retry"),
    *("reject utility", "least-work", "shortest-queue", "round-robin", "lost at the end"),
)


def count(counts: Counter[str], case: Case, world: WorldCase, fates: list) -> None:
    counts.update(cases=1, decisions=len(fates), requests=len(case.arrivals_s))
    counts.update(fate.outcome for fate in fates)
    counts.update("batched" for fate in fates if fate.batch_size > 1)
    counts["reject utility"] += any(fate.utility < 0 for fate in fates)
    if not world.outages:
        return
    counts["time-out" if world.timeout_s else "fail-fast"] += 1
    counts["warm-up"] += world.warm_up_s > 0
    counts["machines of several"] += world.gpus_per_machine > 1
    counts["one pool"] += len(world.pools) == 1
    counts["again after retry"] += len(fates) > len(case.arrivals_s) + 1
    counts[case.dispatcher] += 1
    last_s = max(fate.finish_s for fate in fates)
    counts["lost at the end"] += any(f.outcome == "lost" and f.finish_s == last_s for f in fates)


def compare(case: Case, world: WorldCase, counts: Counter[str]) -> None:
    expected = FailingService(case, world).play()
    found, env = play(case, world)
    assert len(expected) == len(found)
    assert difference(expected, found) == 0.0
    count(counts, case, world, expected)
    check_end(case, expected, env)


def check_end(case: Case, fates: list, env) -> None:
    """Counters are those of the fates, and the episode is over with the last request."""
    state = env.simulation.state.envs[0]
    told = Counter(fate.outcome.replace(" ", "_") for fate in fates)
    for name in ("in_time", "late", "rejected", "shed", "deferred", "retried", "lost"):
        assert state[name] == told[name], name
    assert state["routed"] == len(case.arrivals_s)
    assert state["waiting"] == state["running"] == state["away"] == state["busy_gpus"] == 0
    assert state["now_s"] == max(fate.finish_s for fate in fates)
    routed = env.simulation.state.models[0]["routed"].sum()
    assert routed == sum(f.model >= 0 and f.outcome != "retried" for f in fates)


def on_worlds(check: Callable[[Case, WorldCase], None], examples: int, same: bool) -> None:
    def run(case: Case, data: st.DataObject) -> None:
        check(*random_world(case, Random(data.draw(st.integers(0, 2**32)))))

    on_random_cases(run, examples, same)


def compare_many(examples: int, same_every_time: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    on_worlds(lambda *pair: compare(*pair, counts), examples, same_every_time)
    return counts


def test_the_simulator_agrees_where_machines_fail():
    counts = compare_many(150, same_every_time=True)
    assert [what for what in HAPPENS if counts[what] == 0] == []


@pytest.mark.verify
def test_thousands_of_new_cases_agree_where_machines_fail(record_property):
    counts = compare_many(5000, same_every_time=False)
    told = "cases", "requests", "decisions", "in time", "late", "retried", "lost", "deferred"
    figures = ", ".join(f"{counts[what]:,} {what}" for what in told)
    record_property("figure", f"failing machines: {figures}; largest difference 0")
    assert [what for what in HAPPENS if counts[what] < 50] == []


class GpusAfterMachines(FailingService):
    def rank_of_machine(self, number: int) -> int:
        return 0


class ArrivalsBeforeReturns(FailingService):
    @property
    def rank_of_arrivals(self) -> int:
        return len(self.gpus) + len(self.machines) + 1


class ReturnsInTheOrderOfFailing(FailingService):
    def rank_of_return(self, request: Request) -> int:
        return len(self.gpus) + len(self.machines) + 1


class OneTryMore(FailingService):
    def has_failed(self, request: Request, gpu: Gpu, model: int) -> None:
        if self.tries[request.number] == 0:
            self.tries[request.number] = -1
        super().has_failed(request, gpu, model)


class DispatchesToTheDead(FailingService):
    def dispatch(self, hosts: list[Gpu]) -> Gpu:
        down, self.down = self.down, set()
        chosen = super().dispatch(hosts)
        self.down = down
        return chosen


class KeepsItsDrainTime(FailingService):
    def fail(self, gpu: Gpu) -> None:
        drain = gpu.drain
        super().fail(gpu)
        gpu.drain = max(drain, self.now)

    def dispatch(self, hosts: list[Gpu]) -> Gpu:
        for gpu in hosts:
            gpu.idle_since = gpu.idle_since if gpu.running else gpu.drain
        return super().dispatch(hosts)


class CountsFromItsReturn(FailingService):
    def decide(self, request: Request) -> None:
        request.arrival = self.now
        super().decide(request)


MUTANTS = (
    *(GpusAfterMachines, ArrivalsBeforeReturns, ReturnsInTheOrderOfFailing, OneTryMore),
    *(DispatchesToTheDead, KeepsItsDrainTime, CountsFromItsReturn),
)


@pytest.fixture(scope="module")
def examples() -> list[tuple[Case, WorldCase]]:
    found: list[tuple[Case, WorldCase]] = []
    on_worlds(lambda *pair: found.append(pair), 400, same=True)
    return found


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_some_case_shows_a_wrong_rule(mutant, examples):
    assert any(mutant(*pair).play() != FailingService(*pair).play() for pair in examples)


WRONG = {
    "no warm-up": {"warm_up_s": 0.0},
    "no time-out": {"timeout_s": 0.0},
    "one GPU a machine": {"gpus_per_machine": 1},
    "rejecting is free": {"reject_utility": 0.0},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_some_case_shows_a_wrong_setting(wrong, examples):
    changed = [(case, replace(world, **WRONG[wrong])) for case, world in examples]
    pairs = zip(examples, changed, strict=True)
    assert any(FailingService(*a).play() != FailingService(*b).play() for a, b in pairs)
