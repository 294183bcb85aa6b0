"""What episodes of continuous batching come to, from docs/continuous-batching.md alone.

Watches the reference that takes steps one by one. Like that, it shares no code with the simulator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from .continuous_case import Case, Fate, RequestCase
from .continuous_load import Due, Tokens, full, mixed, sustained_per_s
from .continuous_outlook import Engine
from .continuous_reference import FINE_PER_TICK, Request, Service, lateness
from .observation_reference import RATE_WINDOWS_S, Step, Totals

TICKS_PER_S = 2.0**30


@dataclass(frozen=True)
class Watching:
    """A case as its router sees it; user `c * T + t` is that of class c and task t.

    `exponential` are the users whose utility falls so; with `by_model` the dispatcher chooses the
    instance, whatever the actions say. Without `classes` there is one user for all tasks.
    """

    case: Case
    tasks: tuple[int, ...]
    accuracy: tuple[tuple[float, ...], ...]
    classes: int
    exponential: frozenset[int]
    dispatcher: str
    by_model: bool
    mean_tokens: tuple[Tokens, ...]
    weights: tuple[float, ...]
    due: Due

    @property
    def means(self) -> Tokens:
        return mixed(self.mean_tokens, self.weights)

    @property
    def load_1_per_s(self) -> float:
        largest = max(pool.model for pool in self.case.pools)
        hosts = [pool for pool in self.case.instances if pool.model == largest]
        return sustained_per_s(hosts, self.means, self.due)


@dataclass
class Episode(Service):
    """The service and its router; `load_1_per_s` is that of the document."""

    watching: Watching
    load_1_per_s: float
    steps: list[Step] = field(default_factory=list)
    fates: list[list[Fate]] = field(default_factory=list)

    instance = Engine

    def __post_init__(self) -> None:
        self.begin()
        watching = self.watching
        for engine in self.instances:
            engine.full = full(engine.pool, watching.means, watching.due)
            engine.answer_of = [watching.mean_tokens[task][1] for task in watching.tasks]
        self.models = len(watching.accuracy[0])
        self.number, self.now, self.over, self.cursor = 0, 0, False, 0
        self.rates = [0.0, 0.0]
        self.all = Totals()
        self.by_class = [Totals() for _ in range(watching.classes)]
        self.routed_to = [0] * self.models

    def begin(self) -> None:
        Service.__init__(self, self.watching.case)

    def play(self) -> None:
        requests, since = self.case.requests, None
        for self.number, request in enumerate(requests):
            self.now = request.arrival
            self.count_arrival(0 if since is None else self.now - since)
            self.observe()
            since = self.now
            self.decide(request)
            last = self.number + 1 == len(requests)
            self.end_step(math.inf if last else requests[self.number + 1].arrival, since)
        self.over = True
        self.observe()

    def count_arrival(self, elapsed: int, is_new: bool = True) -> None:
        self.rates = [
            rate * math.exp(-(elapsed / TICKS_PER_S) / tau_s) + is_new / tau_s
            for rate, tau_s in zip(self.rates, RATE_WINDOWS_S, strict=True)
        ]

    def observe(self) -> None:
        """Nobody looks."""

    # A step.

    def decide(self, request: RequestCase) -> None:
        task, action = self.watching.tasks[self.number], request.action
        peak = self.case.users[request.user].weight * self.watching.accuracy[task][-1]
        for totals in self.totals_of(self.number):
            totals.routed += 1
            totals.peak += peak
        if action is not None:
            place, model = action
            place = self.dispatch(model) if self.watching.by_model else place
            self.cursor = (place + 1) % len(self.instances)
            self.routed_to[model] += 1
            request = replace(request, action=(place, model))
        self.rejected = self.route(self.number, request)

    def dispatch(self, model: int) -> int:
        """The instance that the dispatcher would choose."""
        count = len(self.instances)
        hosts = [n for n in range(count) if self.serves(n, model)]
        if not hosts:
            return next(n for n in range(count) if self.hosts(n, model))
        if self.watching.dispatcher == "round-robin":
            return min(hosts, key=lambda n: (n - self.cursor) % count)
        if self.watching.dispatcher == "shortest-queue":
            return min(hosts, key=lambda n: self.held(n))
        return min(hosts, key=self.drain_of)

    def drain_of(self, place: int) -> float:
        return self.instances[place].drain

    def end_step(self, until: float, since: int) -> None:
        for engine in self.instances:
            engine.advance(until * FINE_PER_TICK)
        ended = [*self.rejected, *self.collect()]
        step = Step()
        for fate in ended:
            self.earn(fate, step)
        if math.isinf(until):
            until = max([since, *(fate.finish for fate in ended)])
        self.now = int(until)
        step.elapsed_s = (self.now - since) / TICKS_PER_S
        self.all.utility += step.in_time + step.late
        self.steps.append(step)
        self.fates.append(ended)

    def earn(self, fate: Fate, step: Step) -> None:
        if fate.outcome == "in time":
            step.in_time += fate.utility
        else:
            step.late += fate.utility
        for totals in self.totals_of(fate.number):
            totals.in_time += fate.outcome == "in time"
            if totals is not self.all:
                totals.utility += fate.utility

    def fate(self, end: int, place: int, request: Request, outcome: str) -> Fate:
        number, model = request.number, self.case.instances[place].model
        self.accuracy = self.watching.accuracy[self.watching.tasks[number]][model]
        found = super().fate(end, place, request, outcome)
        user = self.case.requests[number].user
        if found.outcome != "late" or user not in self.watching.exponential:
            return found
        late = lateness(request, found.first_token, found.finish) / request.user.grace
        kept = (math.exp(-5 * late) - math.exp(-5)) / (1 - math.exp(-5)) if late < 1 else 0.0
        return replace(found, utility=request.user.weight * self.accuracy * kept)

    def totals_of(self, number: int) -> list[Totals]:
        if not self.by_class:
            return [self.all]
        return [self.all, self.by_class[self.user_class(number)]]

    def user_class(self, number: int) -> int:
        return self.case.requests[number].user // len(self.watching.accuracy)

    def hosts(self, place: int, model: int) -> bool:
        return self.case.instances[place].model == model

    def serves(self, place: int, model: int) -> bool:
        """Whether it hosts the model, as far as is known."""
        return self.hosts(place, model) and self.seems_up(place)

    def seems_up(self, place: int) -> bool:
        """Nothing fails."""
        return True

    def held(self, place: int) -> int:
        return self.runs(place) + self.waits(place)

    def runs(self, place: int) -> int:
        return len(self.instances[place].running)

    def waits(self, place: int) -> int:
        return len(self.instances[place].waiting)

    @property
    def outcomes(self) -> list[str]:
        return [fate.outcome for fates in self.fates for fate in fates]

    def summary(self, load: float) -> dict[str, object]:
        """What info["summary"] holds at the end of an episode that has drained."""
        outcomes = self.outcomes
        totals, clock_s = self.all, self.now / TICKS_PER_S
        found: dict[str, object] = {
            "requests": totals.routed,
            "in_time": totals.in_time,
            **{name: outcomes.count(name) for name in ("late", "rejected", "shed", "aborted")},
            "in_flight": 0,
            "deadline_met": totals.in_time / totals.routed,
            "goodput_per_s": totals.in_time / clock_s if clock_s else 0.0,
            "duration_s": clock_s,
            "load": load,
            "share": {f"model-{m}": n / totals.routed for m, n in enumerate(self.routed_to)},
            **earned(totals),
        }
        if self.by_class:
            found["classes"] = {
                f"class-{c}": {
                    "requests": users.routed,
                    "deadline_met": users.in_time / max(users.routed, 1),
                    **earned(users),
                }
                for c, users in enumerate([totals] if len(self.by_class) == 1 else self.by_class)
            }
        return found


def earned(totals: Totals) -> dict[str, float]:
    return {
        "utility": totals.utility,
        "peak_utility": totals.peak,
        "utility_of_peak": totals.utility / totals.peak if totals.peak > 0 else 0.0,
    }
