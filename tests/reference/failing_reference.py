"""The service model where machines fail and requests come back, once more in SimPy.

Written from `docs/service-model.md`. At one moment GPUs come first, then machines, then requests
that come back, in the order of their numbers, then arrivals.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator
from itertools import accumulate

import simpy

from .service_case import DEFER, REJECT, Action, Case, Fate, WorldCase
from .service_reference import TICKS_PER_S, Gpu, Moment, Request, Service, to_ticks


def machines_of(sizes: list[int], world: WorldCase) -> list[list[int]]:
    """The GPUs of every machine, where pools have so many."""
    found = []
    for pool, (end, size) in enumerate(zip(accumulate(sizes), sizes, strict=True)):
        if not world.pools or pool in world.pools:
            gpus = list(range(end - size, end))
            width = world.gpus_per_machine
            found += [gpus[k : k + width] for k in range(0, size, width)]
    return found


class FailingService(Service):
    """`fates` are those of decisions, by number."""

    def __init__(self, case: Case, world: WorldCase) -> None:
        super().__init__(case)
        self.world = world
        self.machines = machines_of([pool.gpus for pool in case.pools], world)
        self.down: set[int] = set()
        self.leaves: dict[int, float] = {}
        self.decisions = 0
        self.fates: dict[int, Fate] = {}
        self.defers: Counter[int] = Counter()
        self.tries: Counter[int] = Counter()

    def play(self) -> list[Fate]:
        for number in range(len(self.machines)):
            self.clock.process(self.fail_and_come_back(number))
        self.run(None)
        for request in self.requests:
            assert request.fate is not None
            self.fates[request.decision] = request.fate
        return [self.fates[decision] for decision in range(self.decisions)]

    def rank_of_machine(self, number: int) -> int:
        return len(self.gpus) + 1 + number

    def rank_of_return(self, request: Request) -> int:
        return len(self.gpus) + len(self.machines) + 1 + request.number

    @property
    def rank_of_arrivals(self) -> int:
        return len(self.gpus) + len(self.machines) + len(self.requests) + 1

    @property
    def now_s(self) -> float:
        return self.now / TICKS_PER_S

    # Decisions.

    def decide(self, request: Request) -> None:
        request.decision = self.decisions
        self.decisions += 1
        self.before_decision(request)
        action = self.action_of(request)
        if action == DEFER and self.defers[request.number] < self.world.most_defers:
            self.defers[request.number] += 1
            self.fates[request.decision] = Fate("deferred", -1, -1, 0, None, self.now_s, 0.0)
            self.clock.process(self.come_back(request, to_ticks(self.world.wait_s)))
        elif isinstance(action, str):
            utility = self.world.reject_utility if action == REJECT else 0.0
            request.fate = Fate("rejected", -1, -1, 0, None, self.now_s, utility)
        else:
            self.send(request, *self.route(action))

    def action_of(self, request: Request) -> Action:
        return self.case.actions[request.decision % len(self.case.actions)]

    def send(self, request: Request, gpu: Gpu, model: int) -> None:
        if self.hosts(gpu, model) and gpu.number in self.down:
            self.clock.process(self.send_in_vain(request, gpu, model))
        else:
            super().send(request, gpu, model)

    def dispatch(self, hosts: list[Gpu]) -> Gpu:
        up = [gpu for gpu in hosts if self.seems_up(gpu)]
        return super().dispatch(up) if up else hosts[0]

    def seems_up(self, gpu: Gpu) -> bool:
        return gpu.number not in self.down

    # What fails.

    def come_back(self, request: Request, after: int) -> Generator[simpy.Event, None, None]:
        yield Moment(self.clock, self.now + after, self.rank_of_return(request))
        self.decide(request)

    def send_in_vain(
        self, request: Request, gpu: Gpu, model: int
    ) -> Generator[simpy.Event, None, None]:
        at = self.now + to_ticks(self.world.timeout_s)
        yield Moment(self.clock, at, self.rank_of_return(request))
        self.has_failed(request, gpu, model)

    def has_failed(self, request: Request, gpu: Gpu, model: int) -> None:
        self.tries[request.number] += 1
        if self.tries[request.number] == self.world.tries:
            request.fate = Fate("lost", gpu.number, model, 0, None, self.now_s, 0.0)
        else:
            fate = Fate("retried", gpu.number, model, 0, None, self.now_s, 0.0)
            self.fates[request.decision] = fate
            self.clock.process(self.come_back(request, 0))

    def fail_and_come_back(self, number: int) -> Generator[simpy.Event, None, None]:
        own = sorted(o[1:] for o in self.world.outages if o[0] == number)
        for from_s, until_s in own:
            notice = max(to_ticks(from_s) - to_ticks(self.world.notice_s), self.now)
            yield Moment(self.clock, notice, self.rank_of_machine(number))
            self.tell(number, to_ticks(from_s) if self.world.notice_s else math.inf)
            yield Moment(self.clock, to_ticks(from_s), self.rank_of_machine(number))
            self.tell(number, math.inf)
            for gpu in self.machines[number]:
                self.down.add(gpu)
                self.fail(self.gpus[gpu])
            back = to_ticks(until_s) + to_ticks(self.world.warm_up_s)
            yield Moment(self.clock, back, self.rank_of_machine(number))
            self.down -= set(self.machines[number])

    def tell(self, number: int, leaves: float) -> None:
        """When a machine will go, or that it will not."""
        self.leaves.update(dict.fromkeys(self.machines[number], leaves))

    def fail(self, gpu: Gpu) -> None:
        held = [(request, gpu.running_model) for request in gpu.running]
        held += [(request, model) for model, queue in gpu.queues.items() for request in queue]
        gpu.running = []
        for queue in gpu.queues.values():
            queue.clear()
        gpu.outages += 1
        gpu.idle_since = gpu.drain = self.now
        for request, model in held:
            self.has_failed(request, gpu, model)
