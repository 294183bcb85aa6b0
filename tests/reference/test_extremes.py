"""The corners of the service model: the simulator agrees with the reference and with arithmetic."""

import math
from collections import Counter
from collections.abc import Callable

import pytest

from .service_case import Case, Fate, PoolCase
from .service_reference import simulate
from .simulator_adapter import fates_of, run_single
from .test_differential import difference

TABLE_S = (0.25, 0.375, 0.5, 0.625)


def case_of(arrivals_s: list[float], gpus: int = 4, models: int = 1, **rules: object) -> Case:
    n = len(arrivals_s)
    tables = dict.fromkeys(range(models), TABLE_S)
    return Case(
        **{
            "pools": (PoolCase(gpus, tables, dict.fromkeys(tables, len(TABLE_S))),),
            "accuracy": (tuple((m + 1) / models for m in range(models)),),
            "arrivals_s": tuple(arrivals_s),
            "tasks": (0,) * n,
            "actions": tuple(i % models for i in range(n)),
            "deadlines_s": (1.0,) * n,
            **rules,
        }
    )


def agreed(case: Case) -> list[Fate]:
    fates = simulate(case)
    assert difference(fates, fates_of(run_single(case), len(fates))) == 0.0
    return fates


def spread(count: int, gap_s: float) -> list[float]:
    return [i * gap_s for i in range(count)]


def all_at_once(fates: list[Fate]) -> None:
    # Each GPU takes one at once, then four at a time: 1 + 4 x 62 + 1 of the 250 it gets.
    assert [fate.start_s for fate in fates[:4]] == [0.0] * 4
    assert Counter(fate.batch_size for fate in fates) == {1: 8, 4: 992}
    assert max(fate.finish_s or 0.0 for fate in fates) == 0.25 + 62 * 0.625 + 0.25


def silence(fates: list[Fate]) -> None:
    assert [fate.start_s for fate in fates[-4:]] == [3600.25] * 4
    assert [fate.finish_s for fate in fates[-4:]] == [3600.5] * 4
    assert [fate.gpu for fate in fates[:4]] == [0, 1, 2, 3]


def one_gpu(fates: list[Fate]) -> None:
    assert {fate.gpu for fate in fates} == {0}


def many_gpus(fates: list[Fate]) -> None:
    assert [fate.gpu for fate in fates[:256]] == list(range(256))
    assert {fate.outcome for fate in fates} == {"in time"}


def many_models(fates: list[Fate]) -> None:
    assert {fate.model for fate in fates} == set(range(64))


def nothing_in_time(fates: list[Fate]) -> None:
    assert {fate.outcome for fate in fates} == {"late"}


def nothing_served(fates: list[Fate]) -> None:
    assert {fate.outcome for fate in fates} == {"shed"}


def all_in_time(fates: list[Fate]) -> None:
    assert {fate.outcome for fate in fates} == {"in time"}


def queue_full(fates: list[Fate]) -> None:
    # Four run, three wait on each GPU, nobody else gets in.
    assert [fate.outcome for fate in fates].count("rejected") == 500 - 4 - 12


EXTREMES: dict[str, tuple[Case, Callable[[list[Fate]], None]]] = {
    "simultaneous": (case_of([0.0] * 1000, deadlines_s=(99.0,) * 1000), all_at_once),
    "an hour of silence": (case_of([0.0] * 4 + [3600.25] * 4), silence),
    "one GPU": (case_of(spread(300, 0.1), gpus=1), one_gpu),
    "256 GPUs": (case_of([0.0] * 512, gpus=256), many_gpus),
    "64 models": (case_of(spread(640, 0.01), models=64, shed_expired=True), many_models),
    "deadline 0": (case_of(spread(99, 0.1), deadlines_s=(0.0,) * 99), nothing_in_time),
    "deadline 0, shedding": (
        case_of(spread(99, 0.1), deadlines_s=(0.0,) * 99, shed_expired=True),
        nothing_served,
    ),
    "no deadline": (
        case_of(
            spread(500, 0.001),
            deadlines_s=(math.inf,) * 500,
            shed_expired=True,
            deadline_aware_batching=True,
        ),
        all_in_time,
    ),
    "at capacity": (case_of([0.0] * 500, queue_capacity=3), queue_full),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes(name: str):
    case, right = EXTREMES[name]
    right(agreed(case))


def test_a_queue_at_capacity_takes_the_next_after_a_batch_has_left():
    # The running batch has left its queue: at 0.25 s three start, and three may wait again.
    case = case_of([0.0] * 6 + [0.25] * 6, gpus=1, queue_capacity=3)
    outcomes = [fate.outcome for fate in agreed(case)]
    assert outcomes == ["in time"] * 4 + ["rejected"] * 2 + ["in time"] * 3 + ["rejected"] * 3


def test_the_clock_ends_where_its_exactness_does():
    """The service model promises exact ticks below 2^22 s; twice that is where they end."""
    tick_s = 2.0**-30
    assert 2.0**22 - tick_s < 2.0**22 < 2.0**22 + tick_s
    assert 2.0**23 + tick_s == 2.0**23
