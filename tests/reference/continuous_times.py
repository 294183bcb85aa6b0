"""How long a step of continuous batching takes, in Python numbers, from the formulas of the page.

Docs: docs/continuous-batching.md, "How long a step takes".
"""

from __future__ import annotations

from collections.abc import Sequence

from llmroute_env.engine_specs import Line, StepTimes, Surface

FINE_PER_S = 2**40


def ticks(seconds: float) -> int:
    return round(seconds * FINE_PER_S)


def segment(knots: Sequence[int], k: int) -> int:
    """Number of the last knot, but one, at or below k; the first if there is none."""
    return max((i for i in range(len(knots) - 1) if knots[i] <= k), default=0)


def between(knots: Sequence[int], values: Sequence[float], k: int) -> float:
    """On the line through the two knots around k."""
    if len(knots) == 1 or k <= knots[0]:
        return values[0]
    i = segment(knots, k)
    rise, run = values[i + 1] - values[i], knots[i + 1] - knots[i]
    return values[i] + rise * (k - knots[i]) / run


def value(knots: Sequence[int], values: Sequence[float], k: int) -> float:
    """Of a grid at k: never less than 0, however the line goes on."""
    return max(between(knots, values, k), 0.0)


class Times:
    """The terms of a step's time, in fine ticks."""

    def __init__(self, measured: StepTimes):
        self.measured = measured

    def step(
        self, decoding: int, context: int, chunks: Sequence[tuple[int, int]], answers: int
    ) -> int:
        """Of B `decoding` requests, K tokens of `context`, chunks (c, x) and s `answers`."""
        taken = (
            ticks(self.measured.host_s)
            + self.tokens(decoding, decoding + sum(c for c, _ in chunks))
            + self.decode(decoding, context, len(chunks) > 0)
            + sum(self.prefill(c, x) for c, x in chunks)
            + self.beside(decoding, sum(c for c, _ in chunks))
            + (self.line(self.measured.head, answers) if answers > 0 else 0)
        )
        return max(taken, 1)

    def line(self, grid: Line, k: int) -> int:
        return ticks(value(grid.at, grid.seconds, k))

    def tokens(self, decoding: int, n: int) -> int:
        usual = self.line(self.measured.linear, max(decoding, 1))
        more = self.line(self.measured.linear, n) - usual
        return usual + max(round(self.measured.prefill_factor * more), 0)

    def prefill(self, c: int, x: int) -> int:
        return ticks(self.on(self.measured.prefill, c, x) * self.measured.prefill_factor)

    def beside(self, b: int, tokens: int) -> int:
        grid = self.measured.beside
        return ticks(self.on(grid, b, tokens)) if grid is not None and b > 0 < tokens else 0

    def on(self, grid: Surface, row: int, column: int) -> float:
        columns = [[row[j] for row in grid.seconds] for j in range(len(grid.columns))]
        return value(grid.columns, [between(grid.rows, one, row) for one in columns], column)

    def decode(self, b: int, context: int, mixed: bool) -> int:
        return max(self.attention(b, context, mixed), 0) if b > 0 else 0

    def attention(self, b: int, context: int, mixed: bool) -> int:
        """On its line, which may lead below 0; `mixed` in a step that also computes prompts."""
        grid = self.grid(mixed)
        columns = [[row[j] for row in grid.seconds] for j in range(len(grid.columns))]
        d = [ticks(value(grid.rows, column, b)) for column in columns]
        m = grid.columns
        if len(m) == 1 or context < b * m[0]:
            return d[0]
        j = max(j for j in range(len(m) - 1) if b * m[j] <= context)
        e = round((d[j + 1] - d[j]) / (b * (m[j + 1] - m[j])))
        return d[j] + e * (context - b * m[j])

    def grid(self, mixed: bool) -> Surface:
        beside = self.measured.mixed
        return beside if mixed and beside is not None else self.measured.decode
