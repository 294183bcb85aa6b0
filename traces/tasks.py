"""Task mixes: how likely each task is, and how that shifts over time."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError, require
from traces.typed import check_fields

TASKS = ("hellaswag", "piqa", "openbookqa", "copa")
"""The tasks of the shipped profile; the paper uses four standard ones, without naming all."""

EQUAL = (1.0, 1.0, 1.0, 1.0)


class Mix(Protocol):
    """A recipe for the task of every request; hashable, with a repr that says what it is."""

    def __hash__(self) -> int: ...

    @property
    def tasks(self) -> int:
        """How many tasks it chooses from: they are numbered from 0 on."""
        ...

    def sample(self, arrival_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int16]:
        """A task for every request, shape (N,), drawn independently given the times."""
        ...


@dataclass(frozen=True)
class TaskMix:
    """A fixed mix: one weight per task; the default stands for equal ones of any number of tasks.

    Raises:
        InputError: not one weight per task, a negative or infinite one, or none above 0.
    """

    weights: tuple[float, ...] = EQUAL

    def __post_init__(self) -> None:
        check_fields(self)
        check_weights("mix weights", self.weights)

    @property
    def tasks(self) -> int:
        """How many tasks the mix chooses from."""
        return len(self.weights)

    def sample(self, arrival_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int16]:
        """A task for every request, shape (N,), drawn independently."""
        probability = np.array(self.weights) / sum(self.weights)
        return rng.choice(self.tasks, size=len(arrival_s), p=probability).astype(np.int16)


@dataclass(frozen=True)
class PeriodicMix:
    """A mix that swings from `first` to `second` and back in every period, like day and night.

    The share of `second` is (1 - cos(2 pi t / period)) / 2: none at the start of a period, all in
    its middle.

    Raises:
        InputError: weights that TaskMix would refuse, mixes of unequal length, or no finite period.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]
    period_s: float

    def __post_init__(self) -> None:
        check_fields(self)
        check_weights("first", self.first)
        check_weights("second", self.second, len(self.first))
        require(0 < self.period_s < math.inf, "period_s", self.period_s, "finite seconds > 0")

    @property
    def tasks(self) -> int:
        """How many tasks the mix chooses from."""
        return len(self.first)

    def sample(self, arrival_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int16]:
        """A task for every request, shape (N,), by the time within a period."""
        share = (1 - np.cos(2 * math.pi * arrival_s / self.period_s)) / 2
        return between(self.first, self.second, share, rng)


@dataclass(frozen=True)
class DriftingMix:
    """A mix that is `first` until `start_s`, `second` from `end_s` on, and moves in between.

    Raises:
        InputError: weights that TaskMix would refuse, mixes of unequal length, or an end that does
            not follow the start.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]
    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        check_fields(self)
        check_weights("first", self.first)
        check_weights("second", self.second, len(self.first))
        valid = -math.inf < self.start_s < self.end_s < math.inf
        require(valid, "start_s, end_s", (self.start_s, self.end_s), "a finite start below the end")

    @property
    def tasks(self) -> int:
        """How many tasks the mix chooses from."""
        return len(self.first)

    def sample(self, arrival_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int16]:
        """A task for every request, shape (N,), by how far the mix has moved at the arrival."""
        share = np.clip((arrival_s - self.start_s) / (self.end_s - self.start_s), 0.0, 1.0)
        return between(self.first, self.second, share, rng)


@dataclass(frozen=True)
class AbruptMix:
    """Mixes that follow each other at once: `mixes[i + 1]` holds from `shifts_s[i]` on.

    Raises:
        InputError: weights that TaskMix would refuse, mixes of unequal length, or times of shifts
            that do not rise or are not one fewer.
    """

    mixes: tuple[tuple[float, ...], ...]
    shifts_s: tuple[float, ...]

    def __post_init__(self) -> None:
        check_fields(self)
        require(len(self.mixes) > 0, "mixes", self.mixes, "at least one")
        for i, weights in enumerate(self.mixes):
            check_weights(f"mixes[{i}]", weights, self.tasks)
        rising = all(a < b for a, b in zip(self.shifts_s, self.shifts_s[1:], strict=False))
        valid = rising and len(self.mixes) == len(self.shifts_s) + 1
        require(valid, "shifts_s", self.shifts_s, "rising times, one fewer than mixes")

    @property
    def tasks(self) -> int:
        """How many tasks the mix chooses from."""
        return len(self.mixes[0])

    def sample(self, arrival_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int16]:
        """A task for every request, shape (N,), by the mix that holds at the arrival."""
        probability = np.array([np.array(w) / sum(w) for w in self.mixes])
        return drawn(probability, rng, np.searchsorted(self.shifts_s, arrival_s, side="right"))


def check_weights(name: str, weights: tuple[float, ...], tasks: int | None = None) -> None:
    """Raise an InputError unless all weights are finite and >= 0, one above 0, one per task."""
    valid = len(weights) == (tasks or len(weights)) and sum(weights) > 0
    if not valid or not all(0 <= w < math.inf for w in weights):
        number = "" if tasks is None else f"{tasks} "
        accepted = f"{number}finite weights >= 0, one per task, not all 0"
        raise InputError(f"{name}: got {weights!r}; accepted: {accepted}")


def between(
    first: tuple[float, ...],
    second: tuple[float, ...],
    share: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """A task per request: with probability `share` (N,) from `second`, else from `first`."""
    start, end = (np.array(w) / sum(w) for w in (first, second))
    return drawn(start + share[:, None] * (end - start), rng)


def drawn(
    weights: NDArray[np.float64], rng: np.random.Generator, row: NDArray[np.int64] | None = None
) -> NDArray[np.int16]:
    """One category each, drawn by the weights in a row of `weights` (rows, categories).

    Args:
        weights: >= 0, not all 0 in a row that is used.
        rng: source of randomness.
        row: (N,) the row for each draw; None: one draw for every row.
    """
    index = np.arange(len(weights)) if row is None else row
    below = np.cumsum(weights, axis=1)
    point = rng.random(len(index)) * below[index, -1]
    category = np.zeros(len(index), np.int16)
    # Column by column: millions of draws would need as many rows of weights otherwise.
    for column in below[:, :-1].T:
        category += point >= column[index]
    return category


def task_of_function(function: str, tasks: int = len(TASKS)) -> int:
    """The task of a function: the same in every window of a trace, every process and every year.

    Python's own hash differs between processes, and a number by order of appearance between
    windows.
    """
    digest = hashlib.blake2b(function.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % tasks
