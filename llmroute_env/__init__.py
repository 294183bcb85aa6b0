"""Gymnasium environments for learned best-effort LLM routing; importing registers them."""

from __future__ import annotations

from typing import Any

import gymnasium

import llmroute_env.neighbours  # noqa: F401 - before anything that it checks is imported
from llmroute_env.config import EnvConfig
from llmroute_env.env import LLMRouteEnv
from llmroute_env.problem import load_problem
from llmroute_env.scenarios import PAPER_SETTINGS, SCENARIOS, TESTING, configure
from llmroute_env.specs import (
    ConfigError,
    Deadline,
    GpuSpec,
    ModelSpec,
    Pool,
    Profile,
    RequestClass,
)
from llmroute_env.vector_env import LLMRouteVectorEnv
from traces.files import read_trace

__all__ = [
    "SCENARIOS",
    "TESTING",
    "ConfigError",
    "Deadline",
    "EnvConfig",
    "GpuSpec",
    "LLMRouteEnv",
    "LLMRouteVectorEnv",
    "ModelSpec",
    "Pool",
    "Profile",
    "RequestClass",
    "configure",
    "load_problem",
    "read_trace",
]

_IDS: dict[str, dict[str, Any]] = {
    "LLMRoute-v0": {},
    "LLMRouteSoft-v0": {"scenario": "soft"},
    "LLMRoutePaper-v0": PAPER_SETTINGS,
    "LLMRouteContinuous-v0": {"scenario": "chat-and-code"},
}

for _id, _kwargs in _IDS.items():
    gymnasium.register(
        id=_id,
        entry_point="llmroute_env.env:LLMRouteEnv",
        vector_entry_point="llmroute_env.devices:make_vector_env",
        kwargs=_kwargs,
    )
