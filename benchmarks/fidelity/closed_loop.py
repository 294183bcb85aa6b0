"""TPOT where a fixed number of requests is in flight, as in a benchmark with so many clients.

Requests arrive evenly spaced, at the rate at which, by Little's law, so many are in flight on
average. That is a closed loop whose clients are out of step: of ones in step (all begin at once,
with the same lengths) only a jitter of lengths would decide how far they stay so, which no table
tells.
"""

from __future__ import annotations

import numpy as np

from benchmarks.fidelity.recorded import Assumptions, TpotRow
from benchmarks.fidelity.serving import Requests, Served, serve

WARM_UP, COUNTED = 3, 3
"""Rounds of as many requests as are in flight: before what counts, and of what counts."""
LEAST = 16
"""Requests that count, of a single client."""
CLOSE = 0.005
"""How far the number in flight may be off, as a share."""


def predicted_tpot_s(row: TpotRow, assumed: Assumptions) -> float:
    """Mean TPOT with `row.concurrency` requests in flight."""
    if row.concurrency == 1:
        served = serve(row.setup, assumed, spaced(row, 0.0, 1))
        return float(served.figures["TPOT"][0])
    low_s, high_s = 0.0, np.inf
    gap_s = float(serve(row.setup, assumed, spaced(row, 0.0, 1)).last_token_s[0])
    gap_s *= 2.0 / row.concurrency
    while True:
        served = steady(row, assumed, gap_s)
        flying = float(np.mean(served.figures["E2E"])) / gap_s
        if abs(flying / row.concurrency - 1) <= CLOSE or high_s - low_s < 1e-4 * gap_s:
            return float(np.mean(served.figures["TPOT"]))
        if flying > row.concurrency:
            low_s = gap_s
        else:
            high_s = gap_s
        gap_s = 2 * gap_s if np.isinf(high_s) else next_gap_s(row, served, (low_s, high_s))


def next_gap_s(row: TpotRow, served: Served, bounds: tuple[float, float]) -> float:
    """What the answers' time suggests, or where that is out of bounds their middle."""
    low_s, high_s = bounds
    suggested_s = float(np.mean(served.figures["E2E"])) / row.concurrency
    inside = low_s < suggested_s < high_s
    return suggested_s if inside else (low_s + high_s) / 2


def steady(row: TpotRow, assumed: Assumptions, gap_s: float) -> Served:
    """What became of the requests that count, which arrive so far apart."""
    counted = max(COUNTED * row.concurrency, LEAST)
    before = WARM_UP * row.concurrency
    # Those that follow keep the number in flight until the last that counts is answered.
    requests = spaced(row, gap_s, before + counted + 2 * row.concurrency)
    served = serve(row.setup, assumed, requests)
    return served.some(slice(before, before + counted))


def spaced(row: TpotRow, gap_s: float, count: int) -> Requests:
    """Requests of the row's lengths, so far apart."""
    prompts = np.full(count, row.prompt_tokens, np.int32)
    answers = np.full(count, row.output_tokens, np.int32)
    return Requests(gap_s * np.arange(count, dtype=np.float64), prompts, answers)
