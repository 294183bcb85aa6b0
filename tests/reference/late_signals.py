"""Signals that are late, noisy or lost, from the rules of docs/service-model.md.

Keeps all that every GPU has ever shown, and looks up what its scrapes found: nothing is taken when
it happens, and nothing is kept of what was seen before.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache

from .observation_reference import MASK, Watched, uniform
from .service_case import Action, Fate
from .service_reference import TICKS_PER_S, Gpu, Request

GAMMA = 0x9E3779B97F4A7C15


@lru_cache(maxsize=2**16)
def number(state: int, k: int) -> tuple[int, float]:
    """Number k of a stream: its 64 bits, and what they stand for."""
    _, value = uniform((state + (k - 1) * GAMMA) & MASK)
    z = (state + k * GAMMA) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31), value


@dataclass(frozen=True)
class Lateness:
    """How late signals are, in ticks; `state` is the env's when the episode begins."""

    interval: int
    delay: int
    noise: float
    lost: float
    reckons: bool
    breaks: bool
    state: int

    def of_gpu(self, gpu: int) -> int:
        return number(self.state ^ 0x5C4A9E5C4A9E5C4B, gpu + 1)[0]

    def of_scrape(self, gpu: int, k: int) -> int:
        return number(self.of_gpu(gpu), k + 2)[0]

    def phase(self, gpu: int) -> int:
        return math.floor(number(self.of_gpu(gpu), 1)[1] * self.interval)

    def at(self, gpu: int, k: int) -> int:
        return self.phase(gpu) + k * self.interval

    def is_lost(self, gpu: int, k: int) -> bool:
        return number(self.of_scrape(gpu, k), 1)[1] < self.lost

    def seen(self, gpu: int, now: int) -> int:
        """The last scrape that has arrived before now; -1 for that before the episode."""
        k = (now - self.delay - self.phase(gpu)) // self.interval + 1
        while k >= 0 and (self.at(gpu, k) + self.delay >= now or self.is_lost(gpu, k)):
            k -= 1
        return max(k, -1)

    def factor(self, gpu: int, k: int, what: int) -> float:
        stream = self.of_scrape(gpu, k)
        u, v = number(stream, 2 + 2 * what)[1], number(stream, 3 + 2 * what)[1]
        normal = math.sqrt(-2.0 * math.log(1.0 - u)) * math.cos(2.0 * math.pi * v)
        return math.exp(self.noise * normal - self.noise * self.noise / 2)

    def count(self, gpu: int, k: int, what: int, count: int) -> int:
        if k < 0 or self.noise == 0.0:
            return count
        return round(count * self.factor(gpu, k, what))

    def until(self, gpu: int, k: int, what: int, until: int) -> int:
        if k < 0 or self.noise == 0.0:
            return until
        left = max(until - self.at(gpu, k), 0) / TICKS_PER_S
        return self.at(gpu, k) + round(left * self.factor(gpu, k, what) * TICKS_PER_S)


@dataclass
class SeenGpu(Gpu):
    """What is seen of a GPU; only the lengths of its lists mean something."""

    scraped: int = 0
    health: tuple[bool, float] = True, math.inf
    sent: dict[int, int] = field(default_factory=dict)

    def drain_from_scratch(self) -> int:
        return self.drain


@dataclass(frozen=True)
class Shown:
    """What a GPU shows from some time on."""

    waiting: dict[int, int]
    running: int
    model: int
    until: int
    drain: int
    up: bool = True
    leaves: float = math.inf


@dataclass
class LateWatched(Watched):
    """The service whose router and dispatcher see what scrapes have brought."""

    late: Lateness = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        # Of every GPU all moments when it changed, and what it showed after each.
        self.moments: list[list[int]] = [[] for _ in self.gpus]
        self.shown: list[list[Shown]] = [[] for _ in self.gpus]
        self.sent: list[tuple[int, int, int]] = []
        self.really = self.gpus

    def run(self, until_s: float | None) -> list[Fate]:
        assert until_s is None
        self.clock.process(self.arrive())
        while self.is_going_on:
            self.clock.step()
            for gpu in self.really:
                self.keep(gpu)
        return [request.fate for request in self.requests if request.fate]

    def keep(self, gpu: Gpu) -> None:
        waiting = {model: len(queue) for model, queue in gpu.queues.items()}
        running = len(gpu.running), gpu.running_model if gpu.running else -1
        shown = Shown(waiting, *running, gpu.running_until, gpu.drain, *self.health(gpu))
        moments, before = self.moments[gpu.number], self.shown[gpu.number]
        if moments and moments[-1] == self.now:
            moments.pop()
            before.pop()
        if not before or before[-1] != shown:
            moments.append(self.now)
            before.append(shown)

    def found(self, gpu: Gpu, at: int) -> Shown:
        """What a scrape at a tick found: all that happens then has happened."""
        k = bisect_right(self.moments[gpu.number], at)
        return self.shown[gpu.number][k - 1] if k else Shown({}, 0, -1, 0, 0)

    def see(self, gpu: Gpu) -> SeenGpu:
        late, g = self.late, gpu.number
        k = late.seen(g, self.now)
        scraped = late.at(g, k)
        shown = self.found(gpu, scraped)
        health = shown.up, shown.leaves
        seen = SeenGpu(g, gpu.tables, gpu.limits, scraped=scraped, health=health)
        for model in gpu.tables:
            waiting = late.count(g, k, 2 + 2 * model, shown.waiting.get(model, 0))
            seen.queues[model] = [self.requests[0]] * waiting
        if shown.running:
            running = late.count(g, k, 3 + 2 * shown.model, shown.running)
            seen.running = [self.requests[0]] * max(running, 1)
            seen.running_model = shown.model
            seen.running_until = late.until(g, k, 0, shown.until)
        seen.drain = late.until(g, k, 1, shown.drain)
        for at, to, model in self.sent:
            if to == g and at > scraped:
                self.add_sent(seen, at, model)
        return seen

    def add_sent(self, seen: SeenGpu, at: int, model: int) -> None:
        seen.sent[model] = seen.sent.get(model, 0) + 1
        if self.late.reckons:
            queue = seen.queues[model]
            added = seen.work(model, len(queue) + 1) - seen.work(model, len(queue))
            seen.drain = max(seen.drain, at) + added
            queue.append(self.requests[0])

    def join(self, gpu: Gpu, model: int, request: Request) -> None:
        super().join(gpu, model, request)
        self.sent.append((self.now, gpu.number, model))

    def observe(self, request: Request | None) -> None:
        self.gpus = self.view = [self.see(gpu) for gpu in self.really]
        super().observe(request)
        self.gpus = self.really

    def route(self, action: Action) -> tuple[Gpu, int]:
        # What was observed for this decision: no time has passed.
        self.gpus = self.view
        chosen, model = super().route(action)
        self.gpus = self.really
        return self.gpus[chosen.number], model

    def age(self, gpu: Gpu) -> float:
        assert isinstance(gpu, SeenGpu)
        return min(math.log1p(10.0 * ((self.now - gpu.scraped) / TICKS_PER_S)), 16.0)

    def on_its_way(self, gpu: Gpu, model: int) -> float:
        return super().on_its_way(self.really[gpu.number], model)

    def sent_to(self, gpu: Gpu, model: int) -> int:
        assert isinstance(gpu, SeenGpu)
        return gpu.sent.get(model, 0)
