"""Continuous batching as it is: a decoder with random weights that serves requests as they come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.latency import as_graph
from benchmarks.measuring.bench import DTYPES
from benchmarks.measuring.network import random_engine
from benchmarks.measuring.paged import WAYS, Places, best_way, places_of
from benchmarks.measuring.scheduling import PAGE, InFlight, Limits, Piece, Scheduler
from benchmarks.measuring.shapes import EngineShape

GRAPHED = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256)
"""Requests that decode together in steps that a GPU replays as one CUDA graph; others join the next
larger one with requests of one token."""

MOST_CONTEXT = 4096
"""Tokens of a request that such a graph has room for."""


@dataclass(frozen=True)
class Requests:
    """N requests as they arrive, seconds after the first moment."""

    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]


class Engine:
    """A decoder, the pages of its cache, and how a step runs."""

    def __init__(
        self, shape: EngineShape, device: str, limits: Limits, graphs: bool = True
    ) -> None:
        self.shape, self.device, self.limits = shape, device, limits
        self.dtype = DTYPES[device]
        self.decoder: Any = random_engine(shape, device, self.dtype)
        size = 2, shape.layers, limits.pages + 1, PAGE, shape.kv_heads, shape.head_width
        # One page more: where the requests are that only fill a graph.
        self.cache = torch.zeros(size, device=device, dtype=self.dtype)
        self.way = self._tried_way()
        self.graphs: dict[int, tuple[Places, Tensor, Any]] = {}
        self.without_graphs = "attention is not in pages"
        if graphs and device == "cuda" and self.way == "in pages":
            self.without_graphs = self._try_to_capture()

    def _tried_way(self) -> str:
        """Try ways on two prompts, one of them across two pages, and one that decodes."""
        pieces = [
            Piece(InFlight(0, 300, 2, pages=[0, 1]), 300),
            Piece(InFlight(1, 5, 2, pages=[0]), 5),
        ]
        pieces.append(Piece(InFlight(2, 9, 3, computed=9, answered=1, pages=[1]), 1))
        if self.limits.pages < 2:
            return "one by one"
        at = places_of(pieces, [0] * 306, self.device)
        heads = 306, self.shape.heads, self.shape.head_width
        query = torch.randn(heads, device=self.device, dtype=self.dtype)
        keys, values = torch.randn_like(self.cache[:, 0])
        return best_way(query, keys, values, at)

    def compute(self, at: Places) -> Tensor:
        """The tokens (a,) that are answered in a step."""
        way = WAYS[self.way]

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys, values = self.cache[:, layer]
            keys.flatten(0, 1).index_copy_(0, at.slots, key)
            values.flatten(0, 1).index_copy_(0, at.slots, value)
            return way(query, keys, values, at)

        found: Tensor = self.decoder.next_tokens(
            self.decoder(at.tokens, at.places, attend)[at.last]
        )
        return found

    def step(self, pieces: list[Piece], tokens: list[int]) -> list[int]:
        """Compute, and bring the new tokens back."""
        if self.graphs and all(piece.tokens == 1 for piece in pieces):
            return self._replay(pieces, tokens)
        return self.compute(places_of(pieces, tokens, self.device)).tolist()

    def _try_to_capture(self) -> str:
        """Why there are no graphs, if a release of torch cannot make them."""
        try:
            self._capture()
        except RuntimeError as error:
            self.graphs.clear()
            return str(error)
        return ""

    def _capture(self) -> None:
        """Graphs of steps in which all decode, for the numbers of requests of GRAPHED."""
        widest = -(-min(self.shape.context_tokens, MOST_CONTEXT) // PAGE)
        for count in (n for n in GRAPHED if n <= self.limits.most_running):
            idle = [Piece(self._idle(), 1) for _ in range(count)]
            at = places_of(idle, [0] * count, self.device)
            table = torch.full(
                (count, widest), self.limits.pages, dtype=torch.int32, device=self.device
            )
            at = replace(at, table=table, most=(1, widest * PAGE))
            found = torch.zeros(count, dtype=torch.int64, device=self.device)

            def work(at: Places = at, found: Tensor = found) -> None:
                found.copy_(self.compute(at))

            self.graphs[count] = at, found, as_graph(work)

    def _idle(self) -> InFlight:
        return InFlight(-1, 1, 1, pages=[self.limits.pages])

    def _replay(self, pieces: list[Piece], tokens: list[int]) -> list[int]:
        size = min((n for n in self.graphs if n >= len(pieces)), default=0)
        if size == 0 or max(len(p.request.pages) for p in pieces) > MOST_CONTEXT // PAGE:
            return self.compute(places_of(pieces, tokens, self.device)).tolist()
        idle = [Piece(self._idle(), 1)] * (size - len(pieces))
        here = places_of([*pieces, *idle], [*tokens, *[0] * len(idle)], "cpu")
        at, found, run = self.graphs[size]
        for name in ("tokens", "places", "slots", "used"):
            getattr(at, name).copy_(getattr(here, name), non_blocking=True)
        at.table[:, : here.table.shape[1]].copy_(here.table, non_blocking=True)
        run()
        return found[: len(pieces)].tolist()


def serve(engine: Engine, requests: Requests, limit_s: float) -> dict[str, Any]:
    """Send requests when they are due, whatever became of others; for so many seconds at most.

    Returns:
        How steps ran, and of every request that was sent its times in seconds of one clock, None
        where it was not answered in time.
    """
    scheduler, words = Scheduler(engine.limits), dict[int, int]()
    count = len(requests.arrival_s)
    seen, first, last = (np.full(count, np.nan) for _ in range(3))
    steps, sent, started_s = 0, 0, time.perf_counter()
    while True:
        now_s = time.perf_counter() - started_s
        while sent < count and requests.arrival_s[sent] <= now_s:
            sizes = int(requests.prompt_tokens[sent]), int(requests.output_tokens[sent])
            scheduler.add(InFlight(sent, *sizes))
            seen[sent], sent = now_s, sent + 1
        pieces = scheduler.plan()
        if now_s >= limit_s or (not pieces and sent == count):
            break
        if not pieces:
            time.sleep(max(requests.arrival_s[sent] - now_s, 0.0))
            continue
        given = [words.get(p.request.number, 0) for p in pieces for _ in range(p.tokens)]
        answers = engine.step(pieces, given)
        now_s, steps = time.perf_counter() - started_s, steps + 1
        for request, word in zip(scheduler.finish(pieces), answers, strict=True):
            words[request.number] = word
            if request.answered == 1:
                first[request.number] = now_s
            if request.answered == request.output:
                last[request.number] = now_s
    return {
        "attention": engine.way,
        "graphs": sorted(engine.graphs),
        "without_graphs": engine.without_graphs,
        "steps": steps,
        "spent_s": time.perf_counter() - started_s,
        **told_of(requests, sent, (seen, first, last)),
    }


def told_of(
    requests: Requests, sent: int, times_s: Sequence[NDArray[np.float64]]
) -> dict[str, Any]:
    """What is kept of the requests that were sent, the first so many.

    Args:
        requests: N of them.
        sent: how many.
        times_s: when each was seen, and had its first and its last token; NaN where it was not.
    """
    seen, first, last = (told(column[:sent]) for column in times_s)
    return {
        "arrival_s": told(requests.arrival_s[:sent]),
        "queued_s": seen,
        "first_token_s": first,
        "last_token_s": last,
        "prompt_tokens": requests.prompt_tokens[:sent].tolist(),
        "output_tokens": requests.output_tokens[:sent].tolist(),
    }


def told(times_s: NDArray[np.float64]) -> list[float | None]:
    """Times in whole microseconds; None where there is none."""
    return [round(at_s, 6) if at_s == at_s else None for at_s in times_s.tolist()]
