"""The native vector env as Stable-Baselines3's VecEnv."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from agents.learners.experience import StepResult
from llmroute_env.specs import require
from llmroute_env.vector_env import LLMRouteVectorEnv


class SB3VecEnv(VecEnv):
    """Steps a LLMRouteVectorEnv; where an episode ended, its info says how (SB3's conventions).

    Attributes:
        result: of the last step, as `advance` returns it.
        summaries: of finished episodes; whoever reads them clears the list.
    """

    result: StepResult

    def __init__(self, env: LLMRouteVectorEnv, centre: float = 0.0, scale: float = 1.0) -> None:
        """Rewards become (reward - centre) * scale; the statistics of episodes stay as they are."""
        mode = env.metadata["autoreset_mode"]
        same = mode == AutoresetMode.SAME_STEP
        require(same and env.copy, "env", mode, "SAME_STEP with copy=True")
        self.env, self.centre, self.scale = env, centre, scale
        self.summaries: list[dict[str, Any]] = []
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        # Most steps end no episode: their infos are made once, for SB3 only reads them.
        self._quiet: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]
        self._actions = np.zeros(env.num_envs, np.int64)

    def reset(self) -> NDArray[np.float32]:
        """Begin episodes in all envs, with the seeds given to `seed()`."""
        observations, _ = self.env.reset(seed=self._seeds)
        self._reset_seeds()
        return observations

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Note the actions."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Route with the noted actions and run every env to its next arrival."""
        self.result = self.advance(self._actions)
        observations, rewards, terminated, truncated, infos = self.result
        done = terminated | truncated
        ends = list(self._quiet)
        for e in np.flatnonzero(done):
            ends[e] = self._end(int(e), truncated[e] and not terminated[e], infos)
        return observations, rewards.astype(np.float32), done, ends

    def advance(self, actions: NDArray[np.int64]) -> StepResult:
        """What the vector env returns, its rewards and utilities centred and scaled."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        if "completions" in infos:
            completions = infos["completions"]
            completions["utility"] = (completions["utility"] - self.centre) * self.scale
        return observations, (rewards - self.centre) * self.scale, terminated, truncated, infos

    def _end(self, e: int, is_cut: bool, infos: dict[str, Any]) -> dict[str, Any]:
        summary = self.env.simulation.final_summary(e)
        self.summaries.append(summary)
        return {
            "terminal_observation": infos["final_obs"][e],
            "TimeLimit.truncated": bool(is_cut),
            "episode": {
                "r": summary["utility"],
                "l": summary["requests"],
                "t": summary["duration_s"],
            },
        }

    def close(self) -> None:
        """Close the vector env."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the vector env, once per env."""
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Not possible: the envs are one object."""
        raise NotImplementedError(f"set_attr({attr_name!r}): the envs are one object")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """`action_masks`, which MaskablePPO asks for; no other method has one result per env."""
        if method_name != "action_masks":
            raise NotImplementedError(f"env_method({method_name!r}): only 'action_masks'")
        masks = self.env.action_masks()
        return [masks[e] for e in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """Native envs are in no wrapper."""
        return [False for _ in self._get_indices(indices)]
