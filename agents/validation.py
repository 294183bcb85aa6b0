"""The score by which the best weights of a run are chosen; never on test episodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agents.networks import QNetwork
from agents.settings import DoubleDQNSettings
from llmroute_env.config import EnvConfig
from llmroute_env.simulation import Simulation

SEED = 0x5EED
"""The validation episodes are the same for all runs."""


def validate(network: QNetwork, config: EnvConfig, settings: DoubleDQNSettings) -> float:
    """Mean utility of peak of the greedy policy over the validation episodes of `config`."""
    window_s = min(config.window_s, settings.validation_window_s)
    episodes = settings.validation_episodes
    simulation = Simulation(replace(config, window_s=window_s), episodes, logs_completions=False)
    everyone = np.ones(episodes, np.bool_)
    seeds = np.random.default_rng(SEED).integers(2**64, size=episodes, dtype=np.uint64)
    simulation.seed(everyone, seeds)
    simulation.reset(everyone)
    while not simulation.outputs.terminated.all():
        simulation.step(network.greedy(simulation.outputs.observations))
    envs = simulation.state.envs
    return float(np.mean(envs["utility"] / np.maximum(envs["peak_utility"], 1e-12)))
