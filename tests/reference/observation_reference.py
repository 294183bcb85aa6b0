"""Observations, rewards and summaries from the formulas of docs/service-model.md alone.

Watches the reference of the service model. Like that, it shares no code with the simulator: plain
Python floats, rounded to float32 at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .service_case import Case, Fate
from .service_reference import TICKS_PER_S, Gpu, Request, Service

RATE_WINDOWS_S = (0.2, 2.0)


@dataclass
class Step:
    """What one decision led to: reward terms and time until the next one, or the end."""

    in_time: float = 0.0
    late: float = 0.0
    elapsed_s: float = 0.0
    rejected: float = 0.0


@dataclass
class Totals:
    """Of all requests, or of one class."""

    routed: int = 0
    in_time: int = 0
    utility: float = 0.0
    peak: float = 0.0

    @property
    def share_of_peak(self) -> float:
        return self.utility / self.peak if self.peak > 0.0 else 0.0


@dataclass
class Watched(Service):
    """The service, and what its router sees; `load_1_per_s` as the document defines it."""

    case: Case
    load_1_per_s: float
    observations: list[list[float]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.begin()
        self.pending: Request | None = None
        self.rates = [0.0, 0.0]
        self.models = len(self.case.accuracy[0])
        self.all = Totals()
        self.by_class = [Totals() for _ in self.case.classes]
        self.routed_to = [0] * self.models

    def begin(self) -> None:
        Service.__init__(self, self.case)

    def play(self) -> list[Fate]:
        fates = self.run(None)
        self.end_step()
        self.observe(None)
        return fates

    def before_decision(self, request: Request) -> None:
        elapsed_s = self.end_step() if self.pending else 0.0
        self.rates = [
            rate * math.exp(-elapsed_s / tau_s) + 1.0 / tau_s
            for rate, tau_s in zip(self.rates, RATE_WINDOWS_S, strict=True)
        ]
        self.pending = request
        self.since = self.now
        self.steps.append(Step())
        self.observe(request)
        # The model with the most parameters is the last one here.
        peak = request.user.weight * self.case.accuracy[request.task][self.models - 1]
        for totals in self.totals_of(request):
            totals.routed += 1
            totals.peak += peak
        action = self.case.actions[request.number]
        if not isinstance(action, str):
            self.routed_to[action[1] if isinstance(action, tuple) else action] += 1

    def end_step(self) -> float:
        step = self.steps[-1]
        step.elapsed_s = (self.now - self.since) / TICKS_PER_S
        self.all.utility += step.in_time + step.late + step.rejected
        return step.elapsed_s

    def totals_of(self, request: Request) -> list[Totals]:
        own = [self.by_class[self.case.users[request.number]]] if self.by_class else []
        return [self.all, *own]

    def served(self, request: Request, gpu: Gpu, model: int, batch: int, start: int) -> Fate:
        fate = super().served(request, gpu, model, batch, start)
        if fate.outcome == "in time":
            self.steps[-1].in_time += fate.utility
        else:
            self.steps[-1].late += fate.utility
        for totals in self.totals_of(request):
            totals.in_time += fate.outcome == "in time"
            if totals is not self.all:
                totals.utility += fate.utility
        return fate

    def observe(self, request: Request | None) -> None:
        """The columns of every feature, in the order of the document's table."""
        task = [float(request is not None and t == request.task) for t in self.tasks]
        fast, slow = (rate / self.load_1_per_s for rate in self.rates)
        row = [*task, log_rate(fast), log_rate(slow)]
        row += [self.backlog(m) for m in range(self.models)]
        row += [self.count(m, "running") / self.full(m) for m in range(self.models)]
        row += [sum(bool(gpu.running) for gpu in self.gpus) / len(self.gpus)]
        row += [self.slack(self.dispatch(self.hosts_of(m)), m) for m in range(self.models)]
        row += [math.log(min(max(self.left_s, 1e-6), 8e6))]
        for feature in (self.slack, self.gpu_work, self.gpu_backlog, self.gpu_running):
            row += [feature(gpu, m) for gpu in self.gpus for m in range(self.models)]
        row += [
            min((self.count(m, "waiting") + self.count(m, "running")) / self.full(m), 10_000.0)
            for m in range(self.models)
        ]
        row += [min(slow, 10_000.0)]
        row += [min(math.log1p(self.grace_s / max(self.deadline_s, 1e-6)), 16.0)]
        row += [min(fast, 10_000.0)]
        classes = range(max(len(self.case.classes), 1))
        user = self.case.users[request.number] if request and self.case.classes else 0
        row += [float(request is not None and c == user) for c in classes]
        # Of prompts and caches nothing is known: all tokens of an answer come at its end.
        row += [0.0]
        row += [self.ttft(self.dispatch(self.hosts_of(m)), m) for m in range(self.models)]
        others = self.elsewhere(16.0), self.elsewhere(1.0), self.elsewhere(16.0)
        for feature in others:
            row += [feature(self.dispatch(self.hosts_of(m)), m) for m in range(self.models)]
        for feature in (self.ttft, *others):
            row += [feature(gpu, m) for gpu in self.gpus for m in range(self.models)]
        row += [self.held(gpu, m) for gpu in self.gpus for m in range(self.models)]
        row += [self.age(self.dispatch(self.hosts_of(m))) for m in range(self.models)]
        sent = [[self.sent_to(gpu, m) for m in range(self.models)] for gpu in self.gpus]
        row += [min(math.log1p(sum(of_model)), 16.0) for of_model in zip(*sent, strict=True)]
        row += [self.age(gpu) for gpu in self.gpus]
        row += [min(math.log1p(count), 16.0) for of_gpu in sent for count in of_gpu]
        row += [self.on_its_way(gpu, m) for gpu in self.gpus for m in range(self.models)]
        row += [float(self.seems_up(gpu)) for gpu in self.gpus]
        row += [self.leaving(gpu) for gpu in self.gpus]
        row += self.past(request)
        self.observations.append(row)

    # Nothing fails, nobody comes back.

    @property
    def is_going_on(self) -> bool:
        return self.clock.peek() < math.inf

    def health(self, gpu: Gpu) -> tuple[bool, float]:
        """Whether it is up, and when it will go, as far as that is told."""
        return True, math.inf

    def seems_up(self, gpu: Gpu) -> bool:
        return True

    def leaving(self, gpu: Gpu) -> float:
        return 16.0

    def past(self, request: Request | None) -> list[float]:
        return [0.0, 0.0]

    @property
    def left_s(self) -> float:
        """What is left of the deadline."""
        return self.deadline_s

    def serves(self, gpu: Gpu, model: int) -> bool:
        """Whether it hosts the model, as far as is known."""
        return model in gpu.tables and self.seems_up(gpu)

    @property
    def tasks(self) -> range:
        return range(len(self.case.accuracy))

    @property
    def deadline_s(self) -> float:
        """Of the pending request; after the last one, of the last one."""
        assert self.pending
        return self.pending.deadline / TICKS_PER_S

    @property
    def grace_s(self) -> float:
        assert self.pending
        hard = self.pending.user.deadline_kind == "hard"
        return 0.0 if hard else self.pending.grace / TICKS_PER_S

    def count(self, model: int, what: str) -> int:
        if what == "running":
            return sum(len(g.running) for g in self.gpus if g.running and g.running_model == model)
        return sum(len(gpu.queues.get(model, ())) for gpu in self.gpus)

    def full(self, model: int) -> int:
        return len(self.gpus) * max(gpu.limits.get(model, 0) for gpu in self.gpus)

    def backlog(self, model: int) -> float:
        return min(math.log1p(self.count(model, "waiting") / len(self.gpus)), 16.0)

    def added_s(self, gpu: Gpu, model: int) -> float:
        waiting = len(gpu.queues[model])
        return (gpu.work(model, waiting + 1) - gpu.work(model, waiting)) / TICKS_PER_S

    def slack(self, gpu: Gpu, model: int) -> float:
        if not self.serves(gpu, model):
            return -16.0
        if math.isinf(self.left_s):
            return 1.0
        if self.left_s <= 0:
            return -16.0
        latency_s = self.latency_s(gpu, model)
        slack = 1.0 - latency_s / self.left_s
        return slack if slack >= -1.0 else max(-1.0 - math.log(-slack), -16.0)

    def latency_s(self, gpu: Gpu, model: int) -> float:
        return max(gpu.drain - self.now, 0) / TICKS_PER_S + self.added_s(gpu, model)

    def ttft(self, gpu: Gpu, model: int) -> float:
        if not self.serves(gpu, model):
            return 16.0
        return min(math.log1p(self.latency_s(gpu, model) * 1e3), 16.0)

    def elsewhere(self, value: float) -> Callable[[Gpu, int], float]:
        """A feature that is 0 but where the model is not hosted."""
        return lambda gpu, model: 0.0 if self.serves(gpu, model) else value

    def on_its_way(self, gpu: Gpu, model: int) -> float:
        runs = len(gpu.running) if gpu.running_model == model else 0
        return min(math.log1p(len(gpu.queues.get(model, ())) + runs), 16.0)

    def held(self, gpu: Gpu, model: int) -> float:
        runs = len(gpu.running) if gpu.running and gpu.running_model == model else 0
        return min(math.log1p(runs + len(gpu.queues.get(model, ()))), 16.0)

    def age(self, gpu: Gpu) -> float:
        """Signals are exact."""
        return 0.0

    def sent_to(self, gpu: Gpu, model: int) -> int:
        """What was sent is there."""
        return 0

    @property
    def per_s(self) -> float:
        """Load 1 per GPU: the unit of GPU time is its inverse."""
        return self.load_1_per_s / len(self.gpus)

    def gpu_work(self, gpu: Gpu, model: int) -> float:
        if not self.serves(gpu, model):
            return 16.0
        return min(self.added_s(gpu, model) * self.per_s, 16.0)

    def gpu_backlog(self, gpu: Gpu, model: int) -> float:
        return min(math.log(1.0 + len(gpu.queues.get(model, ()))), 16.0)

    def gpu_running(self, gpu: Gpu, model: int) -> float:
        if not gpu.running or gpu.running_model != model:
            return 0.0
        left_s = max(gpu.running_until - self.now, 0) / TICKS_PER_S
        return min(math.log(1.0 + left_s * self.per_s), 16.0)

    def rows(self) -> np.ndarray:
        return np.array(self.observations, np.float64).astype(np.float32)


def log_rate(load: float) -> float:
    return min(math.log(1.0 + load), 16.0)


def load_1_per_s(case: Case, deadline_s: float) -> float:
    """What the largest model, here the last, sustains alone: b* / T(b*) over its hosts."""
    largest, total = len(case.accuracy[0]) - 1, 0.0
    for pool in case.pools:
        if largest in pool.latency_s:
            table = [latency_s / pool.relative_speed for latency_s in pool.latency_s[largest]]
            best = max((b for b, t in enumerate(table, 1) if 2 * t <= deadline_s), default=1)
            total += pool.gpus * best / table[best - 1]
    return total


@dataclass(frozen=True)
class Window:
    """Which requests of the tape an episode replays, when they arrive in it, and at what load."""

    first: int
    arrivals_s: tuple[float, ...]
    load: float


MASK = 2**64 - 1


def uniform(state: int) -> tuple[int, float]:
    """The next state of SplitMix64 and its number in [0, 1)."""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return state, ((z ^ (z >> 31)) >> 11) * 2.0**-53


def draw_window(
    tape_s: list[float], span_s: float, tape_load: float, loads: tuple[float, float],
    window_s: float, state: int,
) -> tuple[int, Window]:  # fmt: skip
    """The window that the next two numbers of the stream choose, and the stream's next state."""
    state, position = uniform(state)
    state, level = uniform(state)
    load = loads[0] * (loads[1] / loads[0]) ** level
    stretch = tape_load / load
    length_s = window_s / stretch
    start_s = position * max(span_s - length_s, 0.0)
    first = sum(arrival_s < start_s for arrival_s in tape_s)
    end = sum(arrival_s < start_s + length_s for arrival_s in tape_s)
    if first == end:
        first = min(first, len(tape_s) - 1)
        end, start_s = first + 1, tape_s[first]
    since_s = [(arrival_s - start_s) * stretch for arrival_s in tape_s[first:end]]
    return state, Window(first, tuple(round(s * TICKS_PER_S) / TICKS_PER_S for s in since_s), load)


def summary(watched: Watched, fates: list[Fate], load: float) -> dict[str, object]:
    """What info["summary"] holds at the end of an episode that has drained."""
    counts = {name: sum(f.outcome == name for f in fates) for name in ("late", "rejected", "shed")}
    totals = watched.all
    clock_s = watched.now / TICKS_PER_S
    found: dict[str, object] = {
        "requests": totals.routed,
        "in_time": totals.in_time,
        **counts,
        "in_flight": 0,
        "utility": totals.utility,
        "peak_utility": totals.peak,
        "utility_of_peak": totals.share_of_peak,
        "deadline_met": totals.in_time / totals.routed,
        "goodput_per_s": totals.in_time / clock_s if clock_s else 0.0,
        "duration_s": clock_s,
        "load": load,
        "share": {f"model-{m}": n / totals.routed for m, n in enumerate(watched.routed_to)},
    }
    if watched.by_class:
        of_classes = watched.by_class if len(watched.by_class) > 1 else [totals]
        found["classes"] = {
            f"class-{c}": {
                "requests": users.routed,
                "utility": users.utility,
                "peak_utility": users.peak,
                "utility_of_peak": users.share_of_peak,
                "deadline_met": users.in_time / max(users.routed, 1),
            }
            for c, users in enumerate(of_classes)
        }
    return found
