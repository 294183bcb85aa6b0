"""What learners have in common that collect and learn on a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import torch
from torch import Tensor, nn

from agents.routers.networks import moments_of
from agents.runs.checkpoint import Snapshot, prefixed
from agents.settings.parts import Returns
from llmroute_env.cuda.vector_env import LLMRouteCudaVectorEnv
from llmroute_env.specs import ConfigError


def place_of(env: LLMRouteCudaVectorEnv) -> str:
    """Where torch has what `env` hands out."""
    return "cuda" if env.simulation.memory.name == "cuda" else "cpu"


def discounts_of(settings: Returns, elapsed_s: Tensor) -> Tensor:
    """Discount of decisions that lasted `elapsed_s`, (E,) -> (E,)."""
    decay = torch.exp(-settings.discount_rate_per_s * elapsed_s)
    return settings.discount_per_decision * decay


def to_look_at(
    optimizer: torch.optim.Optimizer, networks: Mapping[str, nn.Module], counts: Mapping[str, int]
) -> Snapshot:
    """Networks and counts, on the CPU: enough to look at, not to go on."""
    tensors = moments_of(optimizer)
    for name, network in networks.items():
        tensors |= prefixed(name, network.state_dict())
    return Snapshot({name: tensor.cpu() for name, tensor in tensors.items()}, {}, dict(counts))


def refuse_to_resume() -> NoReturn:
    """What a device holds is not kept."""
    raise ConfigError("resume: got True; accepted: False for a training on a device")
