"""The reference itself, on cases that fit on the back of an envelope."""

import math
from dataclasses import replace

import pytest

from .service_case import Case, Fate, PoolCase
from .service_reference import simulate

TABLE = (4.0, 5.0, 6.0)


def pool(gpus: int = 1, models: tuple[int, ...] = (0,), limit: int = 3) -> PoolCase:
    return PoolCase(gpus, dict.fromkeys(models, TABLE), dict.fromkeys(models, limit))


def case_of(arrivals_s: list[float], actions=None, pools=None, deadline_s=1e9, **rules) -> Case:
    n = len(arrivals_s)
    return Case(
        pools=tuple(pools or (pool(),)),
        accuracy=((0.5, 0.8),),
        arrivals_s=tuple(arrivals_s),
        tasks=(0,) * n,
        actions=tuple(actions or [0] * n),
        deadlines_s=(deadline_s,) * n,
        **rules,
    )


def runs(fates: list[Fate]) -> list[tuple[float | None, float | None, int]]:
    return [(fate.start_s, fate.finish_s, fate.batch_size) for fate in fates]


def outcomes(case: Case) -> list[str]:
    return [fate.outcome for fate in simulate(case)]


def gpus(case: Case) -> list[int]:
    return [fate.gpu for fate in simulate(case)]


def test_batches_form_behind_a_busy_gpu():
    fates = simulate(case_of([0, 1, 2, 3, 3.5], deadline_s=8))
    assert runs(fates) == [(0, 4, 1), (4, 10, 3), (4, 10, 3), (4, 10, 3), (10, 14, 1)]
    # The third finishes exactly at its deadline.
    assert [fate.outcome for fate in fates] == ["in time", "late", "in time", "in time", "late"]
    assert [fate.utility for fate in fates] == [0.5, 0, 0.5, 0.5, 0]


def test_an_arrival_at_the_moment_of_a_finish_misses_that_batch():
    assert runs(simulate(case_of([0, 1, 4]))) == [(0, 4, 1), (4, 8, 1), (8, 12, 1)]


def test_of_simultaneous_arrivals_the_first_starts_alone():
    assert runs(simulate(case_of([0, 0, 0]))) == [(0, 4, 1), (4, 9, 2), (4, 9, 2)]


def test_the_oldest_head_goes_first_and_the_trace_breaks_ties():
    both = pool(models=(0, 1))
    fates = simulate(case_of([0, 1, 2, 3], [0, 1, 0, 1], [both]))
    assert runs(fates) == [(0, 4, 1), (4, 9, 2), (9, 13, 1), (4, 9, 2)]
    fates = simulate(case_of([0, 1, 1], [0, 1, 0], [both]))
    assert runs(fates) == [(0, 4, 1), (4, 8, 1), (8, 12, 1)]


def test_least_work_prefers_the_lower_number_then_the_longest_idle():
    assert gpus(case_of([0, 0, 0, 0, 0], pools=[pool(2, limit=1)])) == [0, 1, 0, 1, 0]
    assert gpus(case_of([0, 1, 10, 20], pools=[pool(2)])) == [0, 1, 0, 1]


def test_least_work_counts_full_batches():
    # GPU 0 holds 3 waiting (6 s), GPU 1 holds 1 + 1 of two models (8 s), both run until 4.
    both = pool(2, models=(0, 1))
    held = [(0, 0), (1, 0), (0, 0), (0, 0), (0, 0), (1, 0), (1, 1)]
    assert gpus(case_of([0] * 8, [*held, 0], [both]))[-1] == 0
    # A fourth waiting request opens a second batch: 6 + 4 s against 8 s.
    assert gpus(case_of([0] * 9, [*held, (0, 0), 0], [both]))[-1] == 1


def test_shortest_queue_counts_waiting_and_running_of_all_models():
    both = pool(2, models=(0, 1))
    assert (
        gpus(
            case_of([0, 0, 0, 0], [(0, 0), (0, 1), (1, 0), 0], [both], dispatcher="shortest-queue")
        )[-1]
        == 1
    )
    assert (
        gpus(case_of([0, 0, 4], [(0, 0), (1, 0), 0], [both], dispatcher="shortest-queue"))[-1] == 0
    )


def test_round_robin_skips_gpus_without_the_model():
    pools = [pool(1, (0,)), pool(1, (0, 1)), pool(1, (1,))]
    case = case_of([0] * 6, [1, 0, 0, 1, 1, (0, 0)], pools, dispatcher="round-robin")
    assert gpus(case) == [1, 0, 1, 2, 1, 0]


def test_rejections():
    fates = simulate(case_of([0, 1, 2, 4], queue_capacity=1))
    assert runs(fates) == [(0, 4, 1), (4, 8, 1), (None, 2, 0), (8, 12, 1)]
    assert fates[2].outcome == "rejected"
    assert outcomes(case_of([0], [(0, 1)])) == ["rejected"]


def test_a_rejected_request_moves_the_round_robin_cursor():
    case = case_of([0] * 6, pools=[pool(2)], queue_capacity=1, dispatcher="round-robin")
    assert gpus(case) == [0, 1, 0, 1, 0, 1]
    assert outcomes(case)[4:] == ["rejected", "rejected"]


def test_what_cannot_earn_anything_is_shed():
    case = case_of([0, 1, 2, 9], deadline_s=5, shed_expired=True)
    fates = simulate(case)
    assert [fate.outcome for fate in fates] == ["in time", "shed", "shed", "in time"]
    assert runs(fates)[1:] == [(None, 4, 0), (None, 4, 0), (9, 13, 1)]
    soft = replace(case, deadline_kind="linear", grace_s=1.0)
    assert outcomes(soft)[1:3] == ["shed", "late"]


def test_shedding_asks_for_the_batch_that_is_coming_not_for_a_batch_of_one():
    case = case_of([0, 1, 2], deadline_s=7, shed_expired=True)
    # At 4 two wait, and together they would finish at 9, too late for the first; alone the second
    # finishes at 8. Forming batches by the head's deadline, the first would run alone.
    assert runs(simulate(case))[1:] == [(None, 4, 0), (4, 8, 1)]
    alone = replace(case, deadline_aware_batching=True, deadlines_s=(7, 7, 20))
    assert runs(simulate(alone))[1:] == [(4, 8, 1), (8, 12, 1)]
    # Finishing at exactly the expiry still counts.
    assert runs(simulate(replace(case, deadlines_s=(8,) * 3)))[1:] == [(4, 9, 2), (4, 9, 2)]


def test_shedding_looks_no_further_than_the_batch_limit():
    # Three wait behind a limit of two: the first fits into a batch of two, not into one of three.
    case = case_of([0, 1, 1, 1], pools=[pool(limit=2)], deadline_s=8, shed_expired=True)
    assert runs(simulate(case))[1:] == [(4, 9, 2), (4, 9, 2), (None, 9, 0)]
    case = case_of([0, 1, 1, 1], pools=[pool(limit=3)], deadline_s=8, shed_expired=True)
    assert runs(simulate(case))[1:] == [(None, 4, 0), (4, 9, 2), (4, 9, 2)]


def test_a_hopeless_request_is_shed_on_arrival_at_an_idle_gpu():
    assert runs(simulate(case_of([1.5], deadline_s=3, shed_expired=True))) == [(None, 1.5, 0)]


def test_shedding_leaves_a_gpu_idle_since_that_moment():
    # GPU 0 finishes at 4, GPU 1 at 5; a hopeless arrival at 6 makes GPU 0 the shorter idle.
    case = case_of([0, 1, 6, 7], pools=[pool(2)], shed_expired=True)
    assert gpus(replace(case, deadlines_s=(9, 9, 1, 9))) == [0, 1, 0, 1]


def test_the_other_queue_runs_when_the_first_was_shed_altogether():
    case = case_of([0, 1, 2], [0, 0, 1], [pool(models=(0, 1))], shed_expired=True)
    fates = simulate(replace(case, deadlines_s=(9, 1, 9)))
    assert runs(fates) == [(0, 4, 1), (None, 4, 0), (4, 8, 1)]


def test_a_batch_stops_growing_where_its_head_would_miss():
    case = case_of([0, 1, 2], deadline_s=7, deadline_aware_batching=True)
    assert runs(simulate(case)) == [(0, 4, 1), (4, 8, 1), (8, 12, 1)]
    assert runs(simulate(replace(case, deadlines_s=(8,) * 3)))[1:] == [(4, 9, 2), (4, 9, 2)]


def test_a_head_that_misses_anyway_runs_alone():
    case = case_of([0, 1, 2], deadline_s=3, deadline_aware_batching=True)
    assert runs(simulate(case)) == [(0, 4, 1), (4, 8, 1), (8, 12, 1)]


def test_shedding_comes_before_the_question_whether_the_head_would_miss():
    rules = {"shed_expired": True, "deadline_aware_batching": True}
    case = replace(case_of([0, 1, 2, 3], **rules), deadlines_s=(9, 7, 1, 20))
    assert runs(simulate(case))[1:] == [(4, 8, 1), (None, 4, 0), (8, 12, 1)]


def test_requests_behind_a_full_batch_are_not_shed_with_it():
    case = case_of([0, 1, 2], pools=[pool(limit=1)], shed_expired=True)
    assert runs(simulate(replace(case, deadlines_s=(9, 9, 3))))[2] == (None, 8, 0)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("hard", 0),
        ("linear", 0.75),
        ("exponential", (math.exp(-1.25) - math.exp(-5)) / (1 - math.exp(-5))),
    ],
)
def test_lateness_decays(kind: str, value: float):
    (fate,) = simulate(case_of([0], deadline_s=3, deadline_kind=kind, grace_s=4))
    assert fate.utility == pytest.approx(0.5 * value)
    (fate,) = simulate(case_of([0], deadline_s=3, deadline_kind=kind, grace_s=1))
    assert fate.utility == 0


def test_no_deadline_is_ever_missed_when_it_is_infinite_and_each_when_it_is_zero():
    rules = {"shed_expired": True, "deadline_aware_batching": True}
    assert set(outcomes(case_of([0, 0, 1], deadline_s=math.inf, **rules))) == {"in time"}
    assert set(outcomes(case_of([0, 0, 1], deadline_s=0.0, **rules))) == {"shed"}
    assert set(outcomes(case_of([0, 0, 1], deadline_s=0.0))) == {"late"}


def test_a_cut_leaves_the_rest_in_flight():
    fates = simulate(case_of([0, 1, 2]), until_s=4)
    assert [fate.outcome for fate in fates] == ["in time", "in flight", "in flight"]
