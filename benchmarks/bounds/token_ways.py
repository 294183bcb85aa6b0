"""Ways to answer requests token by token (continuous batching), for the program of the bound.

upper.py has the program. Why any run of docs/continuous-batching.md is a feasible point of it, of
equal or greater value:

1. Let E(B) be the least of what a step takes that answers B requests or more, less gamma seconds
   for each token of context that it reads and beta for each token of prompts that it computes, the
   attention of these apart (step_floors.py); gamma and beta are so small that E is never below 0.
   Of those that a step answers, B earn something in the end, and q pieces of prompts are of
   others that do. Charge the B answers and q pieces E(0) / (B + q) each, or the answers alone
   E(B) / B, and each of their tokens gamma or beta: together no more than the step takes.
2. Whoever shares a step and earns has come before it and is not yet due, and at most S run. So
   B + q is at most A, the most requests that can be there at a moment of the request's own time,
   or S: what a request is charged is at least that with A in place of B + q, or the least of
   E(B) / B over B <= A. To earn is here to earn more than by being turned away.
3. To its first token a request of p tokens takes ceil(p / N) pieces or more, and p tokens. Their
   attention is at least c (token + pair (x + c / 2)) for c tokens after x others, of which the sum
   is p (token + pair p / 2), however the prompt is cut. Each of the o' - 1 tokens after it, the
   k-th of all, takes an answer with p + k - 1 tokens of context; or, where the request was
   preempted, a piece at least and as many tokens computed anew. It is charged the less of the two
   (token_work.py).
4. A request has its steps one after the other, so that the same floors, without sharing, are the
   least times from its arrival a to its first token at f and from there to its last at l. An
   answer that is late by no more than v has f <= a + ttft_s + v, l <= a + deadline_s + v,
   l <= a + patience_s and l - f <= (o' - 1) tpot_s + v, and so a time when it is done at the
   earliest, and when at the latest, with its prompt and with the rest. Where that is no time,
   it cannot be so early. These are the two pieces of work of a way to answer it.
5. Where machines fail, an answer is that of one stay at one instance that is up all the while: a
   request that is sent again begins anew, and its first token is that of its last stay.
6. Requests that are rejected, aborted or too late are charged nothing; nothing is asked of blocks
   beyond K <= 16 C, of queues, or of the order in which requests are admitted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks.bounds.instance import Floats, Instance, Integers, equal_slots_s
from benchmarks.bounds.program import Columns, Room, maximum
from benchmarks.bounds.token_times import (
    ROUNDED,
    Host,
    Level,
    hosts_of,
    levels_of,
    most_together,
)
from benchmarks.bounds.token_work import Work
from llmroute_env.specs import TICK_S

MOST_SLOTS = 200
"""Slots of an episode. Four times as many lower the bound by up to 0.002 of the peak, and take
seconds."""
CURVES = 2
"""Of the prompts of a pool, and as many of its answers: those due soon and those due later."""
NOTHING = 1e-6
"""A share of the mean work of a pool."""


@dataclass(frozen=True)
class Pieces:
    """Work of ways: U pieces, each to be done within a time of its own."""

    way: Integers
    pool: Integers
    of_answer: NDArray[np.bool_]
    start_s: Floats
    due_s: Floats
    work_s: Floats

    def __len__(self) -> int:
        return len(self.way)

    def units_s(self, pools: int) -> Floats:
        """The mean work of a piece, by pool: steps may take milliseconds or no more than ticks."""
        total_s, count = (np.bincount(self.pool, of, pools) for of in (self.work_s, None))
        found: Floats = np.where(count > 0, total_s / np.maximum(count, 1), 1.0)
        return found

    @property
    def limiting(self) -> Pieces:
        """Those that are ever due, and not so small that a solver takes them for nothing."""
        chosen = self.work_s > NOTHING * self.units_s(int(self.pool.max(initial=0)) + 1)[self.pool]
        chosen &= np.isfinite(self.due_s)
        return Pieces(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @property
    def curve(self) -> Integers:
        """Which curve each piece is of: by pool, kind, and how long there is for it."""
        length_s, later = self.due_s - self.start_s, np.zeros(len(self), np.int64)
        for kind in np.unique(self.of_answer):
            own = self.of_answer == kind
            limits_s = np.quantile(length_s[own], np.arange(1, CURVES) / CURVES)
            later[own] = np.searchsorted(limits_s, length_s[own])
        found: Integers = (2 * self.pool + self.of_answer) * CURVES + later
        return found


@dataclass(frozen=True)
class Answers:
    """W ways to answer requests, each by one host at one level of lateness."""

    request: Integers
    value: Floats
    pieces: Pieces


@dataclass(frozen=True)
class TokenWays:
    """The requests of an episode, late in so many steps where they may be late."""

    instance: Instance
    steps: int

    def maximum(self, edges_s: Floats) -> float:
        """The bound on a grid that begins by the first arrival."""
        answers, requests = self.answers, len(self.instance.kind)
        given_up = self.instance.given_up * requests
        pieces = answers.pieces
        if len(pieces) == 0:
            best = np.zeros(requests)
            np.maximum.at(best, answers.request, answers.value)
            return given_up + float(best.sum())
        gpus = self.instance.cluster.pools["gpus"]
        units_s = pieces.units_s(len(gpus))
        columns = Columns(
            group=answers.request,
            value=answers.value,
            way=pieces.way,
            curve=pieces.curve,
            arrival=np.searchsorted(edges_s, pieces.start_s, "right") - 1,
            due=np.searchsorted(edges_s, pieces.due_s, "left") - 1,
            share_s=pieces.work_s / units_s[pieces.pool],
        )
        least_s = np.array([host.least_s.min(initial=math.inf) for host in self.hosts])
        capacity_s = self.instance.up.capacity_s(gpus / units_s, least_s, edges_s)
        room = Room(capacity_s, 2 * CURVES, np.ones(requests, np.int64))
        return given_up + maximum(columns, room)

    def even_edges_s(self, slots_per_deadline: int) -> Floats:
        """From the first arrival to the last end; a slot is a share of the usual time."""
        pieces, first_s = self.answers.pieces, float(self.instance.arrival_s[0])
        if len(pieces) == 0:
            return np.array([first_s, math.inf])
        span_s = float(pieces.due_s.max()) - first_s
        usual_s = float(np.median(pieces.due_s - pieces.start_s))
        slot_s = max(usual_s / slots_per_deadline, span_s / MOST_SLOTS)
        return equal_slots_s(first_s, span_s, slot_s)

    def event_edges_s(self) -> Floats:
        """Every moment when a piece can begin or is due."""
        pieces, first_s = self.answers.pieces, self.instance.arrival_s[:1]
        if len(pieces) == 0:
            return np.append(first_s, math.inf)
        edges_s: Floats = np.unique(np.concatenate([first_s, pieces.start_s, pieces.due_s]))
        return edges_s

    @cached_property
    def hosts(self) -> list[Host]:
        """Every pool."""
        return hosts_of(self.instance)

    @cached_property
    def answers(self) -> Answers:
        """Every way that can earn anything."""
        hosts, levels = self.hosts, levels_of(self.instance, self.steps)
        together = self.together(hosts, levels)
        works = [host.floors.work(together[host.who]) for host in hosts]
        return joined(
            [
                self.answers_of(host, level, work)
                for host, work in zip(hosts, works, strict=True)
                for level in levels
            ]
        )

    def together(self, hosts: list[Host], levels: list[Level]) -> Integers:
        """How many requests that may earn something are there at once, at most, with each."""
        arrival_s = self.instance.arrival_s
        length_s = np.full(len(arrival_s), -1.0)
        for host, level in product(hosts, levels):
            worth = self.value(host, level) > 0
            last_s = np.where(worth, host.due(level).last_s, -1.0)
            length_s[host.who] = np.maximum(length_s[host.who], last_s)
        return most_together(arrival_s, arrival_s + length_s)

    def answers_of(self, host: Host, level: Level, work: Work) -> Answers:
        """By one host, at one level."""
        due, value = host.due(level), self.value(host, level)
        arrival_s = self.instance.arrival_s[host.who]
        run_s = self.instance.up.longest_s(host.pool, arrival_s, due.last_s)
        chosen = np.flatnonzero((due.last_s >= 0) & (value > 0) & (host.least_s <= run_s))
        arrival_s, way = arrival_s[chosen], np.arange(len(chosen))
        done_s = arrival_s + np.maximum(host.latency.first_s[chosen] * ROUNDED - TICK_S, 0.0)
        pieces = Pieces(
            way=np.concatenate([way, way]),
            pool=np.full(2 * len(way), host.pool),
            of_answer=np.repeat([False, True], len(way)),
            start_s=np.concatenate([arrival_s, done_s]),
            due_s=np.concatenate([arrival_s + due.first_s[chosen], arrival_s + due.last_s[chosen]]),
            work_s=np.concatenate([work.first_s[chosen], work.rest_s[chosen]]) * ROUNDED,
        )
        return Answers(host.who[chosen], value[chosen], pieces)

    def value(self, host: Host, level: Level) -> Floats:
        """What the answers earn, of those whom the host can hold, above what else they would."""
        kind = self.instance.kind[host.who]
        found: Floats = level.kept[kind] * self.instance.utility[kind, host.model]
        return found - self.instance.given_up


def joined(parts: list[Answers]) -> Answers:
    """All of them, with the pieces that limit anything."""
    before = np.cumsum([0] + [len(part.value) for part in parts])
    ways = [part.pieces.way + n for part, n in zip(parts, before, strict=False)]
    names = ("pool", "of_answer", "start_s", "due_s", "work_s")
    rest = [[getattr(part.pieces, name) for part in parts] for name in names]
    return Answers(
        np.concatenate([part.request for part in parts]),
        np.concatenate([part.value for part in parts]),
        Pieces(*map(np.concatenate, (ways, *rest))).limiting,
    )
