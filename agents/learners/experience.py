"""From steps of a vector env to transitions: who earned which reward, and n-step returns.

The reward of a step is the utility of the requests that happened to end in it. With
`credit="decision"` each request's utility goes to the decision that routed it instead, so a
decision's reward is known only once its request has ended. Rows wait here until all that they
need is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.learners.replay import Transitions
from agents.learners.rows import Rows

StepResult = tuple[
    NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]

ROWS = 1024
"""Vector steps that fit at first; doubled whenever decisions stay open for longer."""


class Experience(Rows):
    """The latest steps of E envs; rows before `released` have become transitions."""

    def __init__(
        self, envs: int, columns: int, n_step: int, credit: str, offset: float = 0.0
    ) -> None:
        """Prepare for `envs` envs; `offset` is subtracted from the reward of every decision."""
        self.n_step, self.offset = n_step, offset
        self.by_decision = credit == "decision"
        zeroed: dict[str, NDArray[Any]] = {
            "observation": np.zeros((ROWS, envs, columns), np.float32),
            "action": np.zeros((ROWS, envs), np.int64),
            "reward": np.zeros((ROWS, envs)),
            "discount": np.zeros((ROWS, envs)),
            "next_observation": np.zeros((ROWS, envs, columns), np.float32),
            # The request has ended, so that the reward is final.
            "known": np.zeros((ROWS, envs), np.bool_),
            # No return may reach beyond this row: the episode ends with it, or the next is lost.
            "last": np.zeros((ROWS, envs), np.bool_),
            # The episode was cut while the request was in flight: nobody will know its reward.
            "lost": np.zeros((ROWS, envs), np.bool_),
        }
        super().__init__(zeroed, np.zeros((2, envs), np.int64), zeros)

    def store(
        self,
        observations: NDArray[np.float32],
        actions: NDArray[np.int64],
        discounts: NDArray[np.float64],
        result: StepResult,
    ) -> None:
        """Append one decision per env: what it saw, did, and what `step` returned (SAME_STEP).

        `discounts` are those of the time until the next decision.
        """
        next_observations, rewards, terminated, truncated, infos = result
        row = self.next_row()
        ended = terminated | truncated
        self.columns["observation"][row] = observations
        self.columns["action"][row] = actions
        self.columns["discount"][row] = discounts * ~terminated
        self.columns["next_observation"][row] = next_observations
        self.columns["last"][row] = ended
        self.columns["lost"][row] = False
        self.columns["known"][row] = not self.by_decision
        self.columns["reward"][row] = 0.0 if self.by_decision else rewards
        if self.by_decision:
            ended_in_it = infos["completions"]
            self.credit(*(ended_in_it[name] for name in ("env", "decision", "utility")))
        if ended.any():
            self._end_episodes(row, ended, truncated, infos["final_obs"])

    def _end_episodes(
        self,
        row: int,
        ended: NDArray[np.bool_],
        truncated: NDArray[np.bool_],
        final_observations: NDArray[Any],
    ) -> None:
        # The env has begun its next episode already: the observation it returned belongs to that.
        for e in np.flatnonzero(ended):
            self.columns["next_observation"][row, e] = final_observations[e]
            if truncated[e]:
                self._abandon(int(e), row)
        self.episode[ended] = row + 1

    def _abandon(self, e: int, row: int) -> None:
        first = max(int(self.episode[e]), 0)
        lost = first + np.flatnonzero(~self.columns["known"][first : row + 1, e])
        self.columns["lost"][lost, e] = True
        self.columns["known"][lost, e] = True
        self.columns["last"][lost[lost > first] - 1, e] = True

    def release(self) -> Transitions:
        """The transitions that are complete by now, in order of time; each is returned once."""
        start, view = self.waiting()
        end = self._window_ends(view["last"])
        ready = end < first_false(view["known"])
        number = np.arange(len(ready))[:, None]
        new = ready & (number >= self.released - start) & ~view["lost"]
        self.released = start + ready.sum(axis=0)
        rows, envs = np.nonzero(new)
        returns, discounts = self._returns(view, rows, envs, end[rows, envs])
        return Transitions(
            observations=view["observation"][rows, envs],
            actions=view["action"][rows, envs],
            returns=returns.astype(np.float32),
            discounts=discounts.astype(np.float32),
            next_observations=view["next_observation"][end[rows, envs], envs],
        )

    def _window_ends(self, last: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Row of the last reward in the return of every row, whether or not it is there yet."""
        number = np.arange(len(last))[:, None]
        stop = np.where(last, number, len(last) + self.n_step)
        stop = np.minimum.accumulate(stop[::-1])[::-1]
        return np.minimum(stop, number + self.n_step - 1)

    def _returns(
        self,
        view: Mapping[str, NDArray[Any]],
        rows: NDArray[np.int64],
        envs: NDArray[np.int64],
        end: NDArray[np.int64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        total, weight = np.zeros(len(rows)), np.ones(len(rows))
        for k in range(self.n_step):
            inside = rows + k <= end
            at = np.minimum(rows + k, end), envs
            total += np.where(inside, weight * (view["reward"][at] - self.offset), 0.0)
            weight *= np.where(inside, view["discount"][at], 1.0)
        return total, weight

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that a checkpoint needs."""
        start, live = self.waiting()
        return live | {"released": self.released - start, "episode": self.episode - start}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `arrays()` of an experience with the same settings."""
        self.rows = len(arrays["known"])
        self.released = arrays["released"].copy()
        self.episode = arrays["episode"].copy()
        capacity = ROWS
        while capacity < self.rows:
            capacity *= 2
        for name, column in self.columns.items():
            grown = zeros(column, capacity)
            grown[: self.rows] = arrays[name]
            self.columns[name] = grown


def zeros(like: NDArray[Any], rows: int) -> NDArray[Any]:
    """So many rows as `like` has, of zeros."""
    return np.zeros((rows, *like.shape[1:]), like.dtype)


def first_false(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Row of the first False in every column of `flags`; the number of rows where there is none."""
    padded = np.vstack([flags, np.zeros((1, flags.shape[1]), np.bool_)])
    first: NDArray[np.int64] = padded.argmin(axis=0)
    return first
