"""The random cases tell every rule of continuous batching from its nearest neighbours.

Each mutant is the reference with one rule slightly wrong. If no case showed the difference, the
comparison with the simulator would prove nothing about that rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from llmroute_env.engine_specs import Surface

from .continuous_case import Case, PoolCase, Step
from .continuous_cases import random_case
from .continuous_reference import Instance, Request, Service, simulate
from .continuous_times import Times, ticks, value


class AdmitsIfThePieceFits(Instance):
    def fits(self, head: Request) -> bool:
        found = self.block * len(self.own_blocks(head))
        return self.blocks_of(min(head.tokens, found + self.budget)) <= self.free()


class LetsOthersPassTheHead(Instance):
    def admit(self, t: int) -> None:
        fitting = [request for request in self.waiting if self.fits(request)]
        rest = [request for request in self.waiting if request not in fitting]
        self.waiting = fitting + rest
        super().admit(t)


class PreemptsTheNext(Instance):
    def victim(self, place: int) -> Request:
        return self.running[min(place + 1, len(self.running) - 1)]


class PreemptedQueueAtTheTail(Instance):
    def preempt(self, request: Request) -> None:
        super().preempt(request)
        self.waiting.append(self.waiting.pop(0))


class PreemptedKeepNothing(Instance):
    def preempt(self, request: Request) -> None:
        super().preempt(request)
        request.answered = 0


class FirstTokenAgain(Instance):
    def preempt(self, request: Request) -> None:
        super().preempt(request)
        request.first = None


class StartsAgain(Instance):
    def preempt(self, request: Request) -> None:
        super().preempt(request)
        request.start = None


class AnewIsDecodingToo(Instance):
    def is_decoding(self, request: Request) -> bool:
        return request.answered > 0 and request.tokens - request.computed == 1


class FindsNothing(Instance):
    def find(self, request: Request) -> None:
        """It is computed anew."""


class FindsAllBlocks(Instance):
    """Also those that others have taken."""

    def __init__(self, pool: PoolCase, queue_capacity: int, prefix_caching: bool):
        super().__init__(pool, queue_capacity, prefix_caching)
        self.full: dict[Request, int] = {}

    def preempt(self, request: Request) -> None:
        self.full[request] = request.computed // self.block
        super().preempt(request)

    def find(self, request: Request) -> None:
        full = self.full.get(request, 0) if self.prefix_caching else 0
        request.blocks = [self.take() for _ in range(full)]
        request.computed = self.block * full


class FindsOneBlockLess(Instance):
    def find(self, request: Request) -> None:
        super().find(request)
        if request.blocks:
            self.queue.append(request.blocks.pop())
            request.computed -= self.block


class BlocksAreFreedForwards(Instance):
    def release(self, request: Request) -> None:
        request.blocks.reverse()
        super().release(request)


class TakesTheBlockFreedLast(Instance):
    def take(self) -> int:
        self.queue.rotate(1)
        return super().take()


class FoundBlocksNeedRoomTwice(Instance):
    def fits(self, head: Request) -> bool:
        needed = self.blocks_of(head.tokens) + len(self.own_blocks(head))
        return min(needed, self.pool.blocks) <= self.free()


class BlocksOf15(Instance):
    block = 15


class TokensCountOnlyPrompts(Instance):
    def give(self, request: Request, tokens: int) -> None:
        super().give(request, tokens)
        self.budget += tokens if request.answers else 0


class ArrivalsJoinTheStepThatBegins(Instance):
    began, after_a_step, preempted = -1, False, False

    def end_step(self, t: int) -> None:
        self.after_a_step = True
        super().end_step(t)
        self.after_a_step = False

    def walk(self) -> bool:
        self.preempted = super().walk()
        return self.preempted

    def begin_step(self, t: int) -> None:
        super().begin_step(t)
        self.began = t if self.joins() and not self.preempted else -1

    def joins(self) -> bool:
        return self.after_a_step

    def arrive(self, request: Request) -> None:
        super().arrive(request)
        if self.began == request.arrival:
            self.admit(request.arrival)
            self.end = request.arrival + self.duration()


class ArrivalsAtOnceShareAStep(ArrivalsJoinTheStepThatBegins):
    def joins(self) -> bool:
        return not self.after_a_step


class EndOfPatienceIsTooLate(Instance):
    def is_done(self, request: Request, t: int) -> bool:
        return super().is_done(request, t) and t < request.gone


class FinishedInSpiteOfPatience(Instance):
    def is_done(self, request: Request, t: int) -> bool:
        return request.answered == request.limit


class AbortsByNumber(Instance):
    def abort(self, impatient: list[Request], moment: int | None) -> None:
        for request in sorted(impatient, key=lambda r: r.number):
            self.leave(request, "aborted", int(request.gone) if moment is None else moment)


class WaitingLeaveAtAStepsEnd(Instance):
    def abort(self, impatient: list[Request], moment: int | None) -> None:
        if moment is not None:
            super().abort(impatient, moment)


class LongestPromptIsServed(Instance):
    def refuses(self, request: Request) -> bool:
        request.limit = max(request.limit, 1)
        return len(self.waiting) >= self.capacity or request.prompt > self.longest


class PreemptedHoldNoPlace(Instance):
    def refuses(self, request: Request) -> bool:
        arrived = [r for r in self.waiting if r.preemptions == 0]
        return len(arrived) >= self.capacity or request.prompt >= self.longest


class FactorOnlyOfAttention(Times):
    def tokens(self, decoding: int, n: int) -> int:
        return self.line(self.measured.linear, n)


class ContextBeforeTheStep(Times):
    def decode(self, b: int, context: int, mixed: bool) -> int:
        return super().decode(b, context - b, mixed)


class MeanContextInSeconds(Times):
    def decode(self, b: int, context: int, mixed: bool) -> int:
        grid = self.grid(mixed)
        columns = [[row[j] for row in grid.seconds] for j in range(len(grid.columns))]
        at_b = [value(grid.rows, column, b) for column in columns]
        return ticks(value(grid.columns, at_b, context // b)) if b else 0


class FallsBelowNothing(Times):
    def decode(self, b: int, context: int, mixed: bool) -> int:
        return self.attention(b, context, mixed) if b else 0


class MixedIsASum(Times):
    def grid(self, mixed: bool) -> Surface:
        return super().grid(False)


class AlwaysMixed(Times):
    def grid(self, mixed: bool) -> Surface:
        return super().grid(True)


class MixedIsBesides(Times):
    """Attention of mixed steps on top of the usual one."""

    def decode(self, b: int, context: int, mixed: bool) -> int:
        own = super().decode(b, context, False)
        if not mixed or self.measured.mixed is None:
            return own
        return own + super().decode(b, context, True)


class BesideAllTokens(Times):
    def beside(self, b: int, tokens: int) -> int:
        return super().beside(b, tokens + b)


class BesidePromptsAlone(Times):
    def beside(self, b: int, tokens: int) -> int:
        return super().beside(max(b, 1), tokens)


class BesideEveryPiece(Times):
    """Of each alone, not of their tokens in all."""

    def step(self, decoding: int, context: int, chunks: list[tuple[int, int]], answers: int) -> int:
        self.pieces = [c for c, _ in chunks]
        return super().step(decoding, context, chunks, answers)

    def beside(self, b: int, tokens: int) -> int:
        return sum(super(BesideEveryPiece, self).beside(b, c) for c in self.pieces)


class MixedWithTheLastPiece(Times):
    """Only where a prompt ends with the step."""

    def step(self, decoding: int, context: int, chunks: list[tuple[int, int]], answers: int) -> int:
        self.ends = answers > decoding
        return super().step(decoding, context, chunks, answers)

    def grid(self, mixed: bool) -> Surface:
        return super().grid(mixed and self.ends)


class PrefillByItsEnd(Times):
    def prefill(self, c: int, x: int) -> int:
        return super().prefill(c, x + c)


class HeadOfAllTokens(Times):
    def step(self, decoding: int, context: int, chunks: list[tuple[int, int]], answers: int) -> int:
        return super().step(decoding, context, chunks, decoding + len(chunks))


def wrong_instance(kind: type[Instance]) -> Callable[[Case], Service]:
    return type(kind.__name__, (Service,), {"instance": kind})


def wrong_times(kind: type[Times]) -> Callable[[Case], Service]:
    class Mistimed(Instance):
        def __init__(self, pool: PoolCase, queue_capacity: int, prefix_caching: bool):
            super().__init__(pool, queue_capacity, prefix_caching)
            self.times = kind(pool.times)

    return wrong_instance(Mistimed)


RULES = (
    *(AdmitsIfThePieceFits, LetsOthersPassTheHead, PreemptsTheNext),
    *(PreemptedQueueAtTheTail, PreemptedKeepNothing, FirstTokenAgain, StartsAgain),
    *(FindsNothing, FindsAllBlocks, FindsOneBlockLess, BlocksAreFreedForwards),
    *(TakesTheBlockFreedLast, FoundBlocksNeedRoomTwice),
    *(AnewIsDecodingToo, BlocksOf15, TokensCountOnlyPrompts, ArrivalsJoinTheStepThatBegins),
    *(ArrivalsAtOnceShareAStep, EndOfPatienceIsTooLate, FinishedInSpiteOfPatience),
    *(AbortsByNumber, WaitingLeaveAtAStepsEnd),
    *(LongestPromptIsServed, PreemptedHoldNoPlace),
)
TERMS = (
    *(FactorOnlyOfAttention, ContextBeforeTheStep, MeanContextInSeconds, FallsBelowNothing),
    *(PrefillByItsEnd, HeadOfAllTokens),
    *(MixedIsASum, AlwaysMixed, MixedIsBesides, MixedWithTheLastPiece),
    *(BesideAllTokens, BesidePromptsAlone, BesideEveryPiece),
)
MUTANTS = {
    **{kind.__name__: wrong_instance(kind) for kind in RULES},
    **{kind.__name__: wrong_times(kind) for kind in TERMS},
}


def shifted(where: str, field: str) -> Callable[[Case], Case]:
    """One more of `field` in all pools, users or the case itself."""

    def more(case: Case) -> Case:
        if where == "case":
            return replace(case, **{field: getattr(case, field) + 1})
        parts = [replace(one, **{field: getattr(one, field) + 1}) for one in getattr(case, where)]
        return replace(case, **{where: tuple(parts)})

    return more


NEIGHBOURS = {
    f"one more {field}": shifted(where, field)
    for where, fields in (
        ("case", ["queue_capacity"]),
        ("users", ["deadline", "ttft", "tpot", "patience", "grace"]),
        ("pools", ["max_num_seqs", "max_num_batched_tokens", "blocks", "context_tokens"]),
    )
    for field in fields
}


@pytest.fixture(scope="module")
def examples() -> list[tuple[Case, list[Step]]]:
    cases = [random_case(seed) for seed in range(240)]
    return [(case, simulate(case)) for case in cases]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_some_case_shows_a_wrong_rule(mutant: str, examples: list[tuple[Case, list[Step]]]):
    assert any(MUTANTS[mutant](case).run() != right for case, right in examples)


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_some_case_shows_a_wrong_setting(neighbour: str, examples: list[tuple[Case, list[Step]]]):
    assert any(simulate(NEIGHBOURS[neighbour](case)) != right for case, right in examples)
