"""The simulator against the independent reference, request by request, on random cases."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from .case_strategies import cases, repeated, widened
from .service_case import Case, Fate
from .service_reference import simulate
from .simulator_adapter import Episode, fates_of, run_cut, run_single

TOLERANCE = 1e-9
LIMIT_OF_EXACT_CLOCK_S = 2.0**22


@dataclass
class Tally:
    """What the cases of one test contained, and how far the two simulators were apart."""

    counts: Counter[str] = field(default_factory=Counter)
    largest_difference: float = 0.0

    def add(self, case: Case, expected: list[Fate], difference: float) -> None:
        self.counts.update(cases=1, requests=len(expected))
        self.counts.update(fate.outcome for fate in expected)
        self.counts.update("batched" for fate in expected if fate.batch_size > 1)
        self.counts.update(
            f"partial {case.user(number).deadline_kind}"
            for number, fate in enumerate(expected)
            if is_partial(fate)
        )
        self.counts.update(f"{len(case.classes)} classes" for _ in expected)
        self.counts.update((case.dispatcher, case.deadline_kind, type(case.actions[0]).__name__))
        self.largest_difference = max(self.largest_difference, difference)

    def words(self, title: str) -> str:
        counted = "cases", "requests", "in time", "late", "rejected", "shed", "in flight"
        counts = ", ".join(f"{self.counts[what]:,} {what}" for what in counted)
        return f"{title}: {counts}; largest difference {self.largest_difference}"


def is_partial(fate: Fate) -> bool:
    return fate.outcome == "late" and fate.utility > 0


def difference(expected: list[Fate], found: list[Fate]) -> float:
    """The largest difference of a time or a utility; everything else must be the same."""
    largest = 0.0
    for number, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert discrete(a) == discrete(b), f"request {number}: expected {a}, found {b}"
        for one, other in (
            (a.start_s, b.start_s),
            (a.finish_s, b.finish_s),
            (a.utility, b.utility),
        ):
            gap = 0.0 if one is other else abs((one or 0.0) - (other or 0.0))
            assert gap <= TOLERANCE, f"request {number}: expected {a}, found {b}"
            largest = max(largest, gap)
    return largest


def discrete(fate: Fate) -> tuple[object, ...]:
    ran, ended = fate.start_s is not None, fate.finish_s is not None
    return fate.outcome, fate.gpu, fate.model, fate.batch_size, ran, ended


def check_steps(case: Case, expected: list[Fate], episode: Episode, until_s: float) -> None:
    """Every request is reported, and paid for, in the step during which it ended."""
    clock_s = [*case.arrivals_s[1:], until_s][: len(episode.rewards)]
    start_s = case.arrivals_s[0]
    for step, end_s in enumerate(clock_s):
        records = episode.completions[step]
        assert episode.rewards[step] == pytest.approx(records["utility"].sum(), abs=TOLERANCE)
        for record in records:
            finish_s = expected[record["decision"]].finish_s
            rejected = record["decision"] == step and finish_s == start_s
            assert start_s < finish_s <= end_s or rejected, f"step {step}: {record}"
        ran = records[records["batch"] > 0]
        order = [(r["finish_s"], r["gpu"]) for r in ran]
        assert order == sorted(order), "batches finish in order of (finish, GPU)"
        if math.isfinite(end_s):
            assert episode.elapsed_s[step] == pytest.approx(end_s - start_s, abs=TOLERANCE)
        start_s = end_s


def compare(case: Case, tally: Tally) -> None:
    expected, episode = simulate(case), run_single(case)
    tally.add(case, expected, difference(expected, fates_of(episode, len(expected))))
    check_steps(case, expected, episode, math.inf)
    last_s = max(fate.finish_s or 0.0 for fate in expected)
    assert sum(episode.elapsed_s) == pytest.approx(last_s - case.arrivals_s[0], abs=1e-6)


def compare_cut(case: Case, requests: int, tally: Tally) -> None:
    """An episode cut after so many requests has run up to the next arrival, and no further."""
    first = replace(
        case,
        arrivals_s=case.arrivals_s[:requests],
        tasks=case.tasks[:requests],
        actions=case.actions[:requests],
        deadlines_s=case.deadlines_s[:requests],
        users=case.users[:requests],
    )
    until_s = case.arrivals_s[requests]
    expected, episode = simulate(first, until_s), run_cut(case, requests)
    tally.add(first, expected, difference(expected, fates_of(episode, requests)))
    check_steps(first, expected, episode, until_s)


def on_random_cases(
    check: Callable[[Case, st.DataObject], None], examples: int, same_every_time: bool
) -> None:
    """Run `check` on so many cases."""

    @settings(
        max_examples=examples,
        derandomize=same_every_time,
        database=None,
        deadline=None,
        print_blob=not same_every_time,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(cases(), st.data())
    def run(case: Case, data: st.DataObject) -> None:
        check(case, data)

    run()


def compare_many(examples: int, same_every_time: bool) -> Tally:
    tally = Tally()
    on_random_cases(lambda case, _: compare(case, tally), examples, same_every_time)
    return tally


def compare_many_cut(examples: int, same_every_time: bool) -> Tally:
    tally = Tally()

    def check(case: Case, data: st.DataObject) -> None:
        requests = data.draw(st.integers(1, len(case.arrivals_s) - 1))
        compare_cut(case, requests, tally)

    on_random_cases(check, examples, same_every_time)
    return tally


def compare_long(examples: int, times: int, same_every_time: bool) -> Tally:
    tally = Tally()

    def check(case: Case, data: st.DataObject) -> None:
        gap_s = min(table[0] for pool in case.pools for table in pool.latency_s.values())
        case = repeated(case, times, data.draw(st.integers(0, 3)) * gap_s)
        assume(case.arrivals_s[-1] < 0.99 * LIMIT_OF_EXACT_CLOCK_S)
        compare(case, tally)

    on_random_cases(check, examples, same_every_time)
    return tally


def compare_wide(examples: int, same_every_time: bool) -> Tally:
    tally = Tally()

    def check(case: Case, data: st.DataObject) -> None:
        compare(widened(case, data.draw(st.integers(3, 13))), tally)

    on_random_cases(check, examples, same_every_time)
    return tally


EVERYTHING = (
    *("in time", "late", "rejected", "shed", "batched", "partial linear", "partial exponential"),
    *("least-work", "shortest-queue", "round-robin", "hard", "linear", "exponential"),
    *("int", "tuple", "0 classes", "2 classes", "3 classes"),
)


def test_the_simulator_agrees_with_the_reference():
    tally = compare_many(200, same_every_time=True)
    assert tally.counts["cases"] >= 200
    assert [what for what in EVERYTHING if tally.counts[what] == 0] == []


def test_cut_episodes_agree_with_the_reference():
    tally = compare_many_cut(30, same_every_time=True)
    assert tally.counts["in flight"] > 0


def test_long_episodes_agree_with_the_reference():
    assert compare_long(10, times=20, same_every_time=True).counts["requests"] > 3000


def test_clusters_of_many_gpus_agree_with_the_reference():
    assert compare_wide(15, same_every_time=True).counts["requests"] > 3000


@pytest.mark.verify
def test_ten_thousand_new_cases_agree_with_the_reference(record_property):
    tally = compare_many(10_000, same_every_time=False)
    record_property("figure", tally.words("whole episodes"))
    assert tally.counts["cases"] >= 10_000
    assert [what for what in EVERYTHING if tally.counts[what] < 100] == []


@pytest.mark.verify
def test_many_cut_episodes_agree_with_the_reference(record_property):
    tally = compare_many_cut(1000, same_every_time=False)
    record_property("figure", tally.words("cut episodes"))
    assert tally.counts["in flight"] > 100


@pytest.mark.verify
def test_many_long_episodes_agree_with_the_reference(record_property):
    tally = compare_long(100, times=40, same_every_time=False)
    record_property("figure", tally.words("long episodes"))
    assert tally.counts["requests"] > 50_000


@pytest.mark.verify
def test_many_clusters_of_many_gpus_agree_with_the_reference(record_property):
    tally = compare_wide(300, same_every_time=False)
    record_property("figure", tally.words("many GPUs"))
    assert tally.counts["requests"] > 50_000
