"""The random cases tell every rule of the service model from its nearest neighbours.

Each mutant is the reference with one rule slightly wrong. If no case showed the difference, the
comparison with the simulator would prove nothing about that rule.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from .case_strategies import TICK_S
from .service_case import Case
from .service_reference import Gpu, Request, Service, simulate
from .simulator_adapter import fates_of, run_single
from .test_differential import difference, on_random_cases


class ArrivalsBeforeFinishes(Service):
    @property
    def rank_of_arrivals(self) -> int:
        return 0


class TiesToTheHigherNumber(Service):
    def dispatch(self, hosts: list[Gpu]) -> Gpu:
        if self.case.dispatcher == "least-work":
            return min(hosts, key=lambda gpu: (gpu.drain, -gpu.number))
        return min(hosts, key=lambda gpu: (gpu.requests(), -gpu.number))


class IdleGpusAreAllAlike(Service):
    def dispatch(self, hosts: list[Gpu]) -> Gpu:
        return min(hosts, key=lambda gpu: (max(gpu.drain, self.now), gpu.number))


class WaitingOnly(Service):
    def dispatch(self, hosts: list[Gpu]) -> Gpu:
        return min(hosts, key=lambda gpu: (gpu.requests() - len(gpu.running), gpu.number))


class OneCursorPerModel(Service):
    def dispatch(self, hosts: list[Gpu]) -> Gpu:
        # Turns are counted per model: the cursor seen is the one this model left behind.
        key = tuple(gpu.number for gpu in hosts)
        cursors = self.__dict__.setdefault("cursors", {})
        self.cursor = cursors.get(key, 0)
        chosen = super().dispatch(hosts)
        cursors[key] = chosen.number + 1
        return chosen


class YoungestHeadFirst(Service):
    def oldest_queue(self, gpu: Gpu) -> int:
        heads = {model: queue[0] for model, queue in gpu.queues.items() if queue}
        return max(heads, key=lambda model: heads[model].number)


class TiedHeadsByModel(Service):
    def oldest_queue(self, gpu: Gpu) -> int:
        heads = {model: queue[0] for model, queue in sorted(gpu.queues.items()) if queue}
        return min(heads, key=lambda model: heads[model].arrival)


class ShedOnlyIfHopelessAlone(Service):
    def is_hopeless(self, request: Request, gpu: Gpu, model: int, heading_for: int) -> bool:
        return super().is_hopeless(request, gpu, model, 1)


class StopBeforeShedding(Service):
    def is_hopeless(self, request: Request, gpu: Gpu, model: int, heading_for: int) -> bool:
        batch = self.__dict__.get("batch_so_far", [])
        stops = bool(batch) and self.would_make_head_miss(batch, gpu, model)
        return not stops and super().is_hopeless(request, gpu, model, heading_for)

    def walk(self, gpu: Gpu, model: int) -> list[Request]:
        queue, limit = gpu.queues[model], gpu.limits[model]
        self.batch_so_far = batch = list[Request]()
        while queue and len(batch) < limit:
            heading_for = min(limit, len(batch) + len(queue))
            if self.case.shed_expired and self.is_hopeless(queue[0], gpu, model, heading_for):
                self.drop(queue.pop(0), gpu, model, "shed")
            elif batch and self.would_make_head_miss(batch, gpu, model):
                break
            else:
                batch.append(queue.pop(0))
        return batch


class CapacityCountsTheRunning(Service):
    def is_full(self, gpu: Gpu, model: int) -> bool:
        return len(gpu.queues[model]) + len(gpu.running) >= self.case.queue_capacity


class GraceOfAHardDeadline(Service):
    def would_make_head_miss(self, batch: list[Request], gpu: Gpu, model: int) -> bool:
        finish = self.now + gpu.latency(model, len(batch) + 1)
        due = batch[0].arrival + batch[0].deadline + batch[0].grace
        return self.case.deadline_aware_batching and finish > due


class WeightsCountOnlyInTime(Service):
    def value_of_time(self, request: Request, lateness: float) -> float:
        kept = super().value_of_time(request, lateness)
        return kept if lateness <= 0 else kept / request.user.weight


class GraceOfTheFirstUserForAll(Service):
    def is_hopeless(self, request: Request, gpu: Gpu, model: int, heading_for: int) -> bool:
        first = Request(0, request.arrival, request.task, request.deadline, self.case.user(0))
        return super().is_hopeless(first, gpu, model, heading_for)


def of_kind(**rules: object) -> Callable[[Case], bool]:
    return lambda case: all(getattr(case, name) == value for name, value in rules.items())


MUTANTS = {
    ArrivalsBeforeFinishes: of_kind(),
    TiesToTheHigherNumber: lambda case: case.dispatcher != "round-robin",
    IdleGpusAreAllAlike: of_kind(dispatcher="least-work"),
    WaitingOnly: of_kind(dispatcher="shortest-queue"),
    OneCursorPerModel: of_kind(dispatcher="round-robin"),
    YoungestHeadFirst: of_kind(),
    TiedHeadsByModel: of_kind(),
    ShedOnlyIfHopelessAlone: of_kind(shed_expired=True),
    StopBeforeShedding: of_kind(shed_expired=True, deadline_aware_batching=True),
    CapacityCountsTheRunning: of_kind(),
    GraceOfAHardDeadline: of_kind(deadline_aware_batching=True),
    WeightsCountOnlyInTime: lambda case: len(case.classes) > 0,
    GraceOfTheFirstUserForAll: lambda case: len(case.classes) > 0 and case.shed_expired,
}


def shifted(case: Case, field: str, change: float) -> Case:
    value = getattr(case, field)
    moved = tuple(v + change for v in value) if isinstance(value, tuple) else value + change
    return replace(case, **{field: moved})


NEIGHBOURS: dict[str, Callable[[Case], Case]] = {
    "a tick more time": lambda case: shifted(case, "deadlines_s", TICK_S),
    "a tick less time": lambda case: shifted(case, "deadlines_s", -TICK_S),
    "a tick more grace": lambda case: shifted(case, "grace_s", TICK_S),
    "room for one more": lambda case: shifted(case, "queue_capacity", 1),
    "no shedding": lambda case: replace(case, shed_expired=False),
    "full batches": lambda case: replace(case, deadline_aware_batching=False),
    "hard": lambda case: replace(case, deadline_kind="hard", classes=(), users=()),
    "linear": lambda case: replace(case, deadline_kind="linear", classes=(), users=()),
    "users all alike": lambda case: replace(case, classes=(), users=()),
}


@pytest.fixture(scope="module")
def examples() -> list[Case]:
    found: list[Case] = []
    on_random_cases(lambda case, _: found.append(case), 800, same_every_time=True)
    return found


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_some_case_shows_a_wrong_rule(mutant: type[Service], examples: list[Case]):
    concerned = [case for case in examples if MUTANTS[mutant](case)]
    assert any(mutant(case).run(None) != simulate(case) for case in concerned)


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_some_case_shows_a_wrong_setting(neighbour: str, examples: list[Case]):
    assert any(simulate(NEIGHBOURS[neighbour](case)) != simulate(case) for case in examples)


def test_a_disagreement_is_reported(examples: list[Case]):
    case = next(c for c in examples if c.deadline_kind == "hard" and max(c.accuracy[0]) > 0)
    found, expected = fates_of(run_single(case), len(case.actions)), simulate(case)
    assert difference(expected, found) == 0
    for wrong in ({"gpu": 99}, {"outcome": "lost"}, {"finish_s": 1e9}, {"utility": 0.123}):
        with pytest.raises(AssertionError, match="request 0"):
            difference([replace(expected[0], **wrong), *expected[1:]], found)
