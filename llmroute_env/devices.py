"""Where the envs of `gymnasium.make_vec` are: on the CPU, or each a thread of a GPU."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from llmroute_env.specs import require
from llmroute_env.vector_env import LLMRouteVectorEnv

DEVICES = ("cpu", "cuda")


def make_vector_env(
    num_envs: int = 1, device: str = "cpu", **options: Any
) -> gym.vector.VectorEnv[Any, Any, Any]:
    """`num_envs` envs on a device: LLMRouteVectorEnv, or LLMRouteCudaVectorEnv, with its options.

    Raises:
        ConfigError: another device, one that is not there, or what these classes refuse.
    """
    require(device in DEVICES, "device", device, ", ".join(DEVICES))
    if device == "cpu":
        return LLMRouteVectorEnv(num_envs, **options)
    # Imported late: the extra `cuda` need not be installed.
    from llmroute_env.cuda.vector_env import LLMRouteCudaVectorEnv

    return LLMRouteCudaVectorEnv(num_envs, **options)
