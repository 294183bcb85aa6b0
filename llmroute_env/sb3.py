"""The native vector env for Stable-Baselines3: many envs in one object, without processes.

Needs the extra `sb3`; nothing else of this package imports this module.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from llmroute_env.simulation.episodes import evaluation_seeds
from llmroute_env.specs import require
from llmroute_env.vector_env import Batch, LLMRouteVectorEnv

try:
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import VecEnv
    from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"llmroute_env.sb3 needs {error.name}: pip install 'llmroute[sb3]'", name=error.name
    ) from None


class SB3VecEnv(VecEnv):
    """A LLMRouteVectorEnv as Stable-Baselines3's VecEnv.

    >>> from stable_baselines3 import PPO
    >>> from llmroute_env import LLMRouteVectorEnv
    >>> from llmroute_env.sb3 import SB3VecEnv
    >>> envs = LLMRouteVectorEnv(64, "overload", autoreset_mode="SameStep", window_s=1.0)
    >>> venv = SB3VecEnv(envs)
    >>> model = PPO("MlpPolicy", venv, n_steps=32, batch_size=512, seed=0).learn(4096)
    >>> observations = venv.reset()
    >>> actions, _ = model.predict(observations, deterministic=True)
    >>> observations, rewards, dones, infos = venv.step(actions)
    >>> venv.close()

    Where an episode ended its info says how: `terminal_observation`, `TimeLimit.truncated`,
    `episode` as Monitor has it (return, decisions, simulated seconds) and the whole `summary`. All
    other infos are empty: what every step tells is in `result`, one array per name. MaskablePPO
    finds its masks. `set_options` takes what `LLMRouteEnv.reset` does, for each env.

    Attributes:
        env: the vector env.
        result: of the last step, as `advance` returns it.
    """

    result: Batch

    def __init__(self, env: LLMRouteVectorEnv, centre: float = 0.0, scale: float = 1.0) -> None:
        """Rewards become (reward - centre) * scale; the statistics of episodes stay as they are.

        Raises:
            ConfigError: `env` begins episodes in the next step, or overwrites what it returned.
        """
        mode = env.metadata["autoreset_mode"]
        same = mode == AutoresetMode.SAME_STEP
        accepted = "one made with autoreset_mode='SameStep' and copy=True"
        require(same and env.copy, "env", f"{mode.value}, copy={env.copy}", accepted)
        self.env, self.centre, self.scale = env, centre, scale
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        # Most steps end no episode: their infos are made once, for SB3 only reads them.
        self._quiet: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]
        self._actions = np.zeros(env.num_envs, np.int64)

    def reset(self) -> NDArray[np.float32]:
        """Begin episodes in all envs, with what was given to `seed()` and `set_options()`."""
        told = [evaluation_seeds(options, 1) for options in self._options]
        observations, _ = self.env.reset(seed=self._seeds)
        chosen = np.array([seed is not None for seed in told])
        if chosen.any():
            simulation = self.env.simulation
            simulation.seed(chosen, np.concatenate([seed for seed in told if seed is not None]))
            simulation.reset(chosen)
            observations = simulation.outputs.observations.copy()
        self._reset_seeds()
        self._reset_options()
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
            ends[e] = self._end(int(e), bool(terminated[e]), infos)
        return observations, rewards.astype(np.float32), done, ends

    def advance(self, actions: NDArray[np.int64]) -> Batch:
        """What the vector env returns, its rewards and utilities centred and scaled."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        if "completions" in infos:
            completions = infos["completions"]
            completions["utility"] = (completions["utility"] - self.centre) * self.scale
        return observations, (rewards - self.centre) * self.scale, terminated, truncated, infos

    def _end(self, e: int, terminated: bool, infos: dict[str, Any]) -> dict[str, Any]:
        simulation = self.env.simulation
        summary = simulation.final_summary(e)
        # Counted from 0; only a cut episode has a decision that was not taken.
        decisions = int(simulation.outputs.final_envs[e]["decision"]) + terminated
        return {
            "terminal_observation": infos["final_obs"][e],
            "TimeLimit.truncated": not terminated,
            "episode": {"r": summary["utility"], "l": decisions, "t": summary["duration_s"]},
            "summary": summary,
        }

    def get_images(self) -> tuple[NDArray[np.uint8], ...]:
        """One picture per env, which `render` tiles."""
        frames = self.env.render()
        return () if frames is None else frames

    def close(self) -> None:
        """Close the vector env."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the vector env, once per env; spaces are those of one env."""
        single = attr_name in ("observation_space", "action_space")
        value = getattr(self.env, f"single_{attr_name}" if single else attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Not possible: the envs are one object."""
        raise NotImplementedError(
            f"set_attr({attr_name!r}): the envs are one object; give another one to model.set_env"
        )

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """`action_masks`, which MaskablePPO asks for, or `summary`, of each env."""
        chosen = list(self._get_indices(indices))
        if method_name == "action_masks":
            return list(self.env.action_masks()[chosen])
        if method_name == "summary":
            return [self.env.simulation.summary(e) for e in chosen]
        raise NotImplementedError(
            f"env_method({method_name!r}): only 'action_masks' and 'summary' have a result per env"
        )

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """As if in a Monitor, whose statistics the infos have; native envs are in no other."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]
