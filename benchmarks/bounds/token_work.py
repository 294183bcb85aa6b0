"""The least that one answer takes of an instance: of its time, and of the clock.

upper.py says why these are floors of every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.bounds.instance import Floats, Integers
from benchmarks.bounds.step_floors import Attention, Engine, Floor, attention_of

SHARES = np.linspace(0.0, 1.0, 5)
"""Of the most that a token can be said to take: those that are tried."""
WIDTHS = (1.0, 0.5, 0.25, 0.125)
"""Then of the part of them around the best that is tried again."""


@dataclass(frozen=True)
class Demand:
    """Requests as one pool would answer them, N of them."""

    prompt: Floats  # (N,)
    answer: Floats  # (N,) tokens, at least 1

    @property
    def context(self) -> Floats:
        """Tokens of context that the steps after the first token read, one after the other."""
        rest = self.answer - 1
        found: Floats = rest * self.prompt + rest * (rest + 1) / 2
        return found


@dataclass(frozen=True)
class Rates:
    """A floor of steps: what each part of a request takes, seconds.

    Attributes:
        part_s: of each piece of a prompt, as a step computes it.
        prompt_s: of a token of a prompt, beside its attention.
        answer_s: of each token of an answer but the first, shape (N,).
        context_s: of a token of its context.
    """

    part_s: Floats
    prompt_s: float
    answer_s: Floats
    context_s: float


@dataclass(frozen=True)
class Work:
    """Seconds of an instance that requests take, shape (N,): up to the first token, and after."""

    first_s: Floats
    rest_s: Floats

    @property
    def total_s(self) -> float:
        """Of all together."""
        return float(self.first_s.sum() + self.rest_s.sum())


@dataclass(frozen=True)
class Floors:
    """An engine and what it takes at the least."""

    engine: Engine
    attention: Attention
    demand: Demand

    def work(self, together: Integers) -> Work:
        """Least work, by the floor under which the requests take most in all: a search for it.

        Args:
            together: how many requests that earn may be there at once with each, itself
                included, shape (N,).
        """
        nothing = np.zeros(len(together))
        best, most_s = Work(nothing, nothing), self.engine.most_s
        at_s = most_s / 2
        for width in WIDTHS:
            tried_s = np.clip(at_s + np.outer(width * (SHARES - 0.5), most_s), 0.0, most_s)
            for floor in self.engine.floors(*tried_s.T):
                for rates in sharing_rates(floor, together):
                    work = self.work_at(rates)
                    if work.total_s > best.total_s:
                        best, at_s = work, np.array([floor.context_s, floor.prompt_s])
        return best

    def work_at(self, rates: Rates) -> Work:
        """What these rates make of the requests."""
        demand = self.demand
        parts = np.ceil(demand.prompt / self.engine.most_tokens)
        first_s = rates.part_s * parts + self.prompt_s(rates, demand.prompt)
        rest_s = rates.answer_s * (demand.answer - 1) + rates.context_s * demand.context
        return Work(first_s, rest_s * self.kept_if_preempted(rates))

    def prompt_s(self, rates: Rates, prompt: Floats) -> Floats:
        """Of the tokens of a prompt with their attention."""
        return rates.prompt_s * prompt + self.attention.of_s(prompt)

    def kept_if_preempted(self, rates: Rates) -> Floats:
        """The share of `answer_s` and `context_s` that a token takes also after a preemption.

        Instead of a step with y tokens of context, a request may have computed all y anew. The
        ratio of what the two take has one minimum over y, or is least at an end.
        """
        demand, pair_s = self.demand, self.attention.pair_s
        token_s = rates.prompt_s + self.attention.token_s
        low, high = demand.prompt + 1, demand.prompt + np.maximum(demand.answer - 1, 1)
        a, b, c = (
            pair_s * rates.context_s / 2,
            pair_s * rates.answer_s,
            token_s * rates.answer_s - rates.part_s * rates.context_s,
        )
        with np.errstate(all="ignore"):
            root = (-b + np.sqrt(np.maximum(b * b - 4 * a * c, 0.0))) / (2 * a)
        middle = np.clip(np.where(np.isfinite(root), root, low), low, high)
        ratio = np.ones(len(low))
        for y in (low, middle, high):
            anew_s = rates.part_s + token_s * y + pair_s * y * y / 2
            step_s = rates.answer_s + rates.context_s * y
            share = np.divide(anew_s, step_s, out=np.ones(len(y)), where=step_s > anew_s)
            ratio = np.minimum(ratio, share)
        return ratio

    def latency(self) -> Work:
        """Least seconds from the arrival to the first token, and from there to the last."""
        ones = np.ones(len(self.demand.prompt))
        tried = [
            self.work_at(Rates(least_s[0] * ones, prompt_s, least_s[1] * ones, context_s))
            for least_s, context_s, prompt_s in self.engine.floors(
                *np.outer(self.engine.most_s, SHARES)
            )
        ]
        first_s = np.max([work.first_s for work in tried], axis=0)
        return Work(first_s, np.max([work.rest_s for work in tried], axis=0))


def sharing_rates(floor: Floor, together: Integers) -> Iterator[Rates]:
    """Of steps that requests share, each of which takes its part of the fixed time."""
    least_s, context_s, prompt_s = floor
    most = np.minimum(together, len(least_s) - 1)
    # Of a number of answers and pieces of prompts, or of answers alone.
    shared_s = least_s[0] / most
    alone_s = np.minimum.accumulate(least_s[1:] / np.arange(1, len(least_s)))[most - 1]
    yield Rates(shared_s, prompt_s, shared_s, context_s)
    yield Rates(np.zeros(len(alone_s)), prompt_s, alone_s, context_s)


def floors_of(engine: Engine, demand: Demand) -> Floors:
    """Floors for these requests."""
    return Floors(engine, attention_of(engine, demand.prompt), demand)
