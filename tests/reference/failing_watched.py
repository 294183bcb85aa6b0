"""What routers see where machines fail and requests come back, from docs/service-model.md alone.

With exact signals, and with late ones: what is believed of a GPU is what its last scrape told,
unless something is known to have failed there since, and that breaks a circuit.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field, replace

import simpy

from .failing_reference import FailingService
from .late_signals import LateWatched, SeenGpu, Shown
from .observation_reference import RATE_WINDOWS_S, Step, Watched
from .service_case import REJECT, Case, Fate, WorldCase
from .service_reference import TICKS_PER_S, Gpu, Moment, Request


@dataclass
class FailingWatched(Watched, FailingService):
    """The service whose machines fail, and what its router sees with exact signals.

    Steps and observations are those of decisions.
    """

    world: WorldCase = field(kw_only=True)
    # Whose actions are all that a router may choose.
    chooses: Case = field(kw_only=True)

    def begin(self) -> None:
        FailingService.__init__(self, self.case, self.world)
        self.first = {gpus[0] for gpus in self.machines}
        self.failures = 0
        self.masks: list[list[bool]] = []

    def play(self) -> list[Fate]:
        fates = FailingService.play(self)
        ended = [fate.model for fate in fates if fate.outcome != "retried" and fate.model >= 0]
        self.routed_to = [ended.count(model) for model in range(self.models)]
        self.end_step()
        self.observe(None)
        return fates

    def run(self, until_s: float | None) -> list[Fate]:
        self.clock.process(self.arrive())
        while self.is_going_on:
            self.clock.step()
        return []

    @property
    def is_going_on(self) -> bool:
        """Until every request has come to its end, whatever becomes of machines."""
        return any(request.fate is None for request in self.requests)

    # Decisions.

    def before_decision(self, request: Request) -> None:
        elapsed_s = self.end_step() if self.steps else 0.0
        is_new = self.tries[request.number] + self.defers[request.number] == 0
        self.rates = [
            rate * math.exp(-elapsed_s / tau_s) + is_new / tau_s
            for rate, tau_s in zip(self.rates, RATE_WINDOWS_S, strict=True)
        ]
        self.pending, self.since = request, self.now
        self.steps.append(Step())
        self.observe(request)
        peak = request.user.weight * self.case.accuracy[request.task][self.models - 1]
        for totals in self.totals_of(request) if is_new else ():
            totals.routed += 1
            totals.peak += peak

    def decide(self, request: Request) -> None:
        super().decide(request)
        if request.fate and self.action_of(request) == REJECT:
            self.steps[-1].rejected += request.fate.utility
            for totals in self.totals_of(request)[1:]:
                totals.utility += request.fate.utility

    # What is known.

    @property
    def waited(self) -> int:
        assert self.pending
        return self.since - self.pending.arrival

    @property
    def left_s(self) -> float:
        """At least a tick, if it has waited."""
        if not self.waited:
            return self.deadline_s
        return max(self.deadline_s - self.waited / TICKS_PER_S, 2.0**-30)

    def past(self, request: Request | None) -> list[float]:
        if request is None:
            return [0.0, 0.0]
        return [math.log1p(self.tries[request.number]), log_ms(self.waited)]

    def leaving(self, gpu: Gpu) -> float:
        at = self.health(gpu)[1]
        return log_ms(max(at - self.now, 0))

    def seems_up(self, gpu: Gpu) -> bool:
        return FailingService.seems_up(self, gpu)

    def health(self, gpu: Gpu) -> tuple[bool, float]:
        return gpu.number not in self.down, self.leaves.get(gpu.number, math.inf)

    def observe(self, request: Request | None) -> None:
        super().observe(request)
        self.masks.append(self.mask(request))

    def mask(self, request: Request | None) -> list[bool]:
        """Of the actions: models or pairs, then reject, then defer, where there are any."""
        pairs = [[self.serves(gpu, m) for m in range(self.models)] for gpu in self.gpus]
        known = [[m in gpu.tables for m in range(self.models)] for gpu in self.gpus]
        chosen = pairs if any(map(any, pairs)) else known
        actions = self.chooses.actions
        flat = [any(of) for of in zip(*chosen, strict=True)]
        if any(isinstance(action, tuple) for action in actions):
            flat = [one for of_gpu in chosen for one in of_gpu]
        flat += [True] * (REJECT in actions)
        if self.world.most_defers:
            again = request is not None
            flat += [again and self.defers[request.number] < self.world.most_defers]
        return flat

    # What fails.

    def has_failed(self, request: Request, gpu: Gpu, model: int) -> None:
        """It comes back, or is lost, when it is its turn."""
        self.clock.process(self.settle(request, gpu, model))

    def settle(self, request: Request, gpu: Gpu, model: int) -> Generator[simpy.Event, None, None]:
        yield Moment(self.clock, self.now, self.rank_of_return(request))
        self.learn(gpu)
        super().has_failed(request, gpu, model)

    def learn(self, gpu: Gpu) -> None:
        """Something is known to have failed there."""

    def fail(self, gpu: Gpu) -> None:
        super().fail(gpu)
        # What happens before the clock begins does not count.
        self.failures += gpu.number in self.first and self.now > self.requests[0].arrival


@dataclass
class LateFailing(LateWatched, FailingWatched):
    """Likewise with signals that are late: dispatchers and masks go by what is believed."""

    def begin(self) -> None:
        super().begin()
        self.failed: dict[int, int] = {}

    def learn(self, gpu: Gpu) -> None:
        if self.late.breaks:
            self.failed[gpu.number] = self.now

    def seems_up(self, gpu: Gpu) -> bool:
        assert isinstance(gpu, SeenGpu)
        return gpu.health[0] and gpu.scraped >= self.failed.get(gpu.number, gpu.scraped)

    def found(self, gpu: Gpu, at: int) -> Shown:
        """Before the first scrape it is known how the episode begins, at second 0."""
        shown = super().found(gpu, at)
        if at >= 0:
            return shown
        begin = super().found(gpu, 0)
        return replace(shown, up=begin.up, leaves=begin.leaves)

    def leaving(self, gpu: Gpu) -> float:
        assert isinstance(gpu, SeenGpu)
        return log_ms(max(gpu.health[1] - self.now, 0))


def log_ms(ticks: float) -> float:
    return min(math.log1p(ticks / TICKS_PER_S * 1e3), 16.0)
