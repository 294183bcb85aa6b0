"""Which episodes routers are scored on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env.specs import ConfigError, require
from traces.typed import conform

OPTIONS = ("episode", "evaluation_seed")
"""Of `reset`."""


def episode_seeds(seed: int, episodes: int, first: int = 0) -> NDArray[np.uint64]:
    """Seeds of episodes first, first + 1, ... of `seed`; none depends on how many there are."""
    numbers = range(first, first + episodes)
    draws = [np.random.SeedSequence(seed, spawn_key=(i,)) for i in numbers]
    return np.array([draw.generate_state(1, np.uint64)[0] for draw in draws], np.uint64)


def evaluation_seeds(
    options: Mapping[str, Any] | None, envs: int, others: tuple[str, ...] = ()
) -> NDArray[np.uint64] | None:
    """What `reset(options=...)` asks for: seeds of episode i and those after it, one per env.

    None if it asks for none.

    Raises:
        ConfigError: an option that is neither of OPTIONS nor of `others`, or of another type.
    """
    given = {} if options is None else dict(options)
    for name in given:
        require(name in OPTIONS + others, "options", name, ", ".join(OPTIONS + others))
    if "episode" not in given:
        require("evaluation_seed" not in given, "options", "evaluation_seed", "with `episode`")
        return None
    numbers = [conform(given.get(n, 0), int, f"options {n}", ConfigError) for n in OPTIONS]
    for name, number in zip(OPTIONS, numbers, strict=True):
        require(number >= 0, f"options {name}", number, ">= 0")
    episode, seed = numbers
    return episode_seeds(seed, envs, episode)
