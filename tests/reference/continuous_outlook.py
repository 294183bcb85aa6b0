"""What is predicted for a request, from docs/continuous-batching.md alone: work, times, slack."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .continuous_load import Full
from .continuous_reference import FINE_PER_TICK, Instance, Request, told

FINE_PER_S = 2.0**40


class Engine(Instance):
    """Knows the work of its requests, and when it would have done it."""

    full: Full
    answer_of: Sequence[float]  # by the number of the request
    drain = 0

    def arrive(self, request: Request) -> None:
        super().arrive(request)
        self.set_drain(request.arrival)

    def leave(self, request: Request, outcome: str, moment: int) -> None:
        super().leave(request, outcome, moment)
        self.set_drain(moment)

    def set_drain(self, moment: int) -> None:
        held = [*self.running, *self.waiting]
        works = [self.work(r.prompt, self.answer_of[r.number]) for r in held]
        self.drain = told(moment) * FINE_PER_TICK + sum(works)

    def work(self, prompt: int, answer: float) -> int:
        chunk, times = min(prompt, self.pool.max_num_batched_tokens), self.times
        own = times.tokens(0, chunk) * prompt / chunk + times.prefill(prompt, 0)
        return int(own + self.full.step_s / self.full.requests * FINE_PER_S * answer)


class Outlook:
    """What is predicted on an instance at a moment, for a prompt and a mean answer."""

    def __init__(self, engine: Engine, moment: int, prompt: int, answer: float):
        self.engine, self.prompt, self.answer = engine, prompt, answer
        self.seqs, self.budget = engine.pool.max_num_seqs, engine.pool.max_num_batched_tokens
        self.running, self.waiting = len(engine.running), len(engine.waiting)
        self.until_end = 0 if engine.end is None else engine.end - moment
        given = engine.given if engine.end is not None else {}
        decoding = [r for r in given if r.answers]
        self.decoding, self.context = len(decoding), sum(r.computed for r in decoding)
        self.waiting_tokens = sum(r.tokens for r in engine.waiting)
        self.left = sum(r.tokens - r.computed - c for r, c in given.items())
        self.free = engine.free()

    @property
    def held(self) -> int:
        return self.running + self.waiting

    def step(self, decoding: int, context: int, chunk: int) -> int:
        chunks = [(chunk, 0)] if chunk > 0 else []
        return self.engine.times.step(decoding, context, chunks, decoding)

    def prompts(self, decoding: int, context: int, tokens: int) -> float:
        most = max(self.budget - decoding, 1)
        whole = (tokens - 1) // most
        taken = whole * self.step(decoding, context, most) if whole > 0 else 0
        return (taken + self.step(decoding, context, tokens - whole * most)) / FINE_PER_S

    @property
    def tpot_s(self) -> float:
        after = self.held + 1
        b = min(after, self.seqs)
        tokens = self.context + self.waiting_tokens + self.prompt
        return self.step(b, tokens * b // after, 0) / FINE_PER_S

    @property
    def ttft_s(self) -> float:
        if self.running == 0:
            return self.prompts(0, 0, self.prompt)
        room_s = self.answer * self.tpot_s * self.over / self.running if self.over > 0 else 0.0
        rest_s = self.prompts(self.decoding, self.context, self.prompt + self.to_compute)
        return self.until_end / FINE_PER_S + room_s + rest_s

    @property
    def over(self) -> float:
        """How many must be done before there is room."""
        lacking = -(-(self.waiting_tokens + self.prompt) // 16) - self.free
        taken = self.engine.pool.blocks - self.free
        of_blocks = lacking * self.running / max(taken, 1) if lacking > 0 else 0.0
        return max(float(self.held + 1 - self.seqs), of_blocks)

    @property
    def to_compute(self) -> int:
        return self.waiting_tokens + self.left

    @property
    def e2e_s(self) -> float:
        return self.ttft_s + max(self.answer - 1, 0) * self.tpot_s

    def slack(self, deadline_s: float, ttft_s: float, tpot_s: float) -> float:
        """Of the tightest deadline."""
        found, due = self.e2e_s, deadline_s
        for other, allowed in ((self.ttft_s, ttft_s), (self.tpot_s, tpot_s)):
            if math.isinf(due) or other * due > found * allowed:
                found, due = other, allowed
        return slack(found, due)

    @property
    def in_use(self) -> float:
        return 1.0 - self.free / self.engine.pool.blocks


def slack(latency_s: float, due_s: float) -> float:
    if math.isinf(due_s):
        return 1.0
    if due_s <= 0:
        return -16.0
    x = 1.0 - latency_s / due_s
    return x if x >= -1.0 else max(-1.0 - math.log(-x), -16.0)
