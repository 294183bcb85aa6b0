"""From steps of envs on a device to transitions, which stay there.

It is what experience.py and replay.py do, with tensors; episodes are never cut here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.learners.replay import Replay, Transitions, allocate_transitions
from agents.learners.rows import Rows
from llmroute_env.cuda.vector_env import LLMRouteCudaVectorEnv

ROWS = 256
"""Steps that fit at first; doubled whenever decisions stay open for longer."""


class Step(NamedTuple):
    """What E envs tell of a step in which the next episodes have begun already, as tensors.

    Of what ended in it, at most K of an env: which decisions it was about, and its utility, where
    `ended` says that there is something.
    """

    next_observations: Tensor  # (E, F)
    final_observations: Tensor  # (E, F), where an episode has ended
    rewards: Tensor  # (E,)
    terminated: Tensor  # (E,)
    ended: Tensor  # (E, K)
    decisions: Tensor  # (E, K)
    utilities: Tensor  # (E, K)


def stepped(env: LLMRouteCudaVectorEnv, actions: Tensor) -> tuple[Step, Tensor]:
    """What `env`, which logs what ends, tells of a step; and the seconds that it took, (E,)."""
    observations, rewards, terminated, _, infos = env.step(actions)
    told = observations, infos["final_obs"], rewards, terminated
    log: Any = env.simulation
    decisions, utilities = (
        torch.as_tensor(log.log_field(name)).flatten(0, 1)[: env.num_envs]
        for name in ("decision", "utility")
    )
    used = torch.as_tensor(log.logged)
    there = torch.arange(decisions.shape[1], device=used.device) < used
    step = Step._make([*map(torch.as_tensor, told), there, decisions, utilities])
    return step, torch.as_tensor(infos["elapsed_s"])


Kinds = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
"""The shape of what a column holds of an env, and its type."""


def columns_for(envs: int, device: str, own: Kinds) -> dict[str, Tensor]:
    """Columns of ROWS rows: those of every decision, and its `own`."""
    every: Kinds = {
        "action": ((), torch.int64),
        "reward": ((), torch.float64),
        "discount": ((), torch.float64),
        "known": ((), torch.bool),
    }
    return {
        name: torch.zeros(ROWS, envs, *shape, dtype=dtype, device=device)
        for name, (shape, dtype) in {**every, **own}.items()
    }


def zeros(like: Tensor, rows: int) -> Tensor:
    """So many rows as `like` has, of zeros."""
    return like.new_zeros(rows, *like.shape[1:])


def note(rows: Rows, actions: Tensor, discounts: Tensor, step: Step, waits: bool) -> int:
    """A new row for the columns of every decision; `waits` if its reward is that of its request."""
    row, c = rows.next_row(), rows.columns
    over = step.terminated
    c["action"][row], c["discount"][row] = actions, discounts * ~over
    c["known"][row] = not waits
    c["reward"][row] = 0.0 if waits else step.rewards
    if waits:
        envs, which = step.ended.nonzero(as_tuple=True)
        rows.credit(envs, step.decisions[envs, which], step.utilities[envs, which])
    rows.episode = torch.where(over, row + 1, rows.episode)
    return row


class DeviceExperience(Rows):
    """The latest steps of E envs; rows before `released` have become transitions."""

    def __init__(self, envs: int, columns: int, n_step: int, offset: float, device: str) -> None:
        """`offset` is subtracted from the reward of every decision."""
        self.n_step, self.offset = n_step, offset
        seen = (columns,), torch.float32
        own = {"observation": seen, "next_observation": seen, "last": ((), torch.bool)}
        counters = torch.zeros(2, envs, dtype=torch.int64, device=device)
        super().__init__(columns_for(envs, device, own), counters, zeros)

    def store(
        self, observations: Tensor, actions: Tensor, discounts: Tensor, step: Step, waits: bool
    ) -> None:
        """Append one decision per env; `waits` if its reward is what its own request comes to."""
        row, over = note(self, actions, discounts, step, waits), step.terminated
        after = torch.where(over[:, None], step.final_observations, step.next_observations)
        self.columns["observation"][row], self.columns["last"][row] = observations, over
        self.columns["next_observation"][row] = after

    def release(self) -> Transitions:
        """The transitions that are complete by now, in order of time; each is returned once."""
        start, view = self.waiting()
        end = self._window_ends(view["last"])
        ready = end < first_false(view["known"])
        number = torch.arange(len(ready), device=end.device)[:, None]
        rows, envs = (ready & (number >= self.released - start)).nonzero(as_tuple=True)
        self.released = start + ready.sum(0)
        at = end[rows, envs]
        returns, discounts = self._returns(view, rows, envs, at)
        found: Any = Transitions
        return found(  # type: ignore[no-any-return]
            observations=view["observation"][rows, envs],
            actions=view["action"][rows, envs],
            returns=returns.float(),
            discounts=discounts.float(),
            next_observations=view["next_observation"][at, envs],
        )

    def _window_ends(self, last: Tensor) -> Tensor:
        number = torch.arange(len(last), device=last.device)[:, None]
        stop = torch.where(last, number, len(last) + self.n_step)
        stop = stop.flip(0).cummin(0).values.flip(0)
        return torch.minimum(stop, number + self.n_step - 1)

    def _returns(
        self, view: dict[str, Tensor], rows: Tensor, envs: Tensor, end: Tensor
    ) -> tuple[Tensor, Tensor]:
        total = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        weight = torch.ones_like(total)
        for k in range(self.n_step):
            inside, at = rows + k <= end, (torch.minimum(rows + k, end), envs)
            total += torch.where(inside, weight * (view["reward"][at] - self.offset), 0.0)
            weight *= torch.where(inside, view["discount"][at], 1.0)
        return total, weight


def first_false(flags: Tensor) -> Tensor:
    """Row of the first False in every column of `flags`; the number of rows where there is none."""
    padded = torch.cat([flags, flags.new_zeros(1, flags.shape[1])])
    return padded.int().argmin(0)


class DeviceReplay(Replay):
    """The last `capacity` transitions, on a device."""

    def __init__(self, capacity: int, columns: int, device: str) -> None:
        self.device = device
        super().__init__(capacity, columns)

    def _allocate(self, capacity: int, columns: int) -> Any:
        found: Any = Transitions
        one = map(torch.from_numpy, allocate_transitions(1, columns))
        return found(*(zeros(column.to(self.device), capacity) for column in one))
