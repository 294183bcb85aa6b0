"""The best setting of a heuristic, found on validation episodes: what learning has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.base import Agent, for_agent
from agents.compiled.making import COMPILED
from agents.compiled.policies import episode_scores
from agents.heuristics import table as controls
from agents.heuristics.table import TUNABLE
from agents.settings.checks import LATE, TOKENS, USUAL
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.service.models import SERVICES
from llmroute_env.recording.serialization import config_sha256
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import ConfigError, require

SEED = 0x5EED
"""The validation episodes are the same for everybody."""

STRONGEST = (*USUAL["model"], *USUAL["gpu-model"])
"""Heuristics of which one, tuned, is what learning has to beat: over models and over pairs."""

Choice = tuple[str, float]
"""A heuristic and its setting."""


def guards_in(config: EnvConfig) -> tuple[str, ...]:
    """The heuristics of which the best, tuned, guards a router that reads `config` as it does."""
    counts = config.signals.are_late and "gpu_in_flight" in config.observation
    tokens = TOKENS[config.action] if SERVICES[config.service].reads_lengths else ()
    return (*USUAL[config.action], *tokens, *(LATE[config.action] if counts else ()))


def validation_seeds(episodes: int) -> NDArray[np.uint64]:
    """Seeds of the validation episodes, shape (episodes,)."""
    return np.random.default_rng(SEED).integers(2**64, size=episodes, dtype=np.uint64)


class Tuned(NamedTuple):
    """A heuristic with its best setting, and the mean utility of peak that it earns by it."""

    name: str
    setting: float
    score: float


def tune(name: str, config: EnvConfig, episodes: int = 48) -> float:
    """The value of the heuristic's setting that earns most on the validation split of `config`.

    Raises:
        ConfigError: a heuristic that has no setting.
    """
    return best_tuned((name,), config, episodes).setting


def best_tuned(names: Sequence[str], config: EnvConfig, episodes: int = 48) -> Tuned:
    """The heuristic of `names` and its setting that earn most on the validation split of `config`.

    Raises:
        ConfigError: a heuristic that has no setting.
    """
    accepted = ", ".join(TUNABLE)
    for name in names:
        require(name in TUNABLE, "agent", name, f"one with a setting: {accepted}")
    scores = setting_scores(names, config, episodes)
    best = max(scores, key=scores.__getitem__)
    return Tuned(*best, scores[best])


def setting_scores(
    names: Sequence[str], config: EnvConfig, episodes: int = 48
) -> dict[Choice, float]:
    """What `names` earn on the validation split of `config` with each of their settings.

    Those who train in the same environment again, with another seed or in another family, are told
    what was found before in this process; not where a workload of a user's own has no fingerprint.
    """
    try:
        asked = (config_sha256(config), tuple(names), episodes)
    except ConfigError:
        return played_scores(names, config, episodes)
    if asked not in KNOWN:
        KNOWN[asked] = played_scores(names, config, episodes)
    return dict(KNOWN[asked])


KNOWN: dict[tuple[str, tuple[str, ...], int], dict[Choice, float]] = {}
"""By fingerprint of the environment, heuristics and episodes, what `setting_scores` found."""


def played_scores(names: Sequence[str], config: EnvConfig, episodes: int) -> dict[Choice, float]:
    """What `setting_scores` says, from episodes that are played."""
    return {
        (name, setting): validation_score(name, config, setting, episodes)
        for name in names
        for setting in TUNABLE[name].values(config)
    }


def validation_score(name: str, config: EnvConfig, setting: float, episodes: int) -> float:
    """Mean utility of peak of heuristic `name` on the validation episodes."""
    config = replace(config, split="validation")
    seeds = validation_seeds(episodes)
    return float(heuristic_scores(name, config, setting, seeds).mean())


def heuristic_scores(
    name: str, config: EnvConfig, setting: float, seeds: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """Utility of peak of heuristic `name` on one episode per seed, shape (N,)."""
    agent = controls.make(name, replace(config, action="model"), setting)
    config = for_agent(config, agent)
    if name in COMPILED:
        return episode_scores(COMPILED[name](config, setting), config, seeds)
    return run_episodes(agent, config, seeds)


def run_episodes(agent: Agent, config: EnvConfig, seeds: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Utility of peak of one episode per seed, shape (N,): compiled.policies.episode_scores."""
    config = for_agent(config, agent)
    simulation = Simulation(config, len(seeds), logs_completions=False)
    simulation.begin(seeds)
    agent.begin(len(seeds), np.random.default_rng(seeds))
    while not simulation.outputs.terminated.all():
        simulation.step(agent.act(simulation.outputs.observations))
    return simulation.share_of_peak
