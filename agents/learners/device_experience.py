"""From steps of envs on a device to transitions, which stay there.

It is what experience.py and replay.py do, with tensors; episodes are never cut here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.learners.replay import Transitions, allocate_transitions
from llmroute_env.specs import require

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


class DeviceExperience:
    """The latest steps of E envs: row t holds the t-th decision of every env.

    Attributes:
        released: rows of each env before this one have become transitions, (E,).
        episode: row of each env's first decision in its running episode, (E,).
    """

    def __init__(self, envs: int, columns: int, n_step: int, offset: float, device: str) -> None:
        """`offset` is subtracted from the reward of every decision."""
        self.n_step, self.offset, self.rows = n_step, offset, 0
        self.released, self.episode = torch.zeros(2, envs, dtype=torch.int64, device=device)
        seen, flag, number = (envs, columns), torch.bool, torch.float64

        def column(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            return torch.zeros(ROWS, *shape, dtype=dtype, device=device)

        self.columns = {
            "observation": column(seen, torch.float32),
            "next_observation": column(seen, torch.float32),
            "action": column((envs,), torch.int64),
            "reward": column((envs,), number),
            "discount": column((envs,), number),
            "known": column((envs,), flag),
            "last": column((envs,), flag),
        }

    def store(
        self, observations: Tensor, actions: Tensor, discounts: Tensor, step: Step, waits: bool
    ) -> None:
        """Append one decision per env; `waits` if its reward is what its own request comes to."""
        row, c = self._next_row(), self.columns
        over = step.terminated
        c["observation"][row], c["action"][row] = observations, actions
        c["discount"][row], c["last"][row] = discounts * ~over, over
        after = torch.where(over[:, None], step.final_observations, step.next_observations)
        c["next_observation"][row] = after
        c["known"][row] = not waits
        c["reward"][row] = 0.0 if waits else step.rewards
        if waits:
            envs, which = step.ended.nonzero(as_tuple=True)
            at = self.episode[envs] + step.decisions[envs, which], envs
            c["reward"][at], c["known"][at] = step.utilities[envs, which], True
        self.episode = torch.where(over, row + 1, self.episode)

    def release(self) -> Transitions:
        """The transitions that are complete by now, in order of time; each is returned once."""
        start = int(self.released.min())
        view = {name: column[start : self.rows] for name, column in self.columns.items()}
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

    def _next_row(self) -> int:
        capacity = len(self.columns["known"])
        if self.rows == capacity:
            self._make_room(capacity)
        self.rows += 1
        return self.rows - 1

    def _make_room(self, capacity: int) -> None:
        """Forget released rows; grow if they are less than half."""
        start = int(self.released.min())
        kept = self.rows - start
        size = capacity if kept <= capacity // 2 else 2 * capacity
        for name, column in self.columns.items():
            moved = column.new_zeros(size, *column.shape[1:])
            moved[:kept] = column[start : self.rows]
            self.columns[name] = moved
        self.rows, self.released, self.episode = kept, self.released - start, self.episode - start


def first_false(flags: Tensor) -> Tensor:
    """Row of the first False in every column of `flags`; the number of rows where there is none."""
    padded = torch.cat([flags, flags.new_zeros(1, flags.shape[1])])
    return padded.int().argmin(0)


class DeviceReplay:
    """The last `capacity` transitions."""

    def __init__(self, capacity: int, columns: int, device: str) -> None:
        require(capacity >= 1, "replay_capacity", capacity, ">= 1")
        zeros = allocate_transitions(1, columns)._asdict().items()
        self.stored = {
            name: torch.from_numpy(one).to(device).new_zeros(capacity, *one.shape[1:])
            for name, one in zeros
        }
        self.capacity, self.added = capacity, 0

    def __len__(self) -> int:
        """How many transitions can be sampled."""
        return min(self.added, self.capacity)

    def add(self, transitions: Any) -> None:
        """Append transitions, overwriting the oldest."""
        new = len(transitions.actions)
        kept = min(new, self.capacity)
        slots = (self.added + torch.arange(new - kept, new)) % self.capacity
        for name, column in self.stored.items():
            column[slots.to(column.device)] = getattr(transitions, name)[new - kept :]
        self.added += new

    def sample(self, size: int, rng: np.random.Generator) -> Any:
        """`size` transitions, uniformly and with replacement."""
        picks = torch.from_numpy(rng.integers(len(self), size=size))
        made: Any = Transitions
        return made(
            **{name: column[picks.to(column.device)] for name, column in self.stored.items()}
        )
