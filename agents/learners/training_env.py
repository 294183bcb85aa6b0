"""The envs that learners step."""

from __future__ import annotations

from typing import Any

from agents.runs.plan import Plan
from llmroute_env.cuda.vector_env import LLMRouteCudaVectorEnv
from llmroute_env.vector_env import LLMRouteVectorEnv


def training_env(envs: int, plan: Plan) -> LLMRouteVectorEnv:
    """So many envs of the plan's training, of which none waits a step for its next episode."""
    return LLMRouteVectorEnv(envs, plan.scenario, **options_of(plan))


def device_env(envs: int, plan: Plan) -> LLMRouteCudaVectorEnv:
    """The same on the CUDA device at hand.

    Raises:
        ConfigError: there is none.
    """
    return LLMRouteCudaVectorEnv(envs, plan.scenario, **options_of(plan))


def options_of(plan: Plan) -> dict[str, Any]:
    """What envs of the plan's training are made with."""
    # As the router sees them: `env_fields` are those of the problem.
    fields: dict[str, Any] = {**plan.env_fields("train"), "signals": plan.config("train").signals}
    return fields | {"autoreset_mode": "SameStep", "completions": True}
