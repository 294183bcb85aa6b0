"""Attention of the tokens of many requests to keys and values in pages of one cache.

There are several ways to compute the same. The quickest of those that work where this runs is
taken: what a release of torch offers for a device is found by trying it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from benchmarks.measuring.attention import chunk
from benchmarks.measuring.scheduling import PAGE, Piece


@dataclass(frozen=True)
class Places:
    """Of the n tokens and r requests of a step where they are, on the device.

    Attributes:
        tokens, places, slots: (n,) which, how far in, and where in the cache keys are written.
        ends: (r + 1,) int32, how many tokens come before each request's, in the step.
        used: (r,) int32, tokens of each that are in the cache after the step.
        table: (r, most pages) int32, the pages of each.
        last: (a,) numbers of the tokens that are followed by an answer.
        most: tokens of a request in this step, and in the cache, at most.
    """

    tokens: Tensor
    places: Tensor
    slots: Tensor
    ends: Tensor
    used: Tensor
    table: Tensor
    last: Tensor
    most: tuple[int, int]


def places_of(pieces: Sequence[Piece], tokens: Sequence[int], device: str) -> Places:
    """Where what a step computes is; `tokens` are the numbers of its words."""
    places: list[int] = []
    slots: list[int] = []
    ends = [0]
    for request, count in pieces:
        span = range(request.computed, request.computed + count)
        places += span
        slots += [request.pages[k // PAGE] * PAGE + k % PAGE for k in span]
        ends.append(ends[-1] + count)
    last = [end - 1 for piece, end in zip(pieces, ends[1:], strict=True) if piece.answers]
    used = [piece.request.computed + piece.tokens for piece in pieces]
    widest = max(len(piece.request.pages) for piece in pieces)
    table = [[*piece.request.pages, *[0] * (widest - len(piece.request.pages))] for piece in pieces]
    most = max(piece.tokens for piece in pieces), max(used)
    longs = [torch.tensor(x, device=device).long() for x in (tokens, places, slots, last)]
    ints = [torch.tensor(x, device=device).int() for x in (ends, used, table)]
    return Places(*longs[:3], *ints, longs[3], most)  # type: ignore[arg-type, call-arg]


Way = Callable[[Tensor, Tensor, Tensor, Places], Tensor]
"""From queries (n, heads, width), keys and values (pages, PAGE, kv_heads, width) to (n, ...)."""


def one_by_one(query: Tensor, keys: Tensor, values: Tensor, at: Places) -> Tensor:
    """Request by request: slow, and right wherever torch runs."""
    found, ends = torch.empty_like(query), at.ends.tolist()
    for r, used in enumerate(at.used.tolist()):
        own = at.table[r, : -(-used // PAGE)].long()
        near = (cache[own].flatten(0, 1)[:used] for cache in (keys, values))
        rows = slice(ends[r], ends[r + 1])
        found[rows] = chunk(query[rows], *near)
    return found


def packed(query: Tensor, keys: Tensor, values: Tensor, at: Places) -> Tensor:
    """By Flash Attention, all keys and values copied next to each other before."""
    varlen: Any = import_module("torch.nn.attention.varlen")
    used = at.used.long()
    starts = torch.cumsum(used, 0) - used
    rows = torch.repeat_interleave(torch.arange(len(used), device=used.device), used)
    inside = torch.arange(len(rows), device=used.device) - starts[rows]
    slots = at.table[rows, inside // PAGE].long() * PAGE + inside % PAGE
    near = (cache.flatten(0, 1)[slots] for cache in (keys, values))
    ends = torch.nn.functional.pad(torch.cumsum(used, 0), (1, 0)).int()
    shared = query.shape[1] != keys.shape[2]
    found: Tensor = varlen.varlen_attn(
        query, *near, at.ends, ends, *at.most, window_size=(-1, 0), enable_gqa=shared
    )
    return found


def in_pages(query: Tensor, keys: Tensor, values: Tensor, at: Places) -> Tensor:
    """By Flash Attention, keys and values read where they are."""
    varlen: Any = import_module("torch.nn.attention.varlen")
    found: Tensor = varlen.varlen_attn(
        query,
        keys,
        values,
        at.ends,
        torch.nn.functional.pad(torch.cumsum(at.used, 0), (1, 0)).int(),
        *at.most,
        window_size=(-1, 0),
        enable_gqa=query.shape[1] != keys.shape[2],
        seqused_k=at.used,
        block_table=at.table,
    )
    return found


WAYS: dict[str, Way] = {"in pages": in_pages, "packed": packed, "one by one": one_by_one}
"""The quickest first."""


def best_way(query: Tensor, keys: Tensor, values: Tensor, at: Places) -> str:
    """The first of WAYS that works here and finds what computing one by one does."""
    expected = one_by_one(query, keys, values, at)
    for name, way in WAYS.items():
        try:
            found = way(query, keys, values, at)
        except (
            RuntimeError,
            ImportError,
            AttributeError,
            TypeError,
            NotImplementedError,
            ValueError,
        ):
            continue
        if torch.allclose(found.float(), expected.float(), atol=2e-2, rtol=2e-2):
            return name
    return "one by one"
