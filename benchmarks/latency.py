"""Measure on a GPU how long batches of a profile's models take: what a new profile is made of.

Networks of the models' shapes with random weights (their values do not change the time) run batches
to completion as a static-batching server does: all prompts at once, then one token per request and
step, greedily, with cached keys and values. The whole batch is one CUDA graph, so Python and kernel
launches cost nothing; tokenizers and networks in front of a server are not included.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from llmroute_env import profiles
from llmroute_env.specs import require

VOCABULARY, POSITIONS = 50272, 2050
"""OPT's embeddings: tokens, and places, of which the first two are never used."""

DEVICES = {"cuda": torch.float16, "cpu": torch.float32}
"""Where it can be measured, and with what numbers."""

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Shape:
    """Size of a decoder, as a profile gives it for a model."""

    layers: int
    heads: int
    hidden: int


class AffineFit(NamedTuple):
    """T(b) = base_s + per_request_s b, and its largest relative error."""

    base_s: float
    per_request_s: float
    largest_error: float


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
    """One with random weights on `device`."""
    return filled_on(device, dtype, lambda: Decoder(shape))


def filled_on(device: str, dtype: torch.dtype, make: Callable[[], Network]) -> Network:
    """A network with random weights on `device`.

    They are made there: the largest would take minutes to fill on a processor.
    """
    with torch.device("meta"):
        network = make().to(dtype)
    network.to_empty(device=device)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.02)
    return network


def batch_latency_s(
    decoder: Decoder, batch: int, prompt_tokens: int, output_tokens: int, repeats: int
) -> float:
    """Median time of a batch run to completion."""
    device = decoder.tokens.weight.device
    prompts = torch.randint(VOCABULARY, (batch, prompt_tokens), device=device)
    cache = decoder.cache(batch, prompt_tokens + output_tokens)

    def generate() -> None:
        decoder.generate(prompts, cache, output_tokens)

    run = as_graph(generate) if device.type == "cuda" else generate
    times_s = []
    for _ in range(repeats + 1):
        started_s = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times_s.append(time.perf_counter() - started_s)
    return statistics.median(times_s[1:])


def as_graph(work: Callable[[], None]) -> Callable[[], None]:
    """The same work as one CUDA graph, which launches it all at once."""
    work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def affine_fit(batches: Sequence[int], times_s: Sequence[float]) -> AffineFit:
    """The least squares line through median times that never falls, and how far it is off.

    A larger batch takes no less work: where noise says so, the line is level, lest a batch beyond
    those measured be predicted to take no time at all. Nor does it begin below 0, for the same sake
    of smaller ones: of two batches alone the line would be exact and a single request's time less
    than none.
    """
    slope, base = np.polyfit(batches, times_s, 1)
    if slope < 0.0:
        slope, base = 0.0, np.mean(times_s)
    elif base < 0.0:
        slope, base = np.dot(batches, times_s) / np.dot(batches, batches), 0.0
    error = np.abs(base + slope * np.asarray(batches) - times_s) / times_s
    return AffineFit(float(base), float(slope), float(error.max()))


def measure(
    profile: str, models: Sequence[str], batches: Sequence[int], repeats: int, device: str
) -> dict[str, list[float]]:
    """Median times of batches, by model: those of the profile, or only `models`.

    Raises:
        ConfigError: no such profile, model or device, or a number that is not positive.
    """
    check_device(device, repeats)
    require(len(batches) > 1 and min(batches) >= 1, "batches", batches, "two sizes or more, >= 1")
    require(profile in profiles.names(), "profile", profile, ", ".join(profiles.names()))
    wanted = [profiles.load(profile).model(name).name for name in models]
    table = profiles.tables(profile)
    accepted = "a profile of batches, of which continuous batching knows none"
    require("largest_batch" in table, "profile", profile, accepted)
    tokens = table["prompt_tokens"], table["output_tokens"]
    return {
        row["name"]: measure_model(
            Shape(row["layers"], row["heads"], row["hidden"]), batches, *tokens, repeats, device
        )
        for row in table["models"]
        if row["name"] in wanted or not wanted
    }


def check_device(device: str, repeats: int) -> None:
    """Raise a ConfigError unless so many repeats can be measured there."""
    require(device in DEVICES, "device", device, ", ".join(DEVICES))
    usable = device == "cpu" or torch.cuda.is_available()
    require(usable, "device", device, "cpu, as torch finds no CUDA GPU here")
    require(repeats >= 1, "repeats", repeats, ">= 1")


def measure_model(
    shape: Shape,
    batches: Sequence[int],
    prompt_tokens: int,
    output_tokens: int,
    repeats: int,
    device: str,
) -> list[float]:
    """Median time of a batch of each size."""
    with torch.inference_mode():
        decoder = random_decoder(shape, device, DEVICES[device])
        return [batch_latency_s(decoder, b, prompt_tokens, output_tokens, repeats) for b in batches]


def as_profile(
    base: str, batches: Sequence[int], measured_s: Mapping[str, Sequence[float]], device: str
) -> str:
    """The text of a profile that extends `base` by what `measure` found on this machine.

    Models that were not measured keep their figures.
    """
    kind, memory_bytes = hardware(device)
    lines = [
        f'name = "{base} on {kind}"',
        f'extends = "{base}"',
        "",
        "[[gpus]]",
        f'name = "{kind}"',
        f"memory_bytes = {memory_bytes}",
        "relative_speed = 1.0",
        f'source = "torch {torch.__version__}"',
    ]
    for name, times_s in measured_s.items():
        fit = affine_fit(batches, times_s)
        lines += [
            "",
            "[[models]]",
            f'name = "{name}"',
            f"base_s = {fit.base_s:.4g}",
            f"per_request_s = {fit.per_request_s:.4g}",
            f'latency_source = "llmroute latency, {kind}, torch {torch.__version__}"',
            "latency_is_estimate = false",
            f"measured_batch = {list(batches)}",
            f"measured_s = [{', '.join(f'{time_s:.4g}' for time_s in times_s)}]",
        ]
    return "\n".join([*lines, ""])


def hardware(device: str) -> tuple[str, int]:
    """Name and memory of what was measured."""
    if device == "cpu":
        return device, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = torch.cuda.get_device_properties(device)
    return found.name, found.total_memory
