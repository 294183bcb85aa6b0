"""Rollout buffers for SB3 whose rewards belong to decisions and whose discounts know the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer
from sb3_contrib.common.recurrent.buffers import RecurrentRolloutBuffer
from stable_baselines3.common.buffers import RolloutBuffer

from agents.settings.sb3 import OnPolicySettings
from llmroute_env.sb3 import SB3VecEnv

Preferring = Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.float32]]
"""From observations, shape (E, F), and whether an episode begins with them, shape (E,), to the
logits of the actions, shape (E, actions). It may remember what it was asked before."""


class Crediting(RolloutBuffer):
    """What a rollout buffer does beside what SB3's of its kind does, which is the next class in it.

    Row t holds the t-th decision of every env since the rollout began.

    With `credit="decision"` a reward is known only once the request has ended. For those still in
    flight when the rollout ends, the envs run on under the policy and are then set back.

    Attributes:
        policy: makes the preferences of the policy that filled the buffer, from where it is;
            whoever builds the buffer sets it.
        first: row of the first decision of every env's running episode, shape (E,).
        known: whether the reward is final, shape (rows, E).
        carry: discount of the value that follows, 0 where the episode ended, shape (rows, E).
    """

    policy: Callable[[], Preferring]

    def __init__(
        self, *args: Any, venv: SB3VecEnv, settings: OnPolicySettings, seed: int, **kwargs: Any
    ) -> None:
        """`venv` is where the steps come from; SB3 gives the rest."""
        self.venv, self.settings = venv, settings
        self.rng = np.random.default_rng(seed)
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        """Begin a rollout where the envs are."""
        super().reset()
        self.known = np.zeros((self.buffer_size, self.n_envs), np.bool_)
        self.carry = np.zeros((self.buffer_size, self.n_envs), np.float32)
        self.first = -self.venv.env.simulation.state.envs["decision"]

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Store the step that the env took last; SB3's view of it lacks time and completions."""
        row, s = self.pos, self.settings
        super().add(*args, **kwargs)
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
        snapshot, policy = env.snapshot(), self.policy()
        observations, _, terminated, truncated, _ = self.venv.result
        for _ in range(self.settings.look_ahead_steps):
            if self.known.all():
                break
            logits = policy(observations, terminated | truncated)
            # The largest of logits with Gumbel noise is a draw from their softmax.
            actions = (logits + self.rng.gumbel(size=logits.shape)).argmax(axis=1)
            observations, _, terminated, truncated, infos = self.venv.advance(actions)
            self._credit(infos["completions"], terminated | truncated, self.buffer_size)
        env.restore(snapshot)


class CreditingRolloutBuffer(Crediting, MaskableRolloutBuffer):
    """For PPO, A2C and MaskablePPO."""


class RecurrentCreditingBuffer(Crediting, RecurrentRolloutBuffer):
    """For RecurrentPPO: it also keeps what the LSTMs remembered before every decision."""
