"""Decoders of the library transformers: of our shapes, with random weights, from no download."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.measuring.bench import DTYPES
from benchmarks.measuring.network import ROTATION_BASE
from benchmarks.measuring.shapes import EngineShape
from llmroute_env.specs import require


def attention_on(device: str) -> str:
    """How transformers is to attend: by a Flash Attention that is installed, or by torch's."""
    if device == "cuda":
        from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

        if is_flash_attn_3_available():
            return "flash_attention_3"
        if is_flash_attn_2_available():
            return "flash_attention_2"
    return "sdpa"


def random_model(shape: EngineShape, device: str, attention: str) -> Any:
    """A decoder of transformers with random weights on `device`."""
    from transformers import AutoModelForCausalLM
    from transformers.generation.continuous_batching import PagedAttentionCache

    if not hasattr(PagedAttentionCache, "get_seq_length"):
        # OPT asks any cache how much it holds, to place tokens whose places are not told. A
        # manager tells them; its cache in 5.24 has no answer, and OPT would not run.
        PagedAttentionCache.get_seq_length = lambda cache, layer_idx=0: 0
    with torch.device(device):
        return AutoModelForCausalLM.from_config(
            configuration(shape), dtype=DTYPES[device], attn_implementation=attention
        ).eval()


def configuration(shape: EngineShape) -> Any:
    """A shape as transformers has it: Qwen2 if it is gated, or OPT.

    Raises:
        ConfigError: neither is of such a shape.
    """
    from transformers import OPTConfig, Qwen2Config

    sizes = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "max_position_embeddings": shape.context_tokens,
        "tie_word_embeddings": shape.tied,
    }
    if shape.gated:
        require(shape.biased, "shape biased", shape.biased, "True, as Qwen2 of transformers is")
        return Qwen2Config(
            **sizes,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_width,
            intermediate_size=shape.inner,
            rope_parameters={"rope_type": "default", "rope_theta": ROTATION_BASE},
        )
    accepted = f"{shape.heads}, as many as heads, as OPT of transformers has"
    require(shape.kv_heads == shape.heads, "shape kv_heads", shape.kv_heads, accepted)
    width, accepted = shape.head_width, f"{shape.hidden} / {shape.heads}, as OPT of transformers"
    require(width * shape.heads == shape.hidden, "shape head_width", width, accepted)
    return OPTConfig(**sizes, ffn_dim=shape.inner, eos_token_id=None)
