"""Measure on a GPU how long batches of a profile's models take: what a new profile is made of.

    python -m benchmarks.latency --out latency.json

Networks of the models' shapes with random weights (their values do not change the time) run batches
to completion as a static-batching server does: all prompts at once, then one token per request and
step, greedily, with cached keys and values. The whole batch is one CUDA graph, so Python and kernel
launches cost nothing; tokenizers and networks in front of a server are not included.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional

from llmroute_env import profiles

VOCABULARY, POSITIONS = 50272, 2050
"""OPT's embeddings: tokens, and places, of which the first two are never used."""


@dataclass(frozen=True)
class Shape:
    """Of a decoder: what a profile says of a model."""

    layers: int
    heads: int
    hidden: int


@dataclass
class Cache:
    """Keys and values so far, each (layers, batch, heads, tokens, hidden / heads)."""

    keys: Tensor
    values: Tensor


class Layer(nn.Module):
    """Attention and a feed-forward network of four times the width, each after a LayerNorm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attention_norm = nn.LayerNorm(shape.hidden)
        self.project = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.out = nn.Linear(shape.hidden, shape.hidden)
        self.network_norm = nn.LayerNorm(shape.hidden)
        self.up = nn.Linear(shape.hidden, 4 * shape.hidden)
        self.down = nn.Linear(4 * shape.hidden, shape.hidden)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        """`x` (batch, tokens, hidden) of the tokens from `start` on; extends keys and values."""
        batch, tokens, hidden = x.shape
        end = start + tokens
        projected = self.project(self.attention_norm(x))
        query, key, value = projected.view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        keys[:, :, start:end] = key
        values[:, :, start:end] = value
        attended = functional.scaled_dot_product_attention(
            query, keys[:, :, :end], values[:, :, :end], is_causal=tokens > 1
        )
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, hidden))
        fed: Tensor = self.down(functional.relu(self.up(self.network_norm(x))))
        return x + fed


class Decoder(nn.Module):
    """OPT (Zhang et al., arXiv 2205.01068): pre-norm, ReLU, learned places, tied embeddings."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(VOCABULARY, shape.hidden)
        self.places = nn.Embedding(POSITIONS, shape.hidden)
        self.layers = nn.ModuleList([Layer(shape) for _ in range(shape.layers)])
        self.norm = nn.LayerNorm(shape.hidden)

    def forward(self, tokens: Tensor, cache: Cache, start: int) -> Tensor:
        """Logits (batch, vocabulary) after `tokens` (batch, n), preceded by `start` cached ones."""
        places = torch.arange(start + 2, start + 2 + tokens.shape[1], device=tokens.device)
        x = self.tokens(tokens) + self.places(places)
        for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
            x = layer(x, keys, values, start)
        return functional.linear(self.norm(x[:, -1]), self.tokens.weight)

    def cache(self, batch: int, tokens: int) -> Cache:
        """An empty one with room for `tokens`."""
        width = self.shape.hidden // self.shape.heads
        size = (self.shape.layers, batch, self.shape.heads, tokens, width)
        like = self.tokens.weight
        return Cache(like.new_zeros(size), like.new_zeros(size))

    def generate(self, prompts: Tensor, cache: Cache, output_tokens: int) -> Tensor:
        """The greedy continuations (batch, output_tokens) of `prompts` (batch, n)."""
        start, token = prompts.shape[1], self(prompts, cache, 0).argmax(-1, keepdim=True)
        answer = [token]
        for step in range(output_tokens - 1):
            token = self(token, cache, start + step).argmax(-1, keepdim=True)
            answer.append(token)
        return torch.cat(answer, 1)


def random_decoder(shape: Shape, device: str, dtype: torch.dtype) -> Decoder:
    """One on `device`, made there: the largest would take minutes to fill on a processor."""
    with torch.device("meta"):
        decoder = Decoder(shape).to(dtype)
    decoder.to_empty(device=device)
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.02)
    return decoder


def batch_latency_s(
    decoder: Decoder, batch: int, prompt_tokens: int, output_tokens: int, repeats: int
) -> float:
    """Median time of a batch run to completion."""
    device = decoder.tokens.weight.device
    prompts = torch.randint(VOCABULARY, (batch, prompt_tokens), device=device)
    cache = decoder.cache(batch, prompt_tokens + output_tokens)

    def generate() -> None:
        decoder.generate(prompts, cache, output_tokens)

    run = _as_graph(generate) if device.type == "cuda" else generate
    times_s = []
    for _ in range(repeats + 1):
        started_s = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times_s.append(time.perf_counter() - started_s)
    return statistics.median(times_s[1:])


def _as_graph(work: Callable[[], None]) -> Callable[[], None]:
    work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def affine_fit(batches: Sequence[int], times_s: Sequence[float]) -> dict[str, float]:
    """`base_s` and `per_request_s` of the least squares line, and its largest relative error."""
    slope, base = np.polyfit(batches, times_s, 1)
    error = np.abs(base + slope * np.asarray(batches) - times_s) / times_s
    return {"base_s": base, "per_request_s": slope, "largest_error": float(error.max())}


def measure(
    profile: str = "opt-a100",
    models: tuple[str, ...] = (),
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64),
    repeats: int = 10,
    out: Path | None = None,
    device: str = "cuda",
) -> dict[str, Any]:
    """Measure how long a GPU takes for batches of a profile's models, with random weights.

    Args:
        profile: Its models' shapes, and the tokens of a request.
        models: Only these of them.
        batches: Batch sizes.
        repeats: Of which the median counts.
        out: JSON file to write; printed otherwise.
        device: `cuda`, or `cpu` to try it.
    """
    table = profiles.tables(profile)
    tokens = table["prompt_tokens"], table["output_tokens"]
    dtype = torch.float16 if device == "cuda" else torch.float32
    wanted = [profiles.load(profile).model(name).name for name in models]
    measured = {}
    for row in table["models"]:
        if wanted and row["name"] not in wanted:
            continue
        shape = Shape(row["layers"], row["heads"], row["hidden"])
        with torch.inference_mode():
            decoder = random_decoder(shape, device, dtype)
            times_s = [batch_latency_s(decoder, b, *tokens, repeats) for b in batches]
        measured[row["name"]] = {"measured_s": times_s, **affine_fit(batches, times_s)}
        del decoder
    result = {
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "torch": torch.__version__,
        "dtype": str(dtype),
        "prompt_tokens": tokens[0],
        "output_tokens": tokens[1],
        "measured_batch": batches,
        "models": measured,
    }
    text = json.dumps(result, indent=1)
    if out is None:
        print(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
    return result


if __name__ == "__main__":
    tyro.cli(measure)
