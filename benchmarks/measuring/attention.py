"""Attention of the tokens of a step to keys and values that lie in a cache.

Requests lie one after the other, each without gaps; blocks as real engines have them are not
measured. Heads that share keys and values (grouped queries) read them without a copy.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.measuring.shapes import EngineShape

SPREAD_BYTES = 2**30
"""Layers have a cache each, or take turns on so many bytes: far more than a GPU keeps at hand, so
that none finds there what another has read (50 MB on an H100)."""


class Cache:
    """Keys and values of `slots` tokens, for layers that take turns on it."""

    def __init__(self, shape: EngineShape, slots: int, device: str, dtype: torch.dtype) -> None:
        per_layer = cache_bytes(shape, slots, dtype) // shape.layers
        layers = min(shape.layers, max(1, SPREAD_BYTES // per_layer))
        size = (layers, 2, slots, shape.kv_heads, shape.head_width)
        self.held = torch.empty(size, device=device, dtype=dtype).normal_()

    def of(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer, each (slots, kv_heads, width)."""
        keys, values = self.held[layer % len(self.held)]
        return keys, values

    def write(self, layer: int, slots: Tensor, key: Tensor, value: Tensor) -> None:
        """Keep keys and values (n, kv_heads, width) at `slots` (n,)."""
        keys, values = self.of(layer)
        keys.index_copy_(0, slots, key)
        values.index_copy_(0, slots, value)


def cache_bytes(shape: EngineShape, tokens: int, dtype: torch.dtype) -> int:
    """What the keys and values of so many tokens take, in all layers."""
    return shape.kv_numbers_per_token * tokens * dtype.itemsize


def decoding(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One token of each request to all that this request has in the cache.

    Args:
        query: (requests, heads, width).
        keys: (requests x tokens, kv_heads, width), request by request.
        values: likewise.
    """
    requests, heads, width = query.shape
    lying = (requests, -1, keys.shape[1], width)
    found = scaled_dot_product_attention(
        query.view(requests, keys.shape[1], -1, width),
        keys.view(lying).transpose(1, 2),
        values.view(lying).transpose(1, 2),
    )
    return found.reshape(requests, heads, width)


def chunk(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The last tokens of one prompt to all that come before, and themselves.

    Args:
        query: (tokens, heads, width).
        keys: (cached + tokens, kv_heads, width).
        values: likewise.
    """
    tokens, heads, width = query.shape
    length, kv_heads, _ = keys.shape
    shared = (kv_heads, heads // kv_heads, length, width)
    found = scaled_dot_product_attention(
        query.view(tokens, kv_heads, -1, width).permute(1, 2, 0, 3),
        keys.transpose(0, 1)[:, None].expand(shared),
        values.transpose(0, 1)[:, None].expand(shared),
        attn_mask=causal(tokens, length, query.device),
    )
    return found.permute(2, 0, 1, 3).reshape(tokens, heads, width)


def causal(tokens: int, length: int, device: torch.device) -> Tensor:
    """Which of `length` each of the last `tokens` sees: those up to itself."""
    if device.type == "cuda":
        # Not a mask in memory: kernels know this one, and are many times as fast.
        return causal_lower_right(tokens, length)
    return torch.ones(tokens, length, dtype=torch.bool, device=device).tril(length - tokens)
