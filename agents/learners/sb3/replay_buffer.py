"""A replay buffer for SB3 whose rewards belong to decisions and whose discounts know the time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from agents.learners.experience import Experience
from agents.learners.replay import Replay
from agents.runs.checkpoint import chosen, prefixed
from agents.settings.sb3 import OffPolicySettings
from llmroute_env.sb3 import SB3VecEnv


class CreditingReplayBuffer(ReplayBuffer):
    """Stores what our own Double DQN stores (experience.py, replay.py), for SB3's learners.

    A transition carries its own discount, 0 where the episode has terminated; `dones` are all 0.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "cpu",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        *,
        venv: SB3VecEnv,
        settings: OffPolicySettings,
        seed: int,
    ) -> None:
        """`venv` is where the steps come from; SB3 gives the rest."""
        # SB3's own arrays stay unused: one row is the least.
        super().__init__(n_envs, observation_space, action_space, device, n_envs)
        columns = self.obs_shape[0]
        self.venv, self.settings = venv, settings
        self.experience = Experience(n_envs, columns, settings.n_step, settings.credit)
        self.replay = Replay(buffer_size, columns)
        self.rng = np.random.default_rng(seed)

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Store the step that the env took last; SB3's view of it lacks time and completions."""
        s = self.settings
        elapsed_s = self.venv.result[4]["elapsed_s"]
        discounts = s.discount_per_decision * np.exp(-s.discount_rate_per_s * elapsed_s)
        self.experience.store(obs, action.ravel(), discounts, self.venv.result)

    def release(self) -> None:
        """Make what is complete by now available to `sample`."""
        self.replay.add(self.experience.release())

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """`batch_size` transitions, uniformly and with replacement."""
        batch = self.replay.sample(batch_size, self.rng)
        return ReplayBufferSamples(
            observations=torch.from_numpy(batch.observations),
            actions=torch.from_numpy(batch.actions)[:, None],
            next_observations=torch.from_numpy(batch.next_observations),
            dones=torch.zeros(batch_size, 1),
            rewards=torch.from_numpy(batch.returns)[:, None],
            discounts=torch.from_numpy(batch.discounts)[:, None],
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that a checkpoint needs, but for the generator."""
        replay = prefixed("replay", self.replay.arrays())
        return replay | prefixed("experience", self.experience.arrays())

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `arrays()` of a buffer with the same settings."""
        self.replay.restore(chosen(arrays, "replay"))
        self.experience.restore(chosen(arrays, "experience"))
