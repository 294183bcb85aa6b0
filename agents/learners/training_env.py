"""The envs that learners step."""

from __future__ import annotations

from agents.runs.plan import Plan
from llmroute_env.vector_env import LLMRouteVectorEnv


def training_env(envs: int, plan: Plan) -> LLMRouteVectorEnv:
    """So many envs of the plan's training, of which none waits a step for its next episode."""
    fields = {"autoreset_mode": "SameStep", "completions": True, **plan.env_fields("train")}
    return LLMRouteVectorEnv(envs, plan.scenario, **fields)
