"""Episodes in which machines fail."""

from dataclasses import replace

import numpy as np

from llmroute_env.failure_specs import ExponentialTimes, Failures, LognormalTimes, ReplayedTimes
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation

LISTED = ReplayedTimes(tuple(0.25 * (1 + k % 7) for k in range(20)))
RECIPES = {
    "exponential": (ExponentialTimes(0.6), ExponentialTimes(0.3)),
    "log-normal": (LognormalTimes(0.4, 0.8), LognormalTimes(0.2, 1.2)),
    "replayed": (LISTED, ReplayedTimes((0.1, 0.2, 0.4, 0.1, 0.3))),
    "mixed": (ExponentialTimes(0.8), ReplayedTimes((0.1, 0.2, 0.4, 0.1, 0.3))),
}
OVERLOAD = configure("overload", window_s=1.0)
CHAT = configure("chat", window_s=20.0)


def failing(config, recipe="exponential", **more):
    return replace(config, failures=Failures(*RECIPES[recipe], **more))


def some(simulation):
    """Any action, the same for the same decision."""
    decisions = simulation.state.envs["decision"]
    return (decisions * 2654435761 >> 7) % simulation.actions


def play(config, seeds, choose=some, each=lambda simulation: None):
    """Completions and origins of whole episodes, and the simulation at their end."""
    simulation = Simulation(config, len(seeds))
    simulation.begin(np.array(seeds, np.uint64))
    found = []
    while not simulation.state.envs["over"].all():
        each(simulation)
        simulation.step(choose(simulation))
        found.append((simulation.completions.copy(), simulation.completion_origins.copy()))
    records, origins = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return records, origins, simulation
