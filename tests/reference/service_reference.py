"""The service model once more: SimPy processes and Python lists, slow and meant to be obvious.

Written from `docs/service-model.md` alone. It shares no code with the compiled simulator, so that
where both agree a mistake would have to be made twice. All times inside are whole ticks (Python
integers, or infinity), which makes "finishes at exactly the deadline" a comparison of integers.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field

import simpy

from .service_case import REJECT, Action, Case, Fate, PoolCase, UserCase

TICKS_PER_S = 2**30


@dataclass(eq=False)
class Request:
    """A request on its way; `number` counts in the order of the trace, times are ticks."""

    number: int
    arrival: int
    task: int
    deadline: float
    user: UserCase
    fate: Fate | None = None
    decision: int = -1

    @property
    def grace(self) -> float:
        return to_ticks_or_infinity(self.user.grace_s)


@dataclass
class Gpu:
    """One GPU: the tables of its models in ticks, its queues, the batch it runs."""

    number: int
    tables: dict[int, tuple[int, ...]]
    limits: dict[int, int]
    queues: dict[int, list[Request]] = field(init=False)
    running: list[Request] = field(default_factory=list)
    running_model: int = -1
    running_until: int = 0
    idle_since: int = 0
    drain: int = 0
    outages: int = 0

    def __post_init__(self) -> None:
        self.queues = {model: [] for model in self.tables}

    def latency(self, model: int, batch: int) -> int:
        return self.tables[model][batch - 1] if batch else 0

    def work(self, model: int, waiting: int) -> int:
        full, rest = divmod(waiting, self.limits[model])
        return full * self.latency(model, self.limits[model]) + self.latency(model, rest)

    def work_of_all_queues(self) -> int:
        return sum(self.work(model, len(queue)) for model, queue in self.queues.items())

    def requests(self) -> int:
        return len(self.running) + sum(len(queue) for queue in self.queues.values())

    def drain_from_scratch(self) -> int:
        """The sentence that defines the drain time, without the rules that keep it up to date."""
        if self.running:
            return self.running_until + self.work_of_all_queues()
        return self.idle_since


def build_gpu(number: int, pool: PoolCase) -> Gpu:
    speed = pool.relative_speed
    tables = {m: tuple(to_ticks(s / speed) for s in table) for m, table in pool.latency_s.items()}
    return Gpu(number, tables, pool.batch_limit)


class Moment(simpy.Event):
    """A timeout whose rank orders it among events of the same time (SimPy's own has none)."""

    def __init__(self, clock: simpy.Environment, at: int, rank: int) -> None:
        super().__init__(clock)
        self._ok = True
        self._value = None
        clock.schedule(self, priority=rank, delay=at - clock.now)  # type: ignore[arg-type]


def to_ticks(seconds: float) -> int:
    return round(seconds * TICKS_PER_S)


def to_ticks_or_infinity(seconds: float) -> float:
    return seconds if math.isinf(seconds) else to_ticks(seconds)


def simulate(case: Case, until_s: float | None = None) -> list[Fate]:
    """The fate of every request, in the order of the trace.

    Args:
        case: The experiment.
        until_s: Stop after everything that happens at this time; by default run until all drained.
    """
    return Service(case).run(until_s)


class Service:
    """The cluster in time. GPU g's events rank 1 + g, arrivals after them, the end of time last."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.clock = simpy.Environment()
        kinds = [pool for pool in case.pools for _ in range(pool.gpus)]
        self.gpus = [build_gpu(number, pool) for number, pool in enumerate(kinds)]
        self.cursor = 0
        self.requests = [
            Request(
                number, to_ticks(arrival), task, to_ticks_or_infinity(deadline), case.user(number)
            )
            for number, (arrival, task, deadline) in enumerate(
                zip(case.arrivals_s, case.tasks, case.deadlines_s, strict=True)
            )
        ]

    @property
    def now(self) -> int:
        return int(self.clock.now)

    @property
    def rank_of_arrivals(self) -> int:
        return len(self.gpus) + 1

    def run(self, until_s: float | None) -> list[Fate]:
        self.clock.process(self.arrive())
        if until_s is None:
            self.clock.run()
        else:
            self.clock.run(until=Moment(self.clock, to_ticks(until_s), self.rank_of_arrivals + 1))
        in_flight = Fate("in flight", -1, -1, 0, None, None, 0.0)
        return [request.fate or in_flight for request in self.requests]

    def arrive(self) -> Generator[simpy.Event, None, None]:
        for request in self.requests:
            yield Moment(self.clock, request.arrival, self.rank_of_arrivals)
            self.decide(request)

    def decide(self, request: Request) -> None:
        self.before_decision(request)
        action = self.case.actions[request.number]
        if action == REJECT:
            request.fate = Fate("rejected", -1, -1, 0, None, self.now / TICKS_PER_S, 0.0)
        else:
            self.send(request, *self.route(action))

    def send(self, request: Request, gpu: Gpu, model: int) -> None:
        if not self.hosts(gpu, model) or self.is_full(gpu, model):
            self.drop(request, gpu, model, "rejected")
            return
        self.join(gpu, model, request)
        if not gpu.running:
            # SimPy starts a new process before anything else that is due at this time.
            self.clock.process(self.busy_period(gpu))

    def before_decision(self, request: Request) -> None:
        """What a router would see now: for whoever watches."""

    def route(self, action: Action) -> tuple[Gpu, int]:
        if isinstance(action, tuple):
            self.cursor = (action[0] + 1) % len(self.gpus)
            return self.gpus[action[0]], action[1]
        chosen = self.dispatch(self.hosts_of(action))
        self.cursor = (chosen.number + 1) % len(self.gpus)
        return chosen, action

    def hosts_of(self, model: int) -> list[Gpu]:
        return [gpu for gpu in self.gpus if self.hosts(gpu, model)]

    def dispatch(self, hosts: list[Gpu]) -> Gpu:
        if self.case.dispatcher == "least-work":
            for gpu in hosts:
                assert gpu.drain == gpu.drain_from_scratch(), "the document contradicts itself"
            return min(hosts, key=lambda gpu: (gpu.drain, gpu.number))
        if self.case.dispatcher == "shortest-queue":
            return min(hosts, key=lambda gpu: (gpu.requests(), gpu.number))
        assert self.case.dispatcher == "round-robin", self.case.dispatcher
        return min(hosts, key=lambda gpu: (gpu.number - self.cursor) % len(self.gpus))

    @staticmethod
    def hosts(gpu: Gpu, model: int) -> bool:
        return model in gpu.tables

    def is_full(self, gpu: Gpu, model: int) -> bool:
        return len(gpu.queues[model]) >= self.case.queue_capacity

    def join(self, gpu: Gpu, model: int, request: Request) -> None:
        waiting = len(gpu.queues[model])
        added_work = gpu.work(model, waiting + 1) - gpu.work(model, waiting)
        gpu.drain = max(gpu.drain, self.now) + added_work
        gpu.queues[model].append(request)

    def busy_period(self, gpu: Gpu) -> Generator[simpy.Event, None, None]:
        outages = gpu.outages
        while any(gpu.queues.values()):
            model, batch = self.form_batch(gpu)
            if not batch:
                gpu.idle_since = gpu.drain = self.now
                return
            start = self.now
            gpu.running, gpu.running_model = batch, model
            gpu.running_until = start + gpu.latency(model, len(batch))
            gpu.drain = gpu.running_until + gpu.work_of_all_queues()
            yield Moment(self.clock, gpu.running_until, 1 + gpu.number)
            if gpu.outages > outages:
                return
            for request in batch:
                request.fate = self.served(request, gpu, model, len(batch), start)
            gpu.running = []
            gpu.idle_since = self.now

    def form_batch(self, gpu: Gpu) -> tuple[int, list[Request]]:
        """Takes the batch out of its queue; it is empty only if all that waited was shed."""
        while any(gpu.queues.values()):
            model = self.oldest_queue(gpu)
            batch = self.walk(gpu, model)
            if batch:
                return model, batch
        return -1, []

    def oldest_queue(self, gpu: Gpu) -> int:
        """The model whose head comes first in the trace, and therefore arrived first."""
        heads = {model: queue[0] for model, queue in gpu.queues.items() if queue}
        return min(heads, key=lambda model: (heads[model].arrival, heads[model].number))

    def walk(self, gpu: Gpu, model: int) -> list[Request]:
        queue, batch = gpu.queues[model], list[Request]()
        while queue and len(batch) < gpu.limits[model]:
            heading_for = min(gpu.limits[model], len(batch) + len(queue))
            if self.case.shed_expired and self.is_hopeless(queue[0], gpu, model, heading_for):
                self.drop(queue.pop(0), gpu, model, "shed")
            elif batch and self.would_make_head_miss(batch, gpu, model):
                break
            else:
                batch.append(queue.pop(0))
        return batch

    def is_hopeless(self, request: Request, gpu: Gpu, model: int, heading_for: int) -> bool:
        size = 1 if self.case.deadline_aware_batching else heading_for
        grace = 0 if request.user.deadline_kind == "hard" else request.grace
        return self.now + gpu.latency(model, size) > request.arrival + request.deadline + grace

    def would_make_head_miss(self, batch: list[Request], gpu: Gpu, model: int) -> bool:
        finish = self.now + gpu.latency(model, len(batch) + 1)
        head_deadline = batch[0].arrival + batch[0].deadline
        return self.case.deadline_aware_batching and finish > head_deadline

    def drop(self, request: Request, gpu: Gpu, model: int, outcome: str) -> None:
        request.fate = Fate(outcome, gpu.number, model, 0, None, self.now / TICKS_PER_S, 0.0)

    def served(self, request: Request, gpu: Gpu, model: int, batch: int, start: int) -> Fate:
        lateness = self.now - request.arrival - request.deadline
        outcome = "in time" if lateness <= 0 else "late"
        accuracy = self.case.accuracy[request.task][model]
        utility = request.user.weight * accuracy * self.value_of_time(request, lateness)
        times = start / TICKS_PER_S, self.now / TICKS_PER_S
        return Fate(outcome, gpu.number, model, batch, *times, utility)

    def value_of_time(self, request: Request, lateness: float) -> float:
        kind = request.user.deadline_kind
        if lateness <= 0:
            return 1.0
        if kind == "hard" or lateness >= request.grace:
            return 0.0
        x = lateness / request.grace
        if kind == "linear":
            return 1 - x
        assert kind == "exponential", kind
        return (math.exp(-5 * x) - math.exp(-5)) / (1 - math.exp(-5))
