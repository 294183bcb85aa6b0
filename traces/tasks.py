"""Task mixes: how likely each task is, and how that shifts over time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError

TASKS = ("hellaswag", "piqa", "openbookqa", "copa")
"""The tasks of the shipped profile; the paper uses four standard ones and does not name them all."""


@dataclass(frozen=True)
class TaskMix:
    """A fixed mix: one weight per task of TASKS; equal by default.

    Raises:
        InputError: not one weight per task, a negative or infinite one, or none above 0.
    """

    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        valid = len(self.weights) == len(TASKS) and sum(self.weights) > 0
        if not valid or not all(0 <= w < math.inf for w in self.weights):
            accepted = f"{len(TASKS)} finite weights >= 0, one per task, not all 0"
            raise InputError(f"mix weights: got {self.weights!r}; accepted: {accepted}")

    def sample(
        self, arrival_s: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.int16]:
        """A task for every request, shape (N,), drawn independently."""
        probability = np.array(self.weights) / sum(self.weights)
        return rng.choice(len(TASKS), size=len(arrival_s), p=probability).astype(np.int16)
