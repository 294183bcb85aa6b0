"""Recordings: an episode played with given decisions, kept bit by bit, and compared."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.state import TOKENS, Records
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import require

Choose = Callable[[NDArray[np.float32]], NDArray[np.int64]]
"""A router: observations of shape (1, F) to actions of shape (1,)."""


@dataclass(frozen=True)
class Recording:
    """An episode of N steps as it was reported.

    Attributes:
        actions: (N,) int64.
        observations: (N + 1, F) float32, the first one from `reset`.
        rewards, elapsed_s: (N,) float64.
        terminated: (N,) bool.
        ended: (N,) int64, how many requests ended in each step.
        completions: (K,) COMPLETION, in the order in which they were reported.
        tokens: (K,) TOKENS of the same requests; (0,) of a service that has none.
    """

    actions: NDArray[np.int64]
    observations: NDArray[np.float32]
    rewards: NDArray[np.float64]
    elapsed_s: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    ended: NDArray[np.int64]
    completions: Records
    tokens: Records = field(default_factory=lambda: np.zeros(0, TOKENS))

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name; tokens only where there are some: others were recorded without."""
        names = [name for name in COMPARED if name != "tokens" or len(self.tokens) > 0]
        return {name: getattr(self, name) for name in names}

    @property
    def sha256(self) -> str:
        """Fingerprint of everything: equal for equal episodes, on every machine."""
        digest = hashlib.sha256()
        for name, array in self.arrays.items():
            digest.update(f"{name} {array.shape} ".encode("ascii"))
            # Little-endian numbers everywhere: on the machines that numba supports, all are.
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


COMPARED = tuple(field.name for field in dataclasses.fields(Recording))


class Difference(NamedTuple):
    """Where a replay first differs; `step` is None for what precedes the first step."""

    step: int | None
    field: str
    recorded: Any
    replayed: Any

    def words(self) -> str:
        """The difference as one line."""
        where = "before the first step" if self.step is None else f"step {self.step}"
        return f"{where}, {self.field}: recorded {self.recorded}, replayed {self.replayed}"


def play(config: EnvConfig, seed: int, choose: Choose, steps: int | None = None) -> Recording:
    """The episode that `env.reset(seed=seed)` begins, routed by `choose`.

    Args:
        config: of the env.
        seed: of `reset`.
        choose: the router.
        steps: stop after so many; by default the episode runs to its end.

    Raises:
        ConfigError: a seed or a number of steps out of range.
    """
    check_steps(steps)
    return record(begun(config, seed), choose, steps)


def check_steps(steps: int | None) -> None:
    """Raise a ConfigError unless an episode can be cut after so many."""
    require(steps is None or steps >= 1, "steps", steps, ">= 1, or None for the whole episode")


def begun(config: EnvConfig, seed: int) -> Simulation:
    """The episode of `env.reset(seed=seed)`, at its first request.

    Raises:
        ConfigError: the seed is out of range.
    """
    require(seed >= 0, "seed", seed, ">= 0")
    simulation = Simulation(config)
    simulation.begin(np.array([stream_of(seed)], np.uint64))
    return simulation


def stream_of(seed: int) -> int:
    """Where the env's stream stands when `env.reset(seed=seed)` begins an episode."""
    # gymnasium.utils.seeding.np_random makes the same generator.
    return int(np.random.default_rng(seed).integers(2**64, dtype=np.uint64))


def record(simulation: Simulation, choose: Choose, steps: int | None = None) -> Recording:
    """The one episode that `simulation` is at the beginning of, routed by `choose`."""
    out = simulation.outputs
    actions, rows = list[int](), [out.observations[0].copy()]
    scalars, completions = list[tuple[float, float, bool, int]](), list[Records]()
    tokens = [np.zeros(0, TOKENS)]
    while not out.terminated[0] and (steps is None or len(actions) < steps):
        action = np.asarray(choose(out.observations), np.int64)
        simulation.step(action)
        actions.append(int(action[0]))
        rows.append(out.observations[0].copy())
        completions.append(simulation.completions.copy())
        tokens.append(simulation.completion_tokens.copy())
        ended = len(completions[-1])
        scalars.append((out.rewards[0], out.elapsed_s[0], bool(out.terminated[0]), ended))
    rewards, elapsed_s, terminated, counts = zip(*scalars, strict=True)
    return Recording(
        actions=np.array(actions, np.int64),
        observations=np.array(rows),
        rewards=np.array(rewards),
        elapsed_s=np.array(elapsed_s),
        terminated=np.array(terminated),
        ended=np.array(counts, np.int64),
        completions=np.concatenate(completions),
        tokens=np.concatenate(tokens),
    )


def follow(actions: Sequence[int] | NDArray[np.int64]) -> Choose:
    """A router that takes `actions`, one after the other, whatever it sees."""
    numbers = iter(np.asarray(actions, np.int64))
    return lambda observations: np.array([next(numbers)])


def first_difference(recorded: Recording, replayed: Recording) -> Difference | None:
    """The first difference between two recordings, by step and within it by field."""
    found = [
        difference
        for name in COMPARED
        if name != "actions"
        if (difference := _in_field(recorded, replayed, name)) is not None
    ]
    return min(
        found,
        key=lambda difference: -1 if difference.step is None else difference.step,
        default=None,
    )


def _in_field(recorded: Recording, replayed: Recording, name: str) -> Difference | None:
    one, other = getattr(recorded, name), getattr(replayed, name)
    common = min(len(one), len(other))
    # Bytes, because a NaN equals itself here and -0.0 is not 0.0.
    same = [one[i].tobytes() == other[i].tobytes() for i in range(common)]
    row = same.index(False) if False in same else common
    if row == len(one) == len(other):
        return None
    step = _step_of(name, row, recorded if len(one) > row else replayed)
    values = [array[row].tolist() if row < len(array) else "nothing" for array in (one, other)]
    return Difference(step, *_narrowed(name, one.dtype, *values))


def _step_of(name: str, row: int, recording: Recording) -> int | None:
    if name == "observations":
        return row - 1 if row > 0 else None
    if name in ("completions", "tokens"):
        return int(np.searchsorted(np.cumsum(recording.ended), row, side="right"))
    return row


def _narrowed(name: str, dtype: np.dtype[Any], one: Any, other: Any) -> tuple[str, Any, Any]:
    """The column or the record's field in which two rows differ, rather than whole rows."""
    if not (isinstance(one, (list, tuple)) and isinstance(other, (list, tuple))):
        return name, one, other
    if len(one) != len(other):
        return name, one, other
    columns = dtype.names or tuple(str(i) for i in range(len(one)))
    i = next((i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), 0)
    return f"{name}[{columns[i]}]", one[i], other[i]
