"""Random cases for continuous batching: small clusters where everything that can happen does."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from llmroute_env.engine_specs import Line, StepTimes, Surface

from .continuous_case import TICK_S, Case, PoolCase, RequestCase, UserCase
from .continuous_times import Times

FINE_S = 2.0**-40


@dataclass(frozen=True)
class Style:
    """What the cases of one kind have in common.

    `unit_s` is about what a term of a step takes; `whole` makes every step take whole ticks, and
    `alike` as many each, so that arrivals and patience meet the ends of steps. Where it is
    `crowded` many run whose answers outgrow the cache, so that several wait to run again.
    """

    unit_s: float
    whole: bool = False
    alike: bool = False
    most_output: int = 80
    most_requests: int = 40
    roomy: bool = False
    crowded: bool = False


STYLES = {
    "usual": Style(1e-3),
    "ties": Style(TICK_S, whole=True),
    "clockwork": Style(TICK_S, whole=True, alike=True),
    "within a tick": Style(50 * FINE_S),
    "a few fine ticks": Style(FINE_S),
    "about a tick": Style(TICK_S),
    "long": Style(1e-3, most_output=1500, most_requests=8, roomy=True),
    "crowded": Style(1e-3, most_output=150, crowded=True),
    "long ties": Style(TICK_S, whole=True, most_output=400, most_requests=10, roomy=True),
}


def random_case(seed: int) -> Case:
    """The case of a seed; styles take turns."""
    style = list(STYLES.values())[seed % len(STYLES)]
    return Draw(np.random.default_rng((seed, 40)), style).case()


class Draw:
    """Draws a case part by part."""

    def __init__(self, rng: np.random.Generator, style: Style):
        self.rng, self.style, self.busy = rng, style, True

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def spread(self, low: int, high: int) -> int:
        """Log-uniform, so that small numbers are frequent."""
        return min(high, int(math.exp(self.rng.uniform(math.log(low), math.log(high + 1)))))

    def case(self) -> Case:
        pools = self.pools()
        users = tuple(self.user(pools[0]) for _ in range(self.integer(1, 5)))
        capacity = int(self.rng.choice([1, 2, 5, 1000], p=[0.15, 0.1, 0.15, 0.6]))
        case = Case(pools, users, (), capacity, self.chance(0.5), self.chance(0.8))
        return replace(case, requests=self.requests(case))

    # Clusters.

    def pools(self) -> tuple[PoolCase, ...]:
        models = int(self.rng.choice([1, 1, 2, 3]))
        blocks = [self.blocks() for _ in range(models)]
        contexts = [int(self.rng.choice([10**6, self.integer(2, 16 * b + 9)])) for b in blocks]
        hosted = [*range(models), *([self.integer(0, models - 1)] if self.chance(0.3) else [])]
        return tuple(self.pool(m, blocks[m], contexts[m]) for m in hosted)

    def blocks(self) -> int:
        if self.style.crowded:
            return self.integer(10, 60)
        return self.integer(100, 400) if self.style.roomy else self.spread(2, 20)

    def pool(self, model: int, blocks: int, context: int) -> PoolCase:
        seqs = int(self.rng.choice([1, 2, 3, 5, 8, 20], p=[0.1, 0.1, 0.1, 0.2, 0.2, 0.3]))
        seqs = 20 if self.style.crowded else seqs
        tokens = seqs + (0 if self.chance(0.2) else self.spread(1, 200))
        longest = min(context, 16 * blocks)
        instances = int(self.rng.choice([1, 1, 1, 2, 3]))
        return PoolCase(
            instances, model, seqs, tokens, blocks, context, self.times(seqs, tokens, longest)
        )

    # Tables.

    def times(self, seqs: int, tokens: int, longest: int) -> StepTimes:
        unit_s, whole = self.style.unit_s, self.style.whole
        # Now and then nearly all terms are 0: a step still takes a fine tick.
        self.busy = self.chance(0.9)
        if self.style.alike:
            nothing, none = Line((1,), (0.0,)), Surface((1,), (1,), ((0.0,),))
            return StepTimes(
                nothing, none, none, nothing, unit_s * int(self.rng.choice([1, 2, 9, 60]))
            )
        decode = self.surface(1, seqs, 1, longest, unit_s)
        return StepTimes(
            linear=self.line(1, tokens, unit_s),
            decode=decode,
            prefill=self.surface(1, tokens, 0, longest, unit_s),
            head=self.line(1, seqs, unit_s / 4),
            host_s=unit_s
            * (self.integer(0, 2) if whole else self.rng.choice([0.0, self.busy / 2])),
            prefill_factor=1.0 if whole or self.chance(0.3) else float(self.rng.uniform(0.2, 3.0)),
            mixed=self.mixed(seqs, decode.columns, unit_s) if self.chance(0.5) else None,
            beside=self.surface(1, seqs, 1, tokens, unit_s) if self.chance(0.4) else None,
        )

    def mixed(self, seqs: int, columns: tuple[int, ...], unit_s: float) -> Surface:
        return self.grid(self.knots(1, seqs), columns, unit_s)

    def knots(self, low: int, high: int) -> tuple[int, ...]:
        count = 1 if self.style.whole else int(self.rng.choice([1, 2, 3, 5]))
        drawn = {self.spread(max(low, 1), max(high, low) + 3) for _ in range(count)}
        return tuple(sorted({low, *drawn} if low == 0 or self.chance(0.4) else drawn))

    def seconds(self, count: int, unit_s: float) -> tuple[float, ...]:
        if self.style.whole:
            unit_s, drawn = self.style.unit_s, self.rng.integers(0, 3, count).astype(float)
            drawn[:] = drawn[0]
        else:
            drawn = self.rng.uniform(0, 4, count) * (self.rng.random(count) < 0.9)
            drawn *= self.busy or self.chance(0.3)
        rising = self.rng.choice(["rising", "falling", "any"], p=[0.6, 0.2, 0.2])
        if rising != "any":
            drawn.sort()
        return tuple(float(d) * unit_s for d in (drawn[::-1] if rising == "falling" else drawn))

    def line(self, low: int, high: int, unit_s: float) -> Line:
        knots = self.knots(low, high)
        return Line(knots, self.seconds(len(knots), unit_s))

    def surface(self, low: int, high: int, first: int, last: int, unit_s: float) -> Surface:
        rows, columns = self.knots(low, high), self.knots(first, last)
        return self.grid(rows, columns, unit_s)

    def grid(self, rows: tuple[int, ...], columns: tuple[int, ...], unit_s: float) -> Surface:
        table = tuple(self.seconds(len(columns), unit_s) for _ in rows)
        return Surface(rows, columns, (table[0],) * len(rows) if self.style.whole else table)

    # Requests.

    def a_while(self, pool: PoolCase) -> int:
        """About the ticks of some steps, at least one."""
        step = Times(pool.times).step(1, 16, [(min(16, pool.max_num_batched_tokens), 0)], 1)
        whole = 1 if self.style.alike else max(1, round(step / 1024))
        return self.spread(1, 20) * whole if self.style.whole else self.spread(1, 40 * whole)

    def user(self, pool: PoolCase) -> UserCase:
        patience = (self.integer(1, 4), 0.9) if self.style.alike else (self.integer(1, 20), 0.5)
        patience = (self.integer(10, 200), 0.4) if self.style.crowded else patience
        drawn = [
            self.a_while(pool) * factor if self.chance(share) else math.inf
            for factor, share in ((4, 0.7), (1, 0.4), (1, 0.3), patience)
        ]
        grace = self.a_while(pool) * 4 if self.chance(0.5) else 0
        return UserCase(*drawn, grace, float(self.rng.uniform(0.5, 2.0)))

    def requests(self, case: Case) -> tuple[RequestCase, ...]:
        now, crowded = 0, self.chance(0.7)
        requests = []
        for _ in range(self.integer(1, self.style.most_requests)):
            requests.append(self.request(case, now))
            if not self.chance(0.4 if crowded else 0.1):
                now += max(1, self.a_while(case.pools[0]) * (1 if crowded else 16) // 4)
        return tuple(requests)

    def request(self, case: Case, arrival: int) -> RequestCase:
        instances = case.instances
        place = self.integer(0, len(instances) - 1)
        pool = instances[place]
        longest = min(16 * pool.blocks, pool.context_tokens)
        most = max(1, longest // (8 if self.style.crowded else 2))
        prompt = self.spread(1, longest + 5 if self.chance(0.3) else most)
        least = self.style.most_output // 3 if self.style.crowded else 1
        output = 1 if self.chance(0.1) else self.spread(least, self.style.most_output)
        user = self.integer(0, len(case.users) - 1)
        model = (
            pool.model if self.chance(0.98) else self.integer(0, max(p.model for p in instances))
        )
        action = (place, model) if self.chance(0.98) else None
        return RequestCase(arrival, prompt, output, user, action)
