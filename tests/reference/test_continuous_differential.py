"""Continuous batching against the independent reference, request by request, on random cases."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from llmroute_env.engine_specs import Line, StepTimes, Surface

from .continuous_adapter import config_of, play
from .continuous_case import Case, PoolCase, RequestCase, Step, UserCase
from .continuous_cases import random_case
from .continuous_reference import Instance, Request, Service, simulate
from .continuous_times import FINE_PER_S


class Watched(Instance):
    """Counts what happens, so that a test can tell what it has tested."""

    counts: ClassVar[Counter[str]]

    def __init__(self, pool: PoolCase, queue_capacity: int, prefix_caching: bool):
        super().__init__(pool, queue_capacity, prefix_caching)
        self.full: dict[Request, int] = {}

    def refuses(self, request: Request) -> bool:
        refused = super().refuses(request)
        fits = request.prompt < self.longest
        self.counts["prompt never fits"] += not fits
        self.counts["queue full"] += refused and fits
        return refused

    def arrive(self, request: Request) -> None:
        self.counts["arrival at a step's end"] += request.arrival == self.__dict__.get("last_end")
        super().arrive(request)

    def give(self, request: Request, tokens: int) -> None:
        rest = request.tokens - request.computed - tokens
        self.counts["prompt in pieces"] += rest > 0
        self.counts["prompt anew in pieces"] += rest > 0 and request.preemptions > 0
        super().give(request, tokens)

    def preempt(self, request: Request) -> None:
        self.counts["preempted"] += 1
        self.counts["preempted again"] += request.preemptions > 0
        self.counts["preempted in prefill"] += not request.answers
        self.full[request] = request.computed // 16
        super().preempt(request)

    def find(self, request: Request) -> None:
        super().find(request)
        full = self.full.pop(request, 0)
        found = len(request.blocks)
        self.counts["blocks found again"] += found > 0
        self.counts["some blocks found again"] += 0 < found < full
        self.counts["no block found again"] += found == 0 < full
        self.counts["all but one token found"] += (
            found > 0 and request.tokens - request.computed == 1
        )

    def leave(self, request: Request, outcome: str, moment: int) -> None:
        if outcome == "aborted":
            self.counts[f"aborted {self.phase(request)}"] += 1
            self.counts["aborted at a step's end"] += moment == self.end == request.gone
        super().leave(request, outcome, moment)

    def phase(self, request: Request) -> str:
        if request in self.waiting:
            return "after preemption" if request.preemptions else "waiting"
        return "decoding" if request.answers else "in prefill"

    def is_decoding(self, request: Request) -> bool:
        decodes = super().is_decoding(request)
        lone = self.times.attention(1, request.tokens, False) if decodes else 0
        self.counts["attention falls below 0"] += lone < 0
        return decodes

    def duration(self) -> int:
        taken = super().duration()
        answering = sum(self.is_decoding(request) for request in self.given)
        if 0 < answering < len(self.given) and self.times.measured.mixed is not None:
            self.counts["measured mixed step"] += 1
        self.counts["step within a tick"] += taken < 1024
        self.counts["step of one fine tick"] += taken == 1
        return taken

    def end_step(self, t: int) -> None:
        self.last_end = t
        super().end_step(t)


class WatchedService(Service):
    instance = Watched


HAPPENS = (
    *("in time", "late", "rejected", "aborted", "cut", "one token", "long", "partial utility"),
    *("prompt never fits", "queue full", "arrival at a step's end", "arrivals at once"),
    *("prompt in pieces", "prompt anew in pieces", "step within a tick", "step of one fine tick"),
    *("preempted", "preempted again", "preempted in prefill"),
    *("aborted waiting", "aborted after preemption", "aborted in prefill", "aborted decoding"),
    "aborted at a step's end",
    *("S = 1", "N = S", "C < 5", "queue_capacity 1", "one knot", "falls with K", "crosses a knot"),
    *("blocks found again", "some blocks found again", "no block found again"),
    "all but one token found",
    *("many instances", "attention falls below 0", "measured mixed step"),
)


def count_case(counts: Counter[str], case: Case) -> None:
    arrivals = [request.arrival for request in case.requests]
    counts["arrivals at once"] += len(arrivals) - len(set(arrivals))
    counts["queue_capacity 1"] += case.queue_capacity == 1
    counts["many instances"] += len(case.instances) > 2
    for pool in case.pools:
        decode = pool.times.decode
        counts["S = 1"] += pool.max_num_seqs == 1
        counts["N = S"] += pool.max_num_seqs == pool.max_num_batched_tokens > 1
        counts["C < 5"] += pool.blocks < 5
        counts["one knot"] += len(decode.columns) == 1
        counts["falls with K"] += decode.seconds[0][0] > decode.seconds[0][-1]


def count_fates(counts: Counter[str], case: Case, steps: list[Step]) -> None:
    for fate in (fate for step in steps for fate in step.ended):
        request, answered = case.requests[fate.number], fate.answered
        counts.update(["requests", fate.outcome])
        complete = fate.outcome in ("in time", "late")
        counts["cut"] += complete and answered < request.output_tokens
        counts["one token"] += complete and answered == 1
        counts["long"] += answered > 300
        counts["partial utility"] += fate.outcome == "late" and fate.utility > 0
        if answered > 0:
            knots = case.instances[fate.instance].times.decode.columns[1:-1]
            last = request.prompt_tokens + answered
            counts["crosses a knot"] += any(request.prompt_tokens < k < last for k in knots)


def check_same(name: str, expected: list[Step], found: list[Step]) -> None:
    """All of it is the same, in the same order, in the same step."""
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        for fate, reported in zip(one.ended, other.ended, strict=False):
            assert fate == reported, f"{name}, step {number}: expected {fate}, found {reported}"
        assert one == other, f"{name}, step {number}: expected {one}, found {other}"


def compare_many(seeds: range, envs: int = 1) -> Counter[str]:
    """Play the cases of these seeds in both; returns what happened in them."""
    Watched.counts = counts = Counter[str]()
    for seed in seeds:
        case = random_case(seed)
        expected = WatchedService(case).run()
        check_same(f"case {seed}", expected, play(case, envs))
        counts["cases"] += 1
        count_case(counts, case)
        count_fates(counts, case, expected)
    return counts


def test_the_simulator_agrees_with_the_reference():
    counts = compare_many(range(128))
    assert [what for what in HAPPENS if counts[what] == 0] == []


def test_an_env_beside_another_agrees_with_the_reference():
    assert compare_many(range(1000, 1032), envs=2)["requests"] > 400


NO_LINE, NO_SURFACE = Line((1,), (0.0,)), Surface((1,), (1,), ((0.0,),))


def test_a_step_takes_a_fine_tick_where_attention_begins_at_nothing():
    # With context c = 2, 3, ... it takes c - 2 fine ticks, and is all that a step takes.
    rising = Surface((1,), (2, 12), ((0.0, 10 / FINE_PER_S),))
    times = StepTimes(NO_LINE, rising, NO_SURFACE, NO_LINE)
    pool = PoolCase(1, 0, 1, 64, 1000, 10**6, times)
    user = UserCase(math.inf, math.inf, math.inf, math.inf)
    case = Case((pool,), (user,), (RequestCase(0, 1, 4000, 0, (0, 0)),), 1)
    found = play(case)
    check_same("from nothing", simulate(case), found)
    taken = 1 + sum(max(context - 2, 1) for context in range(2, 4001))
    assert found[0].ended[0].finish == math.ceil(taken / 1024)


def test_steps_that_take_no_time_have_a_finite_load():
    case = random_case(0)
    times = StepTimes(NO_LINE, NO_SURFACE, NO_SURFACE, NO_LINE)
    pools = tuple(replace(pool, times=times) for pool in case.pools)
    assert 0 < config_of(replace(case, pools=pools)).load_1_per_s < math.inf


@pytest.mark.verify
def test_thousands_of_new_cases_agree_with_the_reference(record_property):
    first = int(np.random.default_rng().integers(10**6, 10**9))
    counts = compare_many(range(first, first + 6000))
    told = "cases", "requests", "in time", "late", "rejected", "aborted", "preempted", "cut"
    figures = ", ".join(f"{counts[what]:,} {what}" for what in told)
    record_property("figure", f"continuous batching: {figures}; no difference")
    assert [what for what in HAPPENS if counts[what] < 50] == []


def test_a_disagreement_is_reported():
    steps = simulate(random_case(0))
    number = next(n for n, step in enumerate(steps) if step.ended)
    first = steps[number].ended[0]
    for wrong in ({"first_token": -1}, {"finish": -1}, {"preemptions": 9}, {"instance": 99}):
        ended = (replace(first, **wrong), *steps[number].ended[1:])
        changed = [*steps[:number], replace(steps[number], ended=ended), *steps[number + 1 :]]
        with pytest.raises(AssertionError, match="case 0"):
            check_same("case 0", changed, steps)
