"""Continuous batching where machines fail and requests come back, step by step in integers.

At one moment instances come first, then machines, then requests that come back, in the order of
their numbers, then arrivals. Moments are ticks, but for those of instances.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from dataclasses import dataclass, replace

from .continuous_case import Case, Fate, RequestCase
from .continuous_reference import FINE_PER_TICK, Instance, Request, Service
from .failing_reference import machines_of
from .service_case import WorldCase

DEFER = (-2, -2)
"""In place of an (instance, model): ask again later."""

CHANGE, RETURN, ARRIVAL = range(3)

COMES_BACK = ("retried", "deferred")


def ticks(seconds: float) -> int:
    return round(seconds * 2**30)


class FailingInstance(Instance):
    """Requests may come long after they arrived."""

    def join(self, request: Request, now: int) -> None:
        """Like `arrive`, of one who may have arrived before."""
        request.gone = max(request.gone, now * FINE_PER_TICK)
        self.waiting.append(request)
        if self.end is None:
            self.begin_step(now * FINE_PER_TICK)

    def fail(self) -> list[Request]:
        """Nothing is left, also of what was computed; who was there."""
        held = [*self.running, *self.waiting]
        self.queue, self.kept = deque(range(self.pool.blocks)), {}
        self.running, self.waiting, self.given, self.end = [], [], {}, None
        return held


@dataclass(frozen=True)
class Try:
    """A request that comes back, if it has failed from an (instance, model)."""

    number: int
    failed_at: tuple[int, int] | None


class FailingEngines(Service):
    """`fates` are those of decisions, by number of the decision, each with that of its request."""

    instance = FailingInstance

    def __init__(self, case: Case, world: WorldCase):
        super().__init__(case)
        self.world = world
        self.machines = machines_of([pool.instances for pool in case.pools], world)
        self.down: set[int] = set()
        self.fates: dict[int, Fate] = {}
        self.decision_of: dict[int, int] = {}
        self.tries: Counter[int] = Counter()
        self.defers: Counter[int] = Counter()
        self.decisions = 0
        self.events: list[tuple[int, int, int, tuple[str, int] | Try | None]] = []

    def play(self) -> list[Fate]:
        self.plan()
        for number, request in enumerate(self.case.requests):
            self.at(request.arrival, ARRIVAL, number, None)
        while self.events:
            now, kind, number, what = heapq.heappop(self.events)
            self.advance(now)
            if self.is_over:
                break
            self.happen(now, kind, number, what)
        self.advance(math.inf)
        return [self.fates[decision] for decision in range(self.decisions)]

    def plan(self) -> None:
        """What will become of machines."""
        for machine, from_s, until_s in self.world.outages:
            back = ticks(until_s) + ticks(self.world.warm_up_s)
            self.at(ticks(from_s), CHANGE, machine, ("down", machine))
            self.at(back, CHANGE, machine, ("up", machine))

    @property
    def is_over(self) -> bool:
        """Whether every request has come to its end."""
        ends = [fate for fate in self.fates.values() if fate.outcome not in COMES_BACK]
        return len(ends) == len(self.case.requests)

    def at(self, moment: int, kind: int, number: int, what: tuple[str, int] | Try | None) -> None:
        heapq.heappush(self.events, (moment, kind, number, what))  # type: ignore[misc]

    def advance(self, until: float) -> None:
        """Up to a tick."""
        for instance in self.instances:
            instance.advance(until * FINE_PER_TICK)
        for fate in self.collect():
            self.note(fate)

    def note(self, fate: Fate) -> None:
        """What a request that was answered has come to."""
        self.fates[self.decision_of[fate.number]] = fate

    def happen(self, now: int, kind: int, number: int, what: tuple[str, int] | Try | None) -> None:
        if kind == ARRIVAL:
            self.decide(now, number)
        elif isinstance(what, Try):
            if what.failed_at is None or self.may_retry(now, number, what.failed_at):
                self.decide(now, number)
        elif what is not None and what[0] == "down":
            self.fail(now, number)
        else:
            self.down -= set(self.machines[number])

    def fail(self, now: int, machine: int) -> None:
        self.down |= set(self.machines[machine])
        for place in self.machines[machine]:
            model = self.case.instances[place].model
            for request in self.instances[place].fail():
                self.at(now, RETURN, request.number, Try(request.number, (place, model)))

    def may_retry(self, now: int, number: int, failed_at: tuple[int, int]) -> bool:
        self.tries[number] += 1
        again = self.tries[number] < self.world.tries
        outcome = "retried" if again else "lost"
        self.fates[self.decision_of[number]] = self.nothing(now, number, outcome, failed_at[0])
        return again

    def nothing(self, now: int, number: int, outcome: str, place: int) -> Fate:
        utility = self.world.reject_utility if (outcome, place) == ("rejected", -1) else 0.0
        return Fate(number, outcome, place, now, now, now, 0, 0, utility)

    def decide(self, now: int, number: int) -> None:
        decision = self.decisions
        self.decisions += 1
        self.decision_of[number] = decision
        action = self.case.requests[decision % len(self.case.requests)].action
        if action == DEFER and self.defers[number] < self.world.most_defers:
            self.defers[number] += 1
            self.fates[decision] = self.nothing(now, number, "deferred", -1)
            self.at(now + ticks(self.world.wait_s), RETURN, number, Try(number, None))
        elif action == DEFER:
            rejected = self.nothing(now, number, "rejected", -1)
            self.fates[decision] = replace(rejected, utility=0.0)
        else:
            self.send(now, number, action)

    def send(self, now: int, number: int, action: tuple[int, int] | None) -> None:
        place, model = action or (-1, -1)
        if place >= 0 and self.case.instances[place].model == model and place in self.down:
            at = now + ticks(self.world.timeout_s)
            self.at(at, RETURN, number, Try(number, (place, model)))
        elif not self.takes(now, number, place, model):
            rejected = self.nothing(now, number, "rejected", place)
            self.fates[self.decision_of[number]] = rejected

    def takes(self, now: int, number: int, place: int, model: int) -> bool:
        if place < 0 or self.case.instances[place].model != model:
            return False
        case: RequestCase = self.case.requests[number]
        instance = self.instances[place]
        assert isinstance(instance, FailingInstance)
        limit = min(case.output_tokens, instance.longest - case.prompt_tokens)
        request = Request(number, case, self.case.users[case.user], limit)
        if instance.refuses(request):
            return False
        instance.join(request, now)
        return True
