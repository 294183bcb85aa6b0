"""Where on its tape every episode is: what statistics must know of windows that overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.simulation.simulation import Simulation


def tape_windows_s(simulation: Simulation) -> NDArray[np.float64]:
    """Begin and end of the episodes that have begun, seconds of the split's trace, shape (E, 2)."""
    envs = simulation.state.envs
    start_s, span_s = envs["tape_start_s"], simulation.trace.span_s
    length_s = np.minimum(simulation.config.window_s / envs["stretch"], span_s)
    return np.stack([start_s, start_s + length_s], axis=1)


def begun(config: EnvConfig, seeds: NDArray[np.uint64]) -> Simulation:
    """The episodes of `seeds`, before their first decision."""
    simulation = Simulation(config, len(seeds), logs_completions=False)
    simulation.begin(seeds)
    return simulation
