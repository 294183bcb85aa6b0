"""Replay: a ring of transitions, sampled uniformly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.specs import require

Arrays = tuple[NDArray[Any], ...]


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
        self.capacity = capacity
        self.transitions = allocate_transitions(capacity, columns)
        self.added = 0

    def __len__(self) -> int:
        """How many transitions can be sampled."""
        return min(self.added, self.capacity)

    def add(self, transitions: Transitions) -> None:
        """Append transitions, overwriting the oldest."""
        new = len(transitions.actions)
        kept = min(new, self.capacity)
        slots = (self.added + np.arange(new - kept, new)) % self.capacity
        stored: Arrays = self.transitions
        added: Arrays = transitions
        for mine, theirs in zip(stored, added, strict=True):
            mine[slots] = theirs[new - kept :]
        self.added += new

    def sample(self, size: int, rng: np.random.Generator) -> Transitions:
        """`size` transitions, uniformly and with replacement."""
        picks = rng.integers(len(self), size=size)
        stored: Arrays = self.transitions
        return Transitions._make(array[picks] for array in stored)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that a checkpoint needs."""
        filled = {name: array[: len(self)] for name, array in self.transitions._asdict().items()}
        return filled | {"added": np.array(self.added)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `arrays()` of a replay with the same capacity."""
        self.added = int(arrays["added"])
        for name, array in self.transitions._asdict().items():
            array[: len(self)] = arrays[name]
