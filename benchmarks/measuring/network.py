"""A decoder that computes the tokens of one step, of whatever requests they are.

Nothing in it but attention knows which token belongs to whom; what attends to what is the caller's.
Its weights are random: their values do not change the time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.latency import filled_on
from benchmarks.measuring.shapes import EngineShape

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""From a layer's number and its queries (n, heads, width), keys and values (n, kv_heads, width) of
the tokens of a step to what they attend to, shaped like the queries."""

UNUSED_PLACES, ROTATION_BASE = 2, 1e6
"""OPT's first places, and Qwen2.5's `rope_theta`."""


class Block(nn.Module):
    """One layer: attention and a feed-forward network, each after a norm."""

    def __init__(self, shape: EngineShape) -> None:
        super().__init__()
        self.shape = shape
        norm = nn.RMSNorm if shape.gated else nn.LayerNorm
        plain, queries = not shape.gated, shape.heads * shape.head_width
        both = queries + 2 * shape.kv_heads * shape.head_width
        self.attention_norm = norm(shape.hidden)
        self.project = nn.Linear(shape.hidden, both, bias=plain or shape.biased)
        self.out = nn.Linear(queries, shape.hidden, bias=plain)
        self.network_norm = norm(shape.hidden)
        self.up = nn.Linear(shape.hidden, shape.inner * (1 + shape.gated), bias=plain)
        self.down = nn.Linear(shape.inner, shape.hidden, bias=plain)

    def forward(self, x: Tensor, rotation: Tensor | None, attend: Attend, layer: int) -> Tensor:
        """`x` (n, hidden) after this layer."""
        shape, tokens = self.shape, len(x)
        heads = self.project(self.attention_norm(x)).view(tokens, -1, shape.head_width)
        query, key, value = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], 1)
        if rotation is not None:
            query, key = rotated(query, rotation), rotated(key, rotation)
        x = x + self.out(attend(layer, query, key, value).reshape(tokens, -1))
        fed: Tensor = self.down(self.activated(self.up(self.network_norm(x))))
        return x + fed

    def activated(self, fed: Tensor) -> Tensor:
        """What the second half of the feed-forward network gets."""
        if not self.shape.gated:
            return functional.relu(fed)
        gate, up = fed.chunk(2, -1)
        return functional.silu(gate) * up


class EngineDecoder(nn.Module):
    """A stack of blocks between tokens and logits."""

    def __init__(self, shape: EngineShape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        places = shape.context_tokens + UNUSED_PLACES
        self.places = None if shape.gated else nn.Embedding(places, shape.hidden)
        self.blocks = nn.ModuleList([Block(shape) for _ in range(shape.layers)])
        self.norm = nn.RMSNorm(shape.hidden) if shape.gated else nn.LayerNorm(shape.hidden)
        self.head = None if shape.tied else nn.Linear(shape.hidden, shape.vocabulary, bias=False)

    def forward(self, tokens: Tensor, places: Tensor, attend: Attend) -> Tensor:
        """What is known after each of `tokens` (n,), at `places` (n,): shape (n, hidden)."""
        x, rotation = self.tokens(tokens), None
        if self.places is None:
            rotation = rotation_of(places, self.shape.head_width, x.dtype)
        else:
            x = x + self.places(places + UNUSED_PLACES)
        for layer, block in enumerate(self.blocks):
            x = block(x, rotation, attend, layer)
        normed: Tensor = self.norm(x)
        return normed

    def next_tokens(self, x: Tensor) -> Tensor:
        """The likeliest token (s,) after each of `x` (s, hidden)."""
        weight = self.tokens.weight if self.head is None else self.head.weight
        return functional.linear(x, weight).argmax(-1)


def rotation_of(places: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Cosine and sine of every place, shape (2, n, 1, width)."""
    half = torch.arange(0, width, 2, device=places.device) / width
    angle = (places[:, None] / ROTATION_BASE**half).repeat(1, 2)
    return torch.stack([angle.cos(), angle.sin()])[:, :, None].to(dtype)


def rotated(heads: Tensor, rotation: Tensor) -> Tensor:
    """Heads (n, heads, width) turned by their places."""
    low, high = heads.chunk(2, -1)
    cosine, sine = rotation
    turned: Tensor = heads * cosine + torch.cat([-high, low], -1) * sine
    return turned


def random_engine(shape: EngineShape, device: str, dtype: torch.dtype) -> EngineDecoder:
    """One with random weights on `device`."""
    return filled_on(device, dtype, lambda: EngineDecoder(shape))
