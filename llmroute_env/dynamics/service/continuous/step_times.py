"""How long a step takes, from the tables; all in fine ticks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.service.continuous.arrays import FINE_PER_S, EngineTables


@compiled
def cell_of(knots: NDArray[np.int64], used: int, at: int) -> int:
    """The last of the used knots but one, that is not above `at`, or the first."""
    low, high = 0, max(used - 2, 0)
    while low < high:
        middle = (low + high + 1) // 2
        if knots[middle] <= at:
            low = middle
        else:
            high = middle - 1
    return low


@compiled
def between(x0: int, x1: int, y0: float, y1: float, at: int) -> float:
    """The value at `at` of the line through two points."""
    return y0 + (y1 - y0) * float(at - x0) / float(x1 - x0)


@compiled
def prefill(tables: EngineTables, pool: int, chunk: int, computed: int) -> int:
    """Attention of `chunk` tokens of a prompt of which `computed` are there.

    Of those that begin one, as far as a step can hold them, it is looked up.
    """
    if computed == 0 and chunk <= tables.engines[pool].most_tokens:
        return int(tables.prompt[pool, chunk])
    return prefill_between(tables, pool, chunk, computed)


@compiled
def prefill_between(tables: EngineTables, pool: int, chunk: int, computed: int) -> int:
    """`prefill`, from what was measured."""
    engine = tables.engines[pool]
    rows = tables.prefill_rows[pool, : engine.prefill_rows]
    columns = tables.prefill_columns[pool, : engine.prefill_columns]
    value_s = on_grid(rows, columns, tables.prefill_s[pool], chunk, computed)
    return ticks(value_s * engine.prefill_factor)


@compiled
def beside(tables: EngineTables, pool: int, decoding: int, tokens: int) -> int:
    """What attention takes longer where `decoding` and so many tokens of prompts are in a step."""
    if decoding == 0 or tokens == 0:
        return 0
    engine = tables.engines[pool]
    rows = tables.beside_rows[pool, : engine.beside_rows]
    columns = tables.beside_columns[pool, : engine.beside_columns]
    return ticks(on_grid(rows, columns, tables.beside_s[pool], decoding, tokens))


@compiled
def on_grid(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    values: NDArray[np.float64],
    row: int,
    column: int,
) -> float:
    """The value between four of a grid: that of the first knot below it, on the line above."""
    c, x = max(row, rows[0]), max(column, columns[0])
    i, j = cell_of(rows, len(rows), c), cell_of(columns, len(columns), x)
    left = at_row(rows, values[:, j], i, c)
    if len(columns) == 1:
        return left
    right = at_row(rows, values[:, j + 1], i, c)
    return between(columns[j], columns[j + 1], left, right, x)


@compiled
def at_row(rows: NDArray[np.int64], values: NDArray[np.float64], i: int, at: int) -> float:
    """The value of a column at `at`, which lies beside row `i`."""
    if len(rows) == 1:
        return float(values[0])
    return between(rows[i], rows[i + 1], values[i], values[i + 1], at)


@compiled
def ticks(seconds: float) -> int:
    """Fine ticks of a time that is no less than 0."""
    return int(np.rint(max(seconds, 0.0) * FINE_PER_S))


@compiled
def linear(tables: EngineTables, pool: int, decoding: int, tokens: int) -> int:
    """What does not depend on contexts, of a step of so many `tokens`, `decoding` included."""
    own = tables.linear[pool, max(decoding, 1)]
    if tokens == decoding:
        return int(own)
    return int(own) + added_by_tokens(tables, pool, decoding, tokens)


@compiled
def added_by_tokens(tables: EngineTables, pool: int, decoding: int, tokens: int) -> int:
    """What the tokens of prompts add to `linear`."""
    more = tables.linear[pool, tokens] - tables.linear[pool, max(decoding, 1)]
    # Tables that were measured fall in places: more tokens never make a step shorter here.
    return max(int(np.rint(tables.engines[pool].prefill_factor * float(more))), 0)


@compiled
def piece_of(tables: EngineTables, pool: int, decoding: int, context: int, near: int) -> int:
    """Which line of the attention holds for a context; -1 below the first. It is looked for `near`.

    Contexts grow little by little, so that a search by halves would take longer.
    """
    knots, last = tables.decode_knots[pool], max(tables.engines[pool].decode_knots - 2, 0)
    piece = near
    while piece < last and decoding * knots[piece + 1] <= context:
        piece += 1
    while piece >= 0 and decoding * knots[piece] > context:
        piece -= 1
    return int(piece)


@compiled
def decode(
    tables: EngineTables, pool: int, decoding: int, context: int, piece: int, mixed: bool
) -> int:
    """Attention of `decoding` requests with `context` tokens in all, on its line or at 0.

    `mixed`: in a step that also computes prompts.
    """
    if decoding == 0:
        return 0
    values = tables.mixed if mixed else tables.decode
    if piece < 0:
        return int(values[pool, decoding, 0])
    slopes = tables.mixed_slope if mixed else tables.decode_slope
    above = context - decoding * tables.decode_knots[pool, piece]
    return int(max(values[pool, decoding, piece] + slopes[pool, decoding, piece] * above, 0))


@compiled
def growth_of(tables: EngineTables, pool: int, decoding: int, piece: int, attention: int) -> int:
    """What the attention of each step is longer than that of the one before, on one line."""
    if piece < 0:
        return 0
    growth = int(tables.decode_slope[pool, decoding, piece] * decoding)
    # A line that falls has come to 0, and stays there.
    return 0 if growth < 0 and attention == 0 else growth


@compiled
def steps_that_grow(growth: int, attention: int, length: int) -> int:
    """Steps until one would have attention, or all of it, shorter than can be; at least one."""
    if growth < 0:
        return 1 + min(attention, length - 1) // -growth
    return 1 if length < 1 and growth > 0 else 1 << 60
