"""What every step of an instance takes at the least, by what it does: the floor of its tables.

docs/continuous-batching.md says how long a step takes. Here are linear floors of that:

    least_s[B] + context_s K + prompt_s P + attention of the prompts

for every step that answers B requests or more, of which any have K tokens of context, and computes
P tokens of prompts. Times are float seconds; what rounding to fine ticks can take off is taken off.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bounds.instance import Floats, Integers
from llmroute_env.dynamics.service.continuous.arrays import BLOCK, FINE_PER_S
from llmroute_env.dynamics.service.continuous.tables import on_line

FINE_S = 1.0 / FINE_PER_S
ROUNDING_S = 4 * FINE_S
"""More than the rounding of a step's terms takes off it, those of its prompts' attention aside."""


class Floor(NamedTuple):
    """Of steps: beside this the answers of at least 0, 1, ... requests take `least_s`."""

    least_s: Floats  # never below 0, never falling
    context_s: float  # of a token of context
    prompt_s: float  # of a token of a prompt, its attention aside


@dataclass(frozen=True)
class Engine:
    """The tables of one pool, in seconds, without the zeros behind them."""

    host_s: float
    factor: float
    running: int  # requests at once
    context: int  # tokens of all of them
    length: int  # tokens of one
    linear_s: Floats  # (N + 1,) by tokens; entry 0 is that of 1
    head_s: Floats  # (running + 1,) of at least so many
    knots: Integers  # (J,)
    decode_s: Floats  # (running + 1, J)
    slope_s: Floats  # (running + 1, J)
    mixed_s: Floats  # (running + 1, J) in steps that also compute prompts
    mixed_slope_s: Floats  # (running + 1, J)
    chunks: Integers  # (R,)
    before: Integers  # (X,)
    prefill_s: Floats  # (R, X), factor included

    @property
    def most_tokens(self) -> int:
        """Tokens of a step."""
        return len(self.linear_s) - 1

    @cached_property
    def corners(self) -> tuple[Floats, Floats]:
        """(K, seconds) where floors of steps touch them, prompts aside, each (running, V).

        By K the attention consists of lines; a linear floor is below one if it is at both ends.
        It is below both ways that decoding takes, alone and beside prompts.
        """
        alone = self.corners_of(self.decode_s, self.slope_s)
        beside = self.corners_of(self.mixed_s, self.mixed_slope_s)
        return np.hstack([alone[0], beside[0]]), np.hstack([alone[1], beside[1]])

    def corners_of(self, at_knots_s: Floats, slope_s: Floats) -> tuple[Floats, Floats]:
        """Those of one way."""
        requests = np.arange(1, self.running + 1)[:, None]
        low = 2.0 * requests
        high = np.maximum(np.minimum(self.context, requests * self.length), low)
        lines = max(len(self.knots) - 1, 1)
        begin = np.hstack([low, requests * self.knots[:lines]])
        end = np.hstack([requests * self.knots[:lines], high])
        at_begin = np.hstack([at_knots_s[1:, :1], at_knots_s[1:, :lines]])
        slope = np.hstack([0.0 * low, slope_s[1:, :lines]])
        left, right = np.clip(begin, low, high), np.clip(end, low, high)
        left_s, right_s = (at_begin + slope * (at - begin) for at in (left, right))
        # A line that comes from below 0 may give 0 up to its end: where it rises is not asked.
        right_s = np.where(left_s < 0, 0.0, right_s)
        seconds = np.maximum(np.hstack([left_s, right_s]), 0.0)
        absent = (begin > high) | (end < low)
        seconds[np.hstack([absent, absent])] = math.inf
        rest_s = self.host_s + self.linear_s[1 : self.running + 1] + self.head_s[1:] - ROUNDING_S
        return np.hstack([left, right]), seconds + rest_s[:, None]

    def above_context_s(self, context_s: float) -> Floats:
        """What a step that answers 0, 1, ... takes beside its context, shape (running + 1,)."""
        context, seconds = self.corners
        first_s = self.host_s + self.linear_s[1] - ROUNDING_S
        return np.append(first_s, (seconds - context_s * context).min(axis=1))

    def above_prompts_s(self, prompt_s: float) -> Floats:
        """What prompts add at the least beside `prompt_s` a token, never above 0, by answers."""
        answers = np.arange(self.running + 1)
        if prompt_s == 0.0:
            return np.zeros(len(answers))
        own_s = self.factor * self.linear_s - prompt_s * np.arange(len(self.linear_s))
        # Entry n: the least of steps of more than n tokens.
        least_s = np.append(np.minimum.accumulate(own_s[:0:-1])[::-1], math.inf)
        added_s = least_s[answers] - self.factor * self.linear_s[answers] + prompt_s * answers
        found: Floats = np.minimum(added_s, 0.0)
        return found

    @property
    def most_s(self) -> Floats:
        """The most that a token of context, and one of a prompt, can be said to take."""
        return np.array([self.most_context_s, self.most_prompt_s])

    @cached_property
    def most_context_s(self) -> float:
        """The most that a token of context can be said to take."""
        context, seconds = self.corners
        return max(float((seconds / context).min()), 0.0)

    @cached_property
    def most_prompt_s(self) -> float:
        """The most that a token of a prompt can be said to take, attention aside."""
        tokens = np.arange(1, self.most_tokens + 1)
        first_s = self.host_s + (1 - self.factor) * self.linear_s[1] - ROUNDING_S
        return max(float(((first_s + self.factor * self.linear_s[1:]) / tokens).min()), 0.0)

    def floors(self, context_s: Floats, prompt_s: Floats) -> Iterator[Floor]:
        """Those that there are for pairs of what tokens of both kinds take."""
        contexts = [(at, self.above_context_s(at)) for at in context_s]
        prompts = [(at, self.above_prompts_s(at)) for at in prompt_s]
        for (of_context_s, own_s), (of_prompt_s, added_s) in product(contexts, prompts):
            least_s = own_s + added_s
            if of_context_s == of_prompt_s == 0.0:
                least_s = np.maximum(least_s, FINE_S)
            least_s = np.minimum.accumulate(least_s[::-1])[::-1]
            if least_s[0] >= 0:
                yield Floor(least_s, float(of_context_s), float(of_prompt_s))


def engine_of(tables: Any, pool: int) -> Engine:
    """The engine of a pool; `tables` are EngineTables."""
    own = tables.engines[pool]
    running = int(min(own["most_running"], own["blocks"], own["most_tokens"]))
    linear_s = tables.linear[pool, : own["most_tokens"] + 1] * FINE_S
    linear_s[0] = linear_s[1]
    head_s = tables.head[pool, : own["most_running"] + 1] * FINE_S
    rows, columns = own["prefill_rows"], own["prefill_columns"]
    knots = own["decode_knots"]
    return Engine(
        host_s=float(own["host"]) * FINE_S,
        factor=float(own["prefill_factor"]),
        running=running,
        context=int(own["blocks"]) * BLOCK,
        length=int(own["length_limit"]),
        linear_s=linear_s,
        head_s=np.minimum.accumulate(head_s[::-1])[::-1][: running + 1],
        knots=tables.decode_knots[pool, :knots],
        decode_s=tables.decode[pool, : running + 1, :knots] * FINE_S,
        slope_s=tables.decode_slope[pool, : running + 1, :knots] * FINE_S,
        mixed_s=tables.mixed[pool, : running + 1, :knots] * FINE_S,
        mixed_slope_s=tables.mixed_slope[pool, : running + 1, :knots] * FINE_S,
        chunks=tables.prefill_rows[pool, :rows],
        before=tables.prefill_columns[pool, :columns],
        prefill_s=tables.prefill_s[pool, :rows, :columns] * float(own["prefill_factor"]),
    )


@dataclass(frozen=True)
class Attention:
    """Of a chunk of c tokens after x others: at least c (token_s + pair_s (x + c / 2))."""

    token_s: float
    pair_s: float

    def of_s(self, prompt: Floats) -> Floats:
        """Of a whole prompt, however it is cut."""
        return prompt * (self.token_s + self.pair_s * prompt / 2)


def attention_of(engine: Engine, prompt: Floats) -> Attention:
    """The floor that is highest for these prompts together.

    Between knots the time is linear in c and in x, and the floor convex in c and linear in x: it
    is below everywhere if it is at the corners.
    """
    from scipy import optimize

    chunk, before, seconds = chunk_corners(engine)
    shape = np.column_stack([np.ones(len(chunk)), before + chunk / 2])
    solve: Any = optimize.linprog
    scale = np.array([1.0, float(prompt.max(initial=1.0))])
    aim = np.array([prompt.sum(), (prompt**2).sum() / 2]) / scale / max(float(prompt.sum()), 1.0)
    unit_s = max(float((seconds / chunk).min()), FINE_S / engine.most_tokens)
    found = solve(-aim, A_ub=shape / scale, b_ub=seconds / chunk / unit_s, method="highs")
    if found.status != 0:
        return Attention(0.0, 0.0)
    token_s, pair_s = np.maximum(found.x, 0.0) * unit_s / scale
    floor_s = chunk * (shape @ [token_s, pair_s])
    over = float((floor_s / np.maximum(seconds, 1e-300)).max())
    # Within what the solver's tolerance allows it may be above.
    return Attention(*(float(v) / max(over, 1.0) for v in (token_s, pair_s)))


def chunk_corners(engine: Engine) -> tuple[Floats, Floats, Floats]:
    """(chunk, tokens before it, least seconds) at the corners of the prefill grid, flat."""
    longest = min(engine.most_tokens, engine.length)
    chunks = within(engine.chunks, longest)
    before = within(engine.before, max(engine.length - 1, 0))
    by_chunk = on_line(tuple(engine.chunks), engine.prefill_s, chunks)
    seconds = on_line(tuple(engine.before), by_chunk.T, before).T
    chunk, x = np.meshgrid(chunks.astype(float), before.astype(float), indexing="ij")
    return chunk.ravel(), x.ravel(), np.maximum(seconds - FINE_S, 0.0).ravel()


def within(knots: Integers, most: int) -> Integers:
    """The knots below `most`, and that itself: where lines can end."""
    return np.append(knots[knots < most], most)
