"""Decisions of envs on a device with what the policy thought of them, until they are learned from.

A request's utility is the reward of the decision that routed it, which is known only once it has
ended. SB3's PPO here lets envs run on after a round and then sets them back; envs on a device are
not set back. Instead decisions wait, and those of an env are learned from in their order: all
before the first whose reward is not known, at the latest when its episode has ended. Were those
that end early learned from first, or what is long in coming counted as average, a policy would see
what a crowded model has answered and not the many that it still holds.

What has waited is learned from with the probabilities and values of when it was decided; the ratio
of the clipped objective says how far the policy has moved since.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.learners.device_experience import Step, columns_for, first_false, note, zeros
from agents.learners.rows import Rows


class Decisions(NamedTuple):
    """N decisions to learn from."""

    observations: Tensor  # (N, F)
    actions: Tensor  # (N,)
    log_probabilities: Tensor  # (N,) of the actions, when they were taken
    values: Tensor  # (N,) of the states, then
    advantages: Tensor  # (N,)

    @property
    def returns(self) -> Tensor:
        """What the value network should have said, (N,)."""
        return self.advantages + self.values

    def some(self, chosen: Tensor) -> Decisions:
        """Those chosen."""
        return Decisions._make(column[chosen] for column in self)


class DeviceRollouts(Rows):
    """The latest decisions of E envs; those before `released` have been learned from."""

    def __init__(self, envs: int, columns: int, centre: float, scale: float, device: str) -> None:
        """Who learns from it sees (reward - centre) * scale."""
        self.centre, self.scale = centre, scale
        own = {
            "observation": ((columns,), torch.float32),
            "log_probability": ((), torch.float32),
            "value": ((), torch.float32),
        }
        counters = torch.zeros(2, envs, dtype=torch.int64, device=device)
        super().__init__(columns_for(envs, device, own), counters, zeros)

    def store(
        self,
        seen: Tensor,
        actions: Tensor,
        told: tuple[Tensor, Tensor],
        discounts: Tensor,
        step: Step,
        waits: bool,
    ) -> None:
        """Append one decision per env, of which the policy `told` log-probability and value.

        `waits` if its reward is what its own request comes to.
        """
        row, c = note(self, actions, discounts, step, waits), self.columns
        c["observation"][row] = seen
        c["log_probability"][row], c["value"][row] = told

    def release(self, trace_decay: float) -> Decisions:
        """The decisions to learn from by now, in order of time; each is returned once.

        The value of an env's first decision that stays stands for all that comes after the others,
        so the last one of all always stays.
        """
        start, view = self.waiting()
        number = torch.arange(self.rows - start, device=self.released.device)[:, None]
        end = first_false(view["known"]).clamp(max=self.rows - start - 1)
        rewards = (view["reward"] - self.centre) * self.scale
        found = advantages(rewards, view["discount"], view["value"], end, trace_decay)
        new = (number >= self.released - start) & (number < end)
        self.released = start + end
        names = "observation", "action", "log_probability", "value"
        columns = [view[name][new] for name in names]
        return Decisions._make([*columns, found[new].float()])


def advantages(
    rewards: Tensor, discounts: Tensor, values: Tensor, end: Tensor, trace_decay: float
) -> Tensor:
    """Generalised advantages (Schulman et al. 2016) of (T, E) decisions with their own discounts.

    Those of env e are right before row `end[e]`, (E,), whose value stands for what follows.
    """
    found, trace = torch.zeros_like(rewards), torch.zeros_like(rewards[0])
    for row in reversed(range(len(rewards) - 1)):
        error = rewards[row] + discounts[row] * values[row + 1] - values[row]
        trace = torch.where(row < end, error + discounts[row] * trace_decay * trace, 0.0)
        found[row] = trace
    return found
