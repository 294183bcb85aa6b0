"""Which tokens a step computes: first come, first served, as vLLM's V1 scheduler has it.

Those that run go first, a token each, or what the step has room for of a prompt that is under way;
then requests are admitted while there is room. Pages for all of a request are taken when it is
admitted, so that nobody is ever preempted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from llmroute_env.specs import require

PAGE = 256
"""Tokens of a page of the cache: what Flash Attention 2 wants a multiple of."""


@dataclass(frozen=True)
class Limits:
    """How much an engine does at once."""

    most_running: int
    most_tokens: int
    pages: int


@dataclass
class InFlight:
    """A request at an engine: tokens computed and answered so far, and the pages of its cache."""

    number: int
    prompt: int
    output: int
    computed: int = 0
    answered: int = 0
    pages: list[int] = field(default_factory=list)

    @property
    def due(self) -> int:
        """Tokens that exist and are not computed: of the prompt, or the last one answered."""
        return self.prompt + self.answered - self.computed

    @property
    def needed(self) -> int:
        """Pages that hold all of it; its last token is never computed."""
        return -(-(self.prompt + self.output - 1) // PAGE)


class Piece(NamedTuple):
    """What a step computes of one request: so many tokens."""

    request: InFlight
    tokens: int

    @property
    def answers(self) -> bool:
        """Whether a token is answered with it."""
        return self.tokens == self.request.due


class Scheduler:
    """The requests of one engine: who waits, who runs, and which pages are free."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.waiting: deque[InFlight] = deque()
        self.running: list[InFlight] = []
        self.free = list(range(limits.pages))

    def add(self, request: InFlight) -> None:
        """It waits.

        Raises:
            ConfigError: it would never have room.
        """
        most = self.limits.pages
        require(request.needed <= most, "pages of a request", request.needed, f"at most {most}")
        self.waiting.append(request)

    def plan(self) -> list[Piece]:
        """What the next step computes; admits whom there is room for."""
        budget, pieces = self.limits.most_tokens, []
        for request in self.running:
            tokens = min(request.due, budget)
            if tokens > 0:
                pieces.append(Piece(request, tokens))
                budget -= tokens
        while budget > 0 and self._admits():
            request = self._admit()
            tokens = min(request.due, budget)
            pieces.append(Piece(request, tokens))
            budget -= tokens
        return pieces

    def _admits(self) -> bool:
        if not self.waiting or len(self.running) >= self.limits.most_running:
            return False
        return self.waiting[0].needed <= len(self.free)

    def _admit(self) -> InFlight:
        request = self.waiting.popleft()
        request.pages = [self.free.pop() for _ in range(request.needed)]
        self.running.append(request)
        return request

    def finish(self, pieces: list[Piece]) -> list[InFlight]:
        """The step is done; returns who has got a token, those that have their last one leave."""
        told = [piece.request for piece in pieces if piece.answers]
        for piece in pieces:
            piece.request.computed += piece.tokens
        for request in told:
            request.answered += 1
            if request.answered == request.output:
                self.running.remove(request)
                self.free += request.pages
        return told
