"""Many envs on a CUDA device: `gymnasium.make_vec("LLMRoute-v0", num_envs=65536, device="cuda")`.

Nothing that a step reads or writes leaves the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llmroute_env.cuda.memory import Memory
from llmroute_env.cuda.simulation import DeviceSimulation, Setting
from llmroute_env.cuda.toolchain import check_usable
from llmroute_env.dynamics.state import Records
from llmroute_env.dynamics.stepping import NEXT_STEP, SAME_STEP
from llmroute_env.scenarios import USUAL, configure, named
from llmroute_env.simulation.episodes import evaluation_seeds
from llmroute_env.specs import ConfigError, require
from llmroute_env.vector_env import begun_streams
from traces.typed import conform

_MODES = {AutoresetMode.NEXT_STEP: NEXT_STEP, AutoresetMode.SAME_STEP: SAME_STEP}

TOLD = ("elapsed_s", "utility_in_time", "utility_late", "utility_of_peak")
"""What every info has, (E,)."""


class LLMRouteCudaVectorEnv(gym.vector.VectorEnv[Any, Any, Any]):
    """Many LLMRouteEnv, each a thread: env i with seed s + i equals the single env with that seed.

    Observations, rewards, flags and the arrays of infos are of the device; torch and others read
    them without a copy by `__cuda_array_interface__` (`torch.as_tensor(x)`), and the next step
    overwrites them. Actions are read likewise: int64, (E,). If the next episode begins in the same
    step, `infos["final_obs"]` holds the last observation where one has ended. Summaries and
    completions are fetched when they are asked for.
    """

    metadata = {  # noqa: RUF012 - gymnasium's own shape
        "render_modes": [],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        scenario: str | Mapping[str, Any] = USUAL,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        completions: bool = False,
        memory: Memory | None = None,
        **fields: Any,
    ) -> None:
        """Build `num_envs` envs of `scenario`; every field of EnvConfig can be replaced by keyword.

        Args:
            num_envs: how many.
            scenario: a name from SCENARIOS; or a mapping with it and fields of EnvConfig.
            max_episode_steps: requests after which an episode is cut; None for no limit.
            autoreset_mode: NextStep or SameStep.
            completions: whether what ends is kept until the next step, for `completions()`.
            memory: where everything is; the device at hand unless given.
            **fields: of EnvConfig.

        Raises:
            ConfigError: unknown scenario or field, a value that a field does not accept, no device
                or too little memory there.
        """
        mode = AutoresetMode(autoreset_mode)
        accepted = ", ".join(m.value for m in _MODES)
        require(mode in _MODES, "autoreset_mode", mode.value, accepted)
        self.num_envs = num_envs
        name, fields = named(scenario, fields)
        self.config = configure(name, **fields)
        keeps = conform(completions, bool, "completions", ConfigError)
        setting = Setting(_MODES[mode], max_episode_steps or 0, keeps)
        self.simulation = DeviceSimulation(self.config, num_envs, memory or at_hand(), setting)
        self.metadata = {**self.metadata, "autoreset_mode": mode}
        self.autoreset_mode = mode
        low, high = self.config.layout.bounds
        self.single_observation_space = spaces.Box(low, high, dtype=np.float32)
        self.single_action_space = spaces.Discrete(self.config.actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._seeded = np.zeros(num_envs, np.bool_)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every env: seed s gives env i the seed s + i.

        `options`: `episode` k lets env i begin episode k + i of those that `llmroute evaluate` and
        `bench` score (of `evaluation_seed`, 0 by default).

        Raises:
            ConfigError: other options, or seeds of another shape.
        """
        everyone = np.ones(self.num_envs, np.bool_)
        own = evaluation_seeds(options, self.num_envs)
        streams = np.zeros(self.num_envs, np.uint64)
        begun = np.zeros(self.num_envs, np.bool_)
        for i, stream in begun_streams(seed, everyone, self._seeded).items():
            streams[i], begun[i] = stream, True
        if own is not None:
            streams, begun = own, everyone
        self._seeded |= everyone
        self.simulation.reset(everyone, begun, streams)
        out = self.simulation.outputs
        return out["observations"], {"elapsed_s": out["elapsed_s"]}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Route the pending request of every env and run each to its next arrival.

        Raises:
            ConfigError: actions of another shape or type, or one out of range; nothing has changed
                then.
            gymnasium.error.ResetNeeded: no episode has begun.
        """
        if not self._seeded.all():
            raise gym.error.ResetNeeded("call reset() first")
        self.simulation.step(actions)
        out = self.simulation.outputs
        infos = {name: out[name] for name in TOLD}
        if self.config.reject:
            infos["utility_rejected"] = out["utility_rejected"]
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            infos["final_obs"] = out["final_observations"]
        return out["observations"], out["rewards"], out["terminated"], out["truncated"], infos

    def ended(self) -> NDArray[np.int64]:
        """The envs whose episode has ended in the last step: a copy on the host."""
        get, out = self.simulation.memory.get, self.simulation.outputs
        found: NDArray[np.int64] = np.flatnonzero(get(out["terminated"]) | get(out["truncated"]))
        return found

    def final_summaries(self) -> dict[int, dict[str, Any]]:
        """What the episodes that have ended in the last step came to, by env."""
        envs = self.ended()
        found = self.simulation.final_summary(envs) if len(envs) else []
        return dict(zip(envs.tolist(), found, strict=True))

    def completions(self) -> Records:
        """What ended in the last step, env by env, if it is kept: COMPLETION in state.py."""
        return self.simulation.completions()[0]


def at_hand() -> Memory:
    """The device of this process, or numba-cuda's simulator of one.

    Raises:
        ConfigError: none is there, or numba-cuda is not installed.
    """
    check_usable()
    from llmroute_env.cuda.device import current

    return current()
