"""When answers can be done, and when they are due: of every pool, with continuous batching."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchmarks.bounds.instance import Floats, Instance, Integers, lateness_levels
from benchmarks.bounds.step_floors import engine_of
from benchmarks.bounds.token_work import Demand, Floors, Work, floors_of
from llmroute_env.dynamics.state import Records
from llmroute_env.specs import TICK_S

ROUNDED = 1.0 - 1e-9
"""Times are summed in float64: so much less of a least time is one for certain."""


@dataclass(frozen=True)
class Level:
    """An answer so late at most earns such a share at most, by kind of request, shape (K,)."""

    late_s: Floats
    kept: Floats


@dataclass(frozen=True)
class Due:
    """Until when after their arrival requests must have their first and last token."""

    first_s: Floats
    last_s: Floats  # below 0 where they cannot


@dataclass(frozen=True)
class Host:
    """A pool with its model, and what the requests take there that it can hold."""

    pool: int
    model: int
    who: Integers  # numbers of the requests
    kind: Integers
    terms: Records  # of each of them
    floors: Floors
    latency: Work

    @property
    def least_s(self) -> Floats:
        """For how long an instance has to be up to answer them alone, in ticks of the world."""
        return (self.latency.first_s + self.latency.rest_s) * ROUNDED - 2 * TICK_S

    def due(self, level: Level) -> Due:
        """When answers at a level are due."""
        late_s, rest = level.late_s[self.kind], self.floors.demand.answer - 1
        # Of one token nothing is asked between the first and the last.
        pace_s = np.where(rest > 0, np.maximum(rest, 1.0) * self.terms["tpot_s"] + late_s, math.inf)
        first_s = self.terms["ttft_s"] + late_s
        last_s = np.minimum(self.terms["deadline_s"] + late_s, self.terms["patience_s"])
        last_s = np.minimum(last_s, first_s + np.where(rest > 0, pace_s, 0.0))
        least_first_s, least_rest_s = (
            own * ROUNDED for own in (self.latency.first_s, self.latency.rest_s)
        )
        # The world is told of moments up to a tick later than they are.
        first_s = np.minimum(first_s, last_s - least_rest_s + TICK_S)
        fits = (least_first_s <= first_s) & (least_rest_s <= pace_s + TICK_S)
        return Due(first_s, np.where(fits, last_s, -1.0))


def hosts_of(instance: Instance) -> list[Host]:
    """Every pool of an instance."""
    pools = enumerate(instance.cluster.batch_limit)
    return [host_of(instance, pool, int(np.flatnonzero(own)[0])) for pool, own in pools]


def host_of(instance: Instance, pool: int, model: int) -> Host:
    """One pool, which has one model."""
    engine = engine_of(instance.cluster.service, pool)
    who = np.flatnonzero(instance.prompt_tokens < engine.length)
    prompt = instance.prompt_tokens[who].astype(np.float64)
    answer = np.minimum(instance.output_tokens[who], engine.length - prompt)
    floors, kind = floors_of(engine, Demand(prompt, answer)), instance.kind[who]
    return Host(pool, model, who, kind, instance.terms[kind], floors, floors.latency())


def levels_of(instance: Instance, steps: int) -> list[Level]:
    """Levels of lateness; kinds of requests that have fewer of them earn nothing in the rest."""
    by_kind = [lateness_levels(terms, steps) for terms in instance.terms]
    most = max(map(len, by_kind))
    padded = np.array([own + [(0.0, 0.0)] * (most - len(own)) for own in by_kind])
    return [Level(late_s, kept) for late_s, kept in padded.transpose(1, 2, 0)]


def most_together(begin_s: Floats, end_s: Floats) -> Integers:
    """Of intervals, sorted by their begins: the most that overlap at a moment of each, at least 1.

    The number is highest at a begin. Intervals that end before they begin are none.
    """
    exists = end_s >= begin_s
    ended = np.searchsorted(np.sort(end_s[exists]), begin_s, "left")
    there = np.searchsorted(begin_s[exists], begin_s, "right") - ended
    first = np.searchsorted(begin_s, begin_s, "left")
    last = np.maximum(np.searchsorted(begin_s, end_s, "right"), first + 1)
    most = [there[low:high].max() for low, high in zip(first, last, strict=True)]
    return np.maximum(np.array(most, np.int64), 1)
