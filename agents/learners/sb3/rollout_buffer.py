"""A rollout buffer for SB3 whose rewards belong to decisions and whose discounts know the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer

from agents.routers.networks import QNetwork
from agents.settings.sb3 import OnPolicySettings
from llmroute_env.sb3 import SB3VecEnv


class CreditingRolloutBuffer(MaskableRolloutBuffer):
    """Row t holds the t-th decision of every env since the rollout began.

    With `credit="decision"` a reward is known only once the request has ended. For those still in
    flight when the rollout ends, the envs run on under the policy and are then set back.

    Attributes:
        policy: makes the preferences of the policy that filled the buffer: logits of its actions;
            whoever builds the buffer sets it.
        first: row of the first decision of every env's running episode, shape (E,).
        known: whether the reward is final, shape (rows, E).
        carry: discount of the value that follows, 0 where the episode ended, shape (rows, E).
    """

    policy: Callable[[], QNetwork]

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "cpu",
        gae_lambda: float = 1.0,
        gamma: float = 0.99,
        n_envs: int = 1,
        *,
        venv: SB3VecEnv,
        settings: OnPolicySettings,
        seed: int,
    ) -> None:
        """`venv` is where the steps come from; SB3 gives the rest."""
        self.venv, self.settings = venv, settings
        self.rng = np.random.default_rng(seed)
        super().__init__(
            buffer_size, observation_space, action_space, device, gae_lambda, gamma, n_envs
        )

    def reset(self) -> None:
        """Begin a rollout where the envs are."""
        super().reset()
        self.known = np.zeros((self.buffer_size, self.n_envs), np.bool_)
        self.carry = np.zeros((self.buffer_size, self.n_envs), np.float32)
        self.first = -self.venv.env.simulation.state.envs["decision"]

    def add(self, *args: Any, action_masks: NDArray[Any] | None = None, **kwargs: Any) -> None:
        """Store the step that the env took last; SB3's view of it lacks time and completions."""
        row, s = self.pos, self.settings
        super().add(*args, action_masks=action_masks, **kwargs)
        _, earned, terminated, truncated, infos = self.venv.result
        if s.credit == "decision":
            # What is left is the value of a truncated episode's end, which SB3 has added.
            self.rewards[row] -= earned.astype(np.float32)
        done = terminated | truncated
        discount = s.discount_per_decision * np.exp(-s.discount_rate_per_s * infos["elapsed_s"])
        self.carry[row] = discount * ~done
        if s.credit == "decision":
            self._credit(infos["completions"], done, row + 1)

    def _credit(
        self, completions: NDArray[np.void], done: NDArray[np.bool_], next_row: int
    ) -> None:
        envs = completions["env"]
        rows = self.first[envs] + completions["decision"]
        inside = (rows >= 0) & (rows < self.buffer_size)
        self.rewards[rows[inside], envs[inside]] += completions["utility"][inside]
        self.known[rows[inside], envs[inside]] = True
        # What a cut episode leaves in flight stays without a reward: nobody will know it.
        self.known[:next_row, done] = True
        self.first[done] = next_row

    def compute_returns_and_advantage(
        self, last_values: torch.Tensor, dones: NDArray[np.bool_]
    ) -> None:
        """Generalised advantage estimation with a discount per decision."""
        if self.settings.credit == "decision":
            self._look_ahead()
        following = np.vstack([self.values[1:], last_values.numpy().reshape(1, -1)])
        errors = self.rewards + self.carry * following - self.values
        decay = self.carry * self.gae_lambda
        trace = np.zeros(self.n_envs, np.float32)
        for row in reversed(range(self.buffer_size)):
            trace = errors[row] + decay[row] * trace
            self.advantages[row] = trace
        self.returns = self.advantages + self.values

    def _look_ahead(self) -> None:
        env = self.venv.env
        snapshot, observations, policy = env.snapshot(), self.venv.result[0], self.policy()
        for _ in range(self.settings.look_ahead_steps):
            if self.known.all():
                break
            logits = policy.preferences(observations)
            # The largest of logits with Gumbel noise is a draw from their softmax.
            actions = (logits + self.rng.gumbel(size=logits.shape)).argmax(axis=1)
            result = self.venv.advance(actions)
            observations = result[0]
            self._credit(result[4]["completions"], result[2] | result[3], self.buffer_size)
        env.restore(snapshot)
