"""What routers see of continuous batching where machines fail, with exact and with late signals."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .continuous_case import Fate
from .continuous_failing import CHANGE, COMES_BACK, FailingEngines, FailingInstance, Try, ticks
from .continuous_late_signals import LateWatched, Seen
from .continuous_observation_reference import Watched
from .continuous_outlook import Engine
from .continuous_reference import FINE_PER_TICK, Request
from .failing_watched import log_ms
from .observation_reference import Step
from .service_case import WorldCase


class FailingEngine(FailingInstance, Engine):
    """Knows its work; after it has failed there is none."""

    def join(self, request: Request, now: int) -> None:
        super().join(request, now)
        self.set_drain(now * FINE_PER_TICK)


@dataclass
class FailingWatched(Watched, FailingEngines):
    """An episode whose machines fail; steps and observations are those of decisions."""

    world: WorldCase = field(kw_only=True)

    instance = FailingEngine

    def begin(self) -> None:
        FailingEngines.__init__(self, self.watching.case, self.world)
        self.masks: list[list[bool]] = []
        self.failures, self.since, self.waited = 0, 0, 0
        places = range(len(self.instances))
        self.leaves: dict[int, float] = dict.fromkeys(places, math.inf)
        self.at_first = [self.told_at_first(place) for place in places]

    def play(self) -> None:
        FailingEngines.play(self)
        last = max([self.since, *(fate.finish for fate in self.fates.values())])
        self.end_step_at(last)
        self.now, self.over = last, True
        self.look_around()

    def plan(self) -> None:
        super().plan()
        notice, back = ticks(self.world.notice_s), {}
        for machine, from_s, until_s in sorted(self.world.outages) if notice else ():
            at = max(ticks(from_s) - notice, back.get(machine, 0))
            if at < ticks(from_s):
                self.at(at, CHANGE, machine, ("leaves", ticks(from_s)))
            back[machine] = ticks(until_s) + ticks(self.world.warm_up_s)

    def told_at_first(self, place: int) -> tuple[bool, float]:
        """Of an instance, at second 0: whether it is up, and when it will go."""
        own = [k for k, places in enumerate(self.machines) if place in places]
        begins = [ticks(from_s) for k, from_s, _ in self.world.outages if k in own]
        if 0 in begins:
            return False, math.inf
        known = [at for at in begins if at <= ticks(self.world.notice_s)]
        return True, min(known, default=math.inf)

    # Decisions.

    def decide(self, now: int, number: int) -> None:  # type: ignore[override]
        is_new = self.tries[number] + self.defers[number] == 0
        if self.steps:
            self.end_step_at(now)
        self.count_arrival(now - self.since if self.steps else 0, is_new)
        self.now = self.since = now
        self.number, self.waited = number, now - self.case.requests[number].arrival
        self.steps.append(Step())
        self.look_around()
        task, user = self.watching.tasks[number], self.case.requests[number].user
        for totals in self.totals_of(number) if is_new else ():
            totals.routed += 1
            totals.peak += self.case.users[user].weight * self.watching.accuracy[task][-1]
        FailingEngines.decide(self, now, number)
        fate = self.fates.get(self.decision_of[number])
        if fate and fate.outcome == "rejected":
            self.steps[-1].rejected += fate.utility
            for totals in self.totals_of(number)[1:]:
                totals.utility += fate.utility

    def send(self, now: int, number: int, action: tuple[int, int] | None) -> None:
        if action is not None:
            place, model = action
            place = self.dispatch(model) if self.watching.by_model else place
            self.cursor = (place + 1) % len(self.instances)
            self.routed_to[model] += 1
            action = place, model
        FailingEngines.send(self, now, number, action)

    def end_step_at(self, now: int) -> None:
        step = self.steps[-1]
        step.elapsed_s = (now - self.since) / 2.0**30
        self.all.utility += step.in_time + step.late + step.rejected

    def note(self, fate: Fate) -> None:
        super().note(fate)
        self.earn(fate, self.steps[-1])

    @property
    def outcomes(self) -> list[str]:
        return [fate.outcome for fate in self.fates.values()]

    # What fails.

    def happen(self, now: int, kind: int, number: int, what: tuple[str, int] | Try | None) -> None:
        if kind == CHANGE and isinstance(what, tuple) and what[0] == "leaves":
            self.leaves.update(dict.fromkeys(self.machines[number], what[1]))
        else:
            super().happen(now, kind, number, what)

    def fail(self, now: int, machine: int) -> None:
        super().fail(now, machine)
        self.leaves.update(dict.fromkeys(self.machines[machine], math.inf))
        for place in self.machines[machine]:
            self.instances[place].drain = now * FINE_PER_TICK
        # What happens before the clock begins does not count.
        self.failures += now > self.case.requests[0].arrival

    def may_retry(self, now: int, number: int, failed_at: tuple[int, int]) -> bool:
        self.learn(now, failed_at[0])
        again = super().may_retry(now, number, failed_at)
        self.routed_to[failed_at[1]] -= again
        return again

    def learn(self, now: int, place: int) -> None:
        """Something is known to have failed there."""

    # What is known.

    def health(self, place: int) -> tuple[bool, float]:
        return place not in self.down, self.leaves[place]

    def seems_up(self, place: int) -> bool:
        return self.health(place)[0]

    def leaving(self, place: int) -> float:
        return log_ms(max(self.health(place)[1] - self.now, 0))

    def past(self) -> list[float]:
        if self.over:
            return [0.0, 0.0]
        return [math.log1p(self.tries[self.number]), log_ms(self.waited)]

    def look_around(self) -> None:
        """What is seen, and what may be done: models or pairs, reject, and maybe defer."""
        self.observe()
        places, models = range(len(self.instances)), range(self.models)
        pairs = [[self.serves(n, m) for m in models] for n in places]
        if not any(map(any, pairs)):
            pairs = [[self.hosts(n, m) for m in models] for n in places]
        mask = [any(of) for of in zip(*pairs, strict=True)]
        if not self.watching.by_model:
            mask = [one for of in pairs for one in of]
        mask.append(True)
        if self.world.most_defers:
            mask.append(not self.over and self.defers[self.number] < self.world.most_defers)
        self.masks.append(mask)


@dataclass
class LateFailing(LateWatched, FailingWatched):
    """Likewise with signals that are late."""

    def begin(self) -> None:
        super().begin()
        self.failed: dict[int, int] = {}
        self.told: dict[tuple[int, int], tuple[bool, float]] = {}

    def advance(self, until: float) -> None:
        # Nobody looks before the next decision, or if there will be none before the end.
        looks, end = until, until
        if self.all_are_held:
            looks = min(until, self.last_end(self.since))
            end = min(until, looks + 4)
        for place, engine in enumerate(self.instances):
            k = max(self.looked[place], self.late.seen(place, int(looks)))
            while self.late.at(place, k) < end:
                at = self.late.at(place, k)
                engine.advance(at * FINE_PER_TICK)
                self.found[place][k] = Seen(engine, at)
                self.told[place, k] = super().health(place)
                k += 1
            self.looked[place] = k
        super().advance(until)

    @property
    def all_are_held(self) -> bool:
        """Whether all that have not come to their end are at an instance."""
        held = sum(len(one.running) + len(one.waiting) for one in self.instances)
        ended = [fate for fate in self.fates.values() if fate.outcome not in COMES_BACK]
        return held == len(self.case.requests) - len(ended)

    def takes(self, now: int, number: int, place: int, model: int) -> bool:
        taken = super().takes(now, number, place, model)
        if taken:
            prompt = self.case.requests[number].prompt_tokens
            self.sent.append((now, place, prompt, self.instances[place].work(*self.pending)))
        return taken

    def learn(self, now: int, place: int) -> None:
        if self.late.breaks:
            self.failed[place] = now

    def see(self, place: int) -> Seen:
        seen, k = super().see(place), self.late.seen(place, self.now)
        usual = self.at_first[place] if k < 0 else super().health(place)
        up, leaves = self.told.get((place, k), usual)
        seen.health = up and seen.at >= self.failed.get(place, seen.at), leaves
        return seen

    def health(self, place: int) -> tuple[bool, float]:
        return self.view[place].health
