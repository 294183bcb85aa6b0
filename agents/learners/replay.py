"""Rings of what was learned from lately, and the replay: one of transitions, sampled uniformly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.specs import require

Arrays = tuple[NDArray[Any], ...]


class Ring:
    """The latest rows of arrays side by side, by name; the oldest are overwritten.

    Attributes:
        added: rows so far, those that are gone included.
    """

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """`columns`, all as long as the ring, are where rows are kept."""
        self.columns, self.added = columns, 0
        self.capacity = len(next(iter(columns.values())))

    def __len__(self) -> int:
        """Rows that are there."""
        return min(self.added, self.capacity)

    def add(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Append rows."""
        new = len(next(iter(rows.values())))
        kept = min(new, self.capacity)
        slots = (self.added + np.arange(new - kept, new)) % self.capacity
        for name, column in self.columns.items():
            column[slots] = rows[name][new - kept :]
        self.added += new

    def arrays(self, counter: str) -> dict[str, NDArray[Any]]:
        """Everything that a checkpoint needs, the count of rows called `counter`."""
        filled = {name: column[: len(self)] for name, column in self.columns.items()}
        return filled | {counter: np.array(self.added)}

    def restore(self, arrays: Mapping[str, NDArray[Any]], counter: str) -> None:
        """Continue from `arrays()` of a ring with the same capacity."""
        self.added = int(arrays[counter])
        for name, column in self.columns.items():
            column[: len(self)] = arrays[name]


class Transitions(NamedTuple):
    """B transitions over one or more decisions.

    `discounts` is what multiplies the value of `next_observations`: the product of the discounts of
    the decisions that were skipped, and 0 where the episode has terminated. A truncated episode
    keeps its discount, so that its value is bootstrapped.
    """

    observations: NDArray[np.float32]  # (B, F)
    actions: NDArray[np.int64]  # (B,)
    returns: NDArray[np.float32]  # (B,) discounted rewards up to `next_observations`
    discounts: NDArray[np.float32]  # (B,)
    next_observations: NDArray[np.float32]  # (B, F)


def allocate_transitions(size: int, columns: int) -> Transitions:
    """Zeroed transitions with observations of `columns` columns."""
    return Transitions(
        observations=np.zeros((size, columns), np.float32),
        actions=np.zeros(size, np.int64),
        returns=np.zeros(size, np.float32),
        discounts=np.zeros(size, np.float32),
        next_observations=np.zeros((size, columns), np.float32),
    )


class Replay:
    """The last `capacity` transitions."""

    def __init__(self, capacity: int, columns: int) -> None:
        require(capacity >= 1, "replay_capacity", capacity, ">= 1")
        self.transitions = self._allocate(capacity, columns)
        self.ring = Ring(self.transitions._asdict())

    def _allocate(self, capacity: int, columns: int) -> Any:
        return allocate_transitions(capacity, columns)

    def __len__(self) -> int:
        """How many transitions can be sampled."""
        return len(self.ring)

    def add(self, transitions: Transitions) -> None:
        """Append transitions, overwriting the oldest."""
        self.ring.add(transitions._asdict())

    def sample(self, size: int, rng: np.random.Generator) -> Transitions:
        """`size` transitions, uniformly and with replacement."""
        picks = rng.integers(len(self), size=size)
        stored: Arrays = self.transitions
        return Transitions._make(array[picks] for array in stored)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that a checkpoint needs."""
        return self.ring.arrays("added")

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `arrays()` of a replay with the same capacity."""
        self.ring.restore(arrays, "added")
