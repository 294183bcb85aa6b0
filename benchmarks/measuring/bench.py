"""A decoder on a device, and how long the parts of its steps take there.

A step's dense part is the whole stack of layers on n tokens, writing keys and values included, with
attention left out; attention is measured alone, in all layers; the head finds the next tokens.
Whole steps are taken as an engine takes them: tokens go in, one CUDA graph runs, the new tokens
come back.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.latency import as_graph
from benchmarks.measuring.attention import Cache, cache_bytes, chunk, decoding
from benchmarks.measuring.grid import Grid
from benchmarks.measuring.network import EngineDecoder, random_engine
from benchmarks.measuring.shapes import EngineShape
from benchmarks.measuring.timing import Work, by_the_clock_s, on_device_s

DTYPES = {"cuda": torch.bfloat16, "cpu": torch.float32}
"""What numbers steps are computed with."""

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of queries to keys and values: `decoding` or `chunk`."""


class Bench:
    """A decoder of one shape with random weights, ready to be measured."""

    def __init__(self, shape: EngineShape, device: str, grid: Grid, repeats: int) -> None:
        self.shape, self.device, self.grid, self.repeats = shape, device, grid, repeats
        self.dtype = DTYPES[device]
        self.others_bytes = used_by_others(device)
        self.decoder: EngineDecoder = random_engine(shape, device, self.dtype)

    def sizes(self) -> tuple[int, int, int, int]:
        """The fields of Measured after its tables."""
        parameters = sum(p.numel() for p in self.decoder.parameters())
        per_token = cache_bytes(self.shape, 1, self.dtype)
        return parameters, bytes_of(self.decoder), per_token, self.reserved_bytes()

    def reserved_bytes(self) -> int:
        """What others have of a GPU's memory, and what the widest step takes beside its cache."""
        if self.device != "cuda":
            return 0
        step = self.dense(self.grid.tokens[-1])
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return self.others_bytes + torch.cuda.max_memory_allocated() - before

    def inputs(self, tokens: int) -> tuple[Tensor, Tensor]:
        """Tokens of a step, drawn at random, and their places."""
        drawn = torch.randint(self.shape.vocabulary, (tokens,), device=self.device)
        return drawn, torch.arange(tokens, device=self.device) % self.shape.context_tokens

    def random(self, *size: int) -> Tensor:
        """Numbers as they may stand in a step."""
        return torch.empty(size, device=self.device, dtype=self.dtype).normal_()

    def cache(self, slots: int) -> Cache:
        """One with room for so many tokens."""
        return Cache(self.shape, slots, self.device, self.dtype)

    def us(self, work: Work) -> float:
        """Microseconds that work takes on the device."""
        return 1e6 * on_device_s(work, self.device, self.repeats)

    def dense(self, tokens: int) -> Work:
        """A step of so many tokens without attention."""
        drawn, places = self.inputs(tokens)
        cache, slots = self.cache(tokens), torch.arange(tokens, device=self.device)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            cache.write(layer, slots, key, value)
            return query

        def step() -> None:
            self.decoder(drawn, places, attend)

        return step

    def dense_us(self, tokens: int) -> float:
        """All that a step does but attention and the head."""
        return self.us(self.dense(tokens))

    def decode_us(self, requests: int, context: int) -> float:
        """Attention of one token of each request, in all layers."""
        cache = self.cache(requests * context)
        query = self.random(requests, self.shape.heads, self.shape.head_width)
        return self.attention_us(cache, query, decoding)

    def prefill_us(self, tokens: int, cached: int) -> float:
        """Attention of a piece of a prompt, in all layers."""
        cache = self.cache(cached + tokens)
        query = self.random(tokens, self.shape.heads, self.shape.head_width)
        return self.attention_us(cache, query, chunk)

    def attention_us(self, cache: Cache, query: Tensor, attention: Attention) -> float:
        """One kind of attention, in all layers."""

        def layers() -> None:
            for layer in range(self.shape.layers):
                attention(query, *cache.of(layer))

        return self.us(layers)

    def head_us(self, requests: int) -> float:
        """Finding the next tokens."""
        x = self.random(requests, self.shape.hidden)

        def head() -> None:
            self.decoder.next_tokens(x)

        return self.us(head)

    def whole_decode_us(self, requests: int, context: int) -> float:
        """A step in which requests decode, from tokens on the host to tokens on the host."""
        places = torch.full((requests,), context - 1, device=self.device)
        slots = torch.arange(requests, device=self.device) * context + context - 1
        return self.whole_us(self.cache(requests * context), places, slots, requests, decoding)

    def whole_prompt_us(self, tokens: int, _: int) -> float:
        """A step that computes one prompt, likewise."""
        slots = torch.arange(tokens, device=self.device)
        places = slots % self.shape.context_tokens
        return self.whole_us(self.cache(tokens), places, slots, 1, chunk)

    def whole_us(
        self,
        cache: Cache,
        places: Tensor,
        slots: Tensor,
        answers: int,
        attention: Attention,
    ) -> float:
        """A step whose last `answers` tokens are answered."""
        drawn, _ = self.inputs(len(slots))
        given = drawn.cpu()
        found = torch.zeros(answers, dtype=torch.int64, device=self.device)

        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            cache.write(layer, slots, key, value)
            return attention(query, *cache.of(layer))

        def compute() -> None:
            x = self.decoder(drawn, places, attend)
            found.copy_(self.decoder.next_tokens(x[-answers:]))

        run = as_graph(compute) if self.device == "cuda" else compute

        def step() -> None:
            drawn.copy_(given)
            run()
            found.tolist()

        return 1e6 * by_the_clock_s(step, self.repeats)


def bytes_of(decoder: EngineDecoder) -> int:
    """What its weights take."""
    return sum(p.numel() * p.element_size() for p in decoder.parameters())


def used_by_others(device: str) -> int:
    """What of a GPU's memory is not torch's to give, its own context included."""
    if device != "cuda":
        return 0
    torch.cuda.empty_cache()
    free, memory = torch.cuda.mem_get_info()
    return memory - free - torch.cuda.memory_reserved()
