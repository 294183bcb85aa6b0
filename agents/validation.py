"""The score by which the best weights of a run are chosen; never on test episodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agents.compiled_policies import episode_scores
from agents.networks import Guarded, Router
from agents.routers import compiled_router
from agents.settings import GuardedSettings, Settings
from agents.tuning import validation_seeds
from llmroute_env.config import EnvConfig


def validation_episodes(
    config: EnvConfig, settings: Settings
) -> tuple[EnvConfig, NDArray[np.uint64]]:
    """(environment, seeds) of the validation episodes of `config`."""
    window_s = min(config.window_s, settings.validation_window_s)
    config = replace(config, split="validation", window_s=window_s)
    return config, validation_seeds(settings.validation_episodes)


def validate(router: Router, config: EnvConfig, settings: Settings) -> float:
    """Mean utility of peak of the router over the validation episodes of `config`."""
    config, seeds = validation_episodes(config, settings)
    return float(episode_scores(compiled_router(router, config), config, seeds).mean())


def pick_caution(router: Guarded, config: EnvConfig, settings: GuardedSettings) -> float:
    """Give the router the most successful caution; returns its score."""
    cautions = (*settings.cautions, float("inf"))
    scores = []
    for caution in cautions:
        router.caution.fill_(caution)
        scores.append(validate(router, config, settings))
    best = max(range(len(scores)), key=scores.__getitem__)
    router.caution.fill_(cautions[best])
    return scores[best]
