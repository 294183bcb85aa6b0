"""The envs that learners step."""

from __future__ import annotations

from typing import Any

from agents.runs.plan import Plan
from llmroute_env.vector_env import LLMRouteVectorEnv


def training_env(envs: int, plan: Plan) -> LLMRouteVectorEnv:
    """So many envs of the plan's training, of which none waits a step for its next episode."""
    # As the router sees them: `env_fields` are those of the problem.
    fields: dict[str, Any] = {**plan.env_fields("train"), "signals": plan.config("train").signals}
    fields |= {"autoreset_mode": "SameStep", "completions": True}
    return LLMRouteVectorEnv(envs, plan.scenario, **fields)
