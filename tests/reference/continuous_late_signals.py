"""Late signals of continuous batching: instances are stopped at every scrape and looked at."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

from .continuous_case import Fate, RequestCase
from .continuous_observation_reference import Watched
from .continuous_outlook import FINE_PER_S, Engine, Outlook
from .continuous_reference import FINE_PER_TICK
from .late_signals import Lateness


class Seen(Outlook):
    """What a scrape found, at a tick, and what was sent since."""

    health: tuple[bool, float] = True, math.inf

    def __init__(self, engine: Engine, at: int):
        super().__init__(engine, at * FINE_PER_TICK, 1, 1.0)
        self.at, self.drain, self.sent = at, engine.drain, 0

    def blurred(self, late: Lateness, gpu: int, k: int, models: int) -> None:
        """With the noise of a scrape."""
        model = self.engine.pool.model
        self.waiting = late.count(gpu, k, 2 + 2 * model, self.waiting)
        if self.running:
            self.running = max(late.count(gpu, k, 3 + 2 * model, self.running), 1)
            self.until_end = late.count(gpu, k, 0, self.until_end)
        if self.decoding:
            decoding = max(late.count(gpu, k, 3 + 2 * model, self.decoding), 1)
            self.decoding = min(decoding, self.seqs)
        self.context = late.count(gpu, k, 2 + 2 * models, self.context)
        self.waiting_tokens = late.count(gpu, k, 3 + 2 * models, self.waiting_tokens)
        self.left = late.count(gpu, k, 4 + 2 * models, self.left)
        blocks = self.engine.pool.blocks
        taken = late.count(gpu, k, 5 + 2 * models, blocks - self.free)
        self.free = blocks - min(taken, blocks)
        if late.noise > 0.0:
            left_s = max(self.drain / FINE_PER_S - self.at / 2**30, 0.0)
            left = round(left_s * late.factor(gpu, k, 1) * 2**30)
            self.drain = (self.at + left) * FINE_PER_TICK


@dataclass
class LateWatched(Watched):
    """An episode whose router and dispatcher see what scrapes have brought."""

    late: Lateness = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.found: list[dict[int, Seen]] = [{} for _ in self.instances]
        self.looked = [0] * len(self.instances)
        self.sent: list[tuple[int, int, int, float]] = []

    def end_step(self, until: float, since: int) -> None:
        last = self.last_end(since) if math.isinf(until) else int(until)
        for place, engine in enumerate(self.instances):
            # What is seen then and after: nobody looks at those before any more.
            self.looked[place] = max(self.looked[place], self.late.seen(place, last))
            while self.late.at(place, self.looked[place]) < until:
                k = self.looked[place]
                at = self.late.at(place, k)
                if math.isinf(until) and engine.end is None:
                    break
                engine.advance(at * FINE_PER_TICK)
                self.found[place][k] = Seen(engine, at)
                self.looked[place] += 1
        super().end_step(until, since)

    def last_end(self, since: int) -> int:
        """About when the last request will have ended, or a little before."""
        ahead = copy.deepcopy(self.instances)
        for engine in ahead:
            engine.advance(math.inf)
        moments = [moment for engine in ahead for _, _, moment in engine.ended]
        return max([since, *(moment // FINE_PER_TICK - 2 for moment in moments)])

    def route(self, number: int, case: RequestCase) -> list[Fate]:
        rejected = super().route(number, case)
        if case.action is not None and not rejected:
            place = case.action[0]
            work = self.instances[place].work(*self.pending)
            self.sent.append((self.now, place, case.prompt_tokens, work))
        return rejected

    def see(self, place: int) -> Seen:
        late, engine = self.late, self.instances[place]
        k = late.seen(place, self.now)
        # Those before the episode found nobody; those after the last request was answered likewise.
        fresh = Engine(engine.pool, 0) if k < 0 else engine
        seen = self.found[place].get(k) or Seen(fresh, late.at(place, k))
        own = object.__new__(Seen)
        own.__dict__.update(vars(seen), engine=engine)
        if k >= 0:
            own.blurred(late, place, k, self.models)
        for at, to, prompt, work in self.sent:
            if to == place and at > own.at:
                own.sent += 1
                if late.reckons:
                    own.waiting += 1
                    own.waiting_tokens += prompt
                    own.drain = max(own.drain, at * FINE_PER_TICK) + work
        passed = (self.now - own.at) * FINE_PER_TICK
        own.until_end = max(own.until_end - passed, 0)
        return own

    def observe(self) -> None:
        # Asked often, and the same until time goes on.
        self.view = [self.see(place) for place in range(len(self.instances))]
        super().observe()

    def outlook(self, place: int) -> Outlook:
        seen = self.view[place]
        seen.prompt, seen.answer = self.pending
        return seen

    def waits(self, place: int) -> int:
        return self.view[place].waiting

    def runs(self, place: int) -> int:
        return self.view[place].running

    def drain_of(self, place: int) -> float:
        return self.view[place].drain

    def age(self, place: int) -> float:
        return min(math.log1p(10.0 * ((self.now - self.view[place].at) / 2**30)), 16.0)

    def sent_to(self, place: int) -> int:
        return self.view[place].sent
