"""Sizes of decoders as their makers publish them."""

from __future__ import annotations

from dataclasses import dataclass

from llmroute_env.specs import ConfigError, require
from traces.typed import check_fields


@dataclass(frozen=True)
class EngineShape:
    """Size of a decoder: what the time of its steps depends on.

    Attributes:
        layers: how many.
        hidden: width of the residual stream.
        heads: of queries.
        kv_heads: of keys and values; a divisor of `heads`.
        head_width: of each head.
        inner: width of the feed-forward network.
        vocabulary: tokens of the embedding, and logits.
        context_tokens: the most that prompt and answer may have together.
        gated: as Qwen and Llama are: RMSNorm, gated SiLU, rotary places; otherwise as OPT is:
            LayerNorm, ReLU, learned places, biases everywhere.
        tied: the embedding makes the logits as well.
        biased: queries, keys and values have biases although it is gated.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    vocabulary: int
    context_tokens: int
    gated: bool = True
    tied: bool = True
    biased: bool = True

    def __post_init__(self) -> None:
        check_fields(self, "shape ", ConfigError)
        for name in ("layers", "hidden", "heads", "kv_heads", "inner", "vocabulary"):
            require(getattr(self, name) >= 1, f"shape {name}", getattr(self, name), ">= 1")
        accepted = f"a divisor of heads, {self.heads}"
        require(self.heads % self.kv_heads == 0, "shape kv_heads", self.kv_heads, accepted)
        width = self.head_width
        require(width >= 2 and width % 2 == 0, "shape head_width", width, "an even number >= 2")
        require(self.context_tokens >= 2, "shape context_tokens", self.context_tokens, ">= 2")

    @property
    def kv_numbers_per_token(self) -> int:
        """Keys and values that a token leaves in the cache."""
        return 2 * self.layers * self.kv_heads * self.head_width


def opt(layers: int, heads: int, hidden: int) -> EngineShape:
    """OPT (Zhang et al., arXiv 2205.01068, table 1; config.json of facebook/opt-*)."""
    width, inner = hidden // heads, 4 * hidden
    return EngineShape(
        layers, hidden, heads, heads, width, inner, 50_272, 2048, gated=False, tied=True
    )


def qwen(layers: int, hidden: int, heads: int, kv_heads: int, inner: int) -> EngineShape:
    """Qwen2.5 up to 3B (arXiv 2412.15115; config.json of Qwen/Qwen2.5-*-Instruct)."""
    width = hidden // heads
    return EngineShape(layers, hidden, heads, kv_heads, width, inner, 151_936, 32_768)


def large_qwen(layers: int, hidden: int, heads: int, kv_heads: int, inner: int) -> EngineShape:
    """Qwen2.5 from 7B on, with a larger vocabulary and logits of their own."""
    shape = layers, hidden, heads, kv_heads, hidden // heads, inner, 152_064, 32_768
    return EngineShape(*shape, tied=False)


SHAPES = {
    "opt-125m": opt(12, 12, 768),
    "opt-1.3b": opt(24, 32, 2048),
    "opt-6.7b": opt(32, 32, 4096),
    "qwen2.5-0.5b": qwen(24, 896, 14, 2, 4864),
    "qwen2.5-1.5b": qwen(28, 1536, 12, 2, 8960),
    "qwen2.5-3b": qwen(36, 2048, 16, 2, 11_008),
    "qwen2.5-7b": large_qwen(28, 3584, 28, 4, 18_944),
    "qwen2.5-14b": large_qwen(48, 5120, 40, 8, 13_824),
    "qwen2.5-32b": large_qwen(64, 5120, 40, 8, 27_648),
}
"""By the name of the model in a shipped profile."""
