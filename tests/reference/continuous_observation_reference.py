"""What routers are told under continuous batching, from docs/continuous-batching.md alone.

Plain Python floats, rounded to float32 at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .continuous_episode import TICKS_PER_S, Episode
from .continuous_outlook import FINE_PER_S, Outlook
from .continuous_reference import FINE_PER_TICK
from .observation_reference import log_rate


def log_of(amount: float) -> float:
    return min(math.log1p(amount), 16.0)


@dataclass
class Watched(Episode):
    """An episode, and what its router sees."""

    observations: list[list[float]] = field(default_factory=list)

    def observe(self) -> None:
        """The columns of every feature, in the order of the table."""
        tasks, classes = len(self.watching.accuracy), max(self.watching.classes, 1)
        task, user_class = self.watching.tasks[self.number], self.user_class(self.number)
        fast, slow = (rate / self.load_1_per_s for rate in self.rates)
        user = self.case.users[self.case.requests[self.number].user]
        due_s, grace_s = user.deadline / TICKS_PER_S, user.grace / TICKS_PER_S
        row = [float(not self.over and t == task) for t in range(tasks)]
        row += [log_rate(fast), log_rate(slow)]
        row += self.by_model(lambda m: log_of(self.count(self.waits, m) / len(self.instances)))
        row += self.by_model(lambda m: self.count(self.runs, m) / self.full(m))
        busy = [self.runs(n) > 0 for n in range(len(self.instances))]
        row += [sum(busy) / len(busy)]
        row += self.by_choice(self.slack, -16.0)
        row += [math.log(min(max(due_s - self.waited / TICKS_PER_S, 1e-6), 8e6))]
        row += self.by_pair(self.slack, -16.0, self.serves)
        row += self.by_pair(self.work, 16.0, self.serves)
        row += self.by_pair(lambda n: log_rate(self.waits(n)), 0.0)
        row += self.by_pair(self.left, 0.0)
        row += self.by_model(lambda m: min(self.held_of(m) / self.full(m), 10_000.0))
        row += [min(slow, 10_000.0), log_of(grace_s / max(due_s, 1e-6)), min(fast, 10_000.0)]
        row += [float(not self.over and c == user_class) for c in range(classes)]
        row += [0.0 if self.over else log_of(self.pending[0])]
        each = (self.ttft, 16.0), (self.tpot, 16.0), (self.kv, 1.0), (self.prefill, 16.0)
        for feature, elsewhere in each:
            row += self.by_choice(feature, elsewhere)
        for feature, elsewhere in each:
            row += self.by_pair(feature, elsewhere, self.serves)
        row += self.by_pair(lambda n: log_of(self.held(n)), 0.0)
        row += self.by_model(lambda m: self.age(self.dispatch(m)))
        row += self.by_model(lambda m: log_of(self.count(self.sent_to, m)))
        row += [self.age(n) for n in range(len(self.instances))]
        row += self.by_pair(lambda n: log_of(self.sent_to(n)), 0.0)
        row += self.by_pair(lambda n: log_of(self.on_its_way(n)), 0.0)
        row += [float(self.seems_up(n)) for n in range(len(self.instances))]
        row += [self.leaving(n) for n in range(len(self.instances))]
        row += self.past()
        self.observations.append(row)

    # Nothing fails, nobody comes back.

    waited = 0

    def leaving(self, place: int) -> float:
        return 16.0

    def past(self) -> list[float]:
        return [0.0, 0.0]

    def left_s(self, ticks: float) -> float:
        """What is left of so much time, at least a tick if some has gone by."""
        left = max(ticks - self.waited, 1) if self.waited else ticks
        return left / TICKS_PER_S

    def by_model(self, feature: Callable[[int], float]) -> list[float]:
        return [feature(m) for m in range(self.models)]

    def by_choice(self, feature: Callable[[int], float], elsewhere: float) -> list[float]:
        """By model, of the instance that the dispatcher would choose."""
        places = [self.dispatch(m) for m in range(self.models)]
        return [feature(n) if self.seems_up(n) else elsewhere for n in places]

    def by_pair(
        self,
        feature: Callable[[int], float],
        elsewhere: float,
        there: Callable[[int, int], bool] | None = None,
    ) -> list[float]:
        """By instance, and within each by model; `elsewhere` where the model is not `there`."""
        there = there or self.hosts
        pairs = [(n, m) for n in range(len(self.instances)) for m in range(self.models)]
        return [feature(n) if there(n, m) else elsewhere for n, m in pairs]

    def count(self, what: Callable[[int], int], model: int) -> int:
        return sum(what(n) for n in range(len(self.instances)) if self.hosts(n, model))

    def held_of(self, model: int) -> int:
        return self.count(self.held, model)

    def age(self, place: int) -> float:
        """Signals are exact."""
        return 0.0

    def on_its_way(self, place: int) -> int:
        return len(self.instances[place].running) + len(self.instances[place].waiting)

    def sent_to(self, place: int) -> int:
        """What was sent is there."""
        return 0

    def full(self, model: int) -> int:
        pools = [pool for pool in self.case.pools if pool.model == model]
        return len(self.instances) * max(pool.max_num_seqs for pool in pools)

    @property
    def pending(self) -> tuple[int, float]:
        """Tokens of the prompt, and those of the mean answer of its task."""
        if self.over:
            return 1, 1.0
        mean = self.watching.mean_tokens[self.watching.tasks[self.number]]
        return self.case.requests[self.number].prompt_tokens, mean[1]

    def outlook(self, place: int) -> Outlook:
        return Outlook(self.instances[place], self.now * FINE_PER_TICK, *self.pending)

    def slack(self, place: int) -> float:
        user = self.case.users[self.case.requests[self.number].user]
        left_s = self.left_s(user.deadline), self.left_s(user.ttft)
        return self.outlook(place).slack(*left_s, user.tpot / TICKS_PER_S)

    @property
    def per_s(self) -> float:
        """Load 1 per instance: the unit of time is its inverse."""
        return self.load_1_per_s / len(self.instances)

    def work(self, place: int) -> float:
        return min(self.instances[place].work(*self.pending) / FINE_PER_S * self.per_s, 16.0)

    def left(self, place: int) -> float:
        """Of the step that runs."""
        return log_rate(self.outlook(place).until_end / FINE_PER_S * self.per_s)

    def ttft(self, place: int) -> float:
        return log_of(1e3 * self.outlook(place).ttft_s)

    def tpot(self, place: int) -> float:
        return log_of(1e6 * self.outlook(place).tpot_s)

    def kv(self, place: int) -> float:
        return self.outlook(place).in_use

    def prefill(self, place: int) -> float:
        return log_of(self.outlook(place).to_compute)

    def rows(self) -> np.ndarray:
        return np.array(self.observations, np.float64).astype(np.float32)
