"""Where steps are measured."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Grid:
    """Points of the four tables of a step, each axis rising.

    Attributes:
        requests: that decode together, and that get a token.
        contexts: tokens that each of them has.
        chunks: tokens of a piece of a prompt.
        cached: tokens of the prompt that were computed before it.
    """

    requests: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    contexts: tuple[int, ...] = (128, 512, 2048, 8192)
    chunks: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
    cached: tuple[int, ...] = (0, 512, 2048, 8192)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Of the steps whose dense part is measured."""
        return tuple(sorted({*self.requests, *self.chunks}))

    def within(self, context_tokens: int) -> Grid:
        """Without what a model's context does not hold; its whole context where nothing is left."""

        def held(axis: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(n for n in axis if n <= context_tokens) or (context_tokens,)

        return replace(self, contexts=held(self.contexts), cached=held(self.cached))
