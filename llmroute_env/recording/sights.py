"""What is and what a router sees, at every decision of an episode whose signals are late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.recording.recording import begun
from llmroute_env.simulation.simulation import Simulation


@dataclass(frozen=True)
class Sights:
    """Of N decisions and the end, on G GPUs: what waits there, and what is seen.

    Attributes:
        at_s: (N + 1,) float64.
        waiting, seen: (N + 1, G) int64, of all models; with dead reckoning what was sent is seen.
        scraped_s: (N + 1, G) float64, when what is seen was so.
    """

    at_s: NDArray[np.float64]
    waiting: NDArray[np.int64]
    seen: NDArray[np.int64]
    scraped_s: NDArray[np.float64]


def sights_of(config: EnvConfig, seed: int, actions: NDArray[np.int64]) -> Sights | None:
    """Those of the episode of `env.reset(seed=seed)` with these actions; None of exact signals."""
    if not config.signals.are_late:
        return None
    simulation = begun(config, seed)
    found = [sight(simulation)]
    for action in actions:
        simulation.step(np.array([action]))
        found.append(sight(simulation))
    at_s, waiting, seen, scraped_s = (np.array(each) for each in zip(*found, strict=True))
    return Sights(at_s, waiting, seen, scraped_s)


def sight(simulation: Simulation) -> tuple[float, NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The moment, and of every GPU what waits, what is seen to, and of when that is."""
    s, view = simulation.state, int(simulation.cluster.rules[0]["view_rows"])
    at_s, gpus = float(s.envs[0]["now_s"]), s.gpus
    waiting, seen = (gpus[row]["waiting"].astype(np.int64) for row in (0, view))
    return at_s, waiting, seen, gpus[view]["scraped_s"].copy()
