"""The score by which the best weights of a run are chosen; never on test episodes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agents.compiled_policies import episode_scores
from agents.networks import Guarded, Router
from agents.routers import compiled_guard, compiled_router
from agents.settings import GuardedSettings, Settings
from agents.tuning import validation_seeds
from llmroute_env.config import EnvConfig

CHOOSING = 1 / 2
"""Share of the validation episodes on which cautions are compared."""


def validation_episodes(
    config: EnvConfig, settings: Settings
) -> tuple[EnvConfig, NDArray[np.uint64]]:
    """(environment, seeds) of the validation episodes of `config`."""
    window_s = min(config.window_s, settings.validation_window_s)
    config = replace(config, split="validation", window_s=window_s)
    return config, validation_seeds(settings.validation_episodes)


def validate(router: Router, config: EnvConfig, settings: Settings, share: float = 1.0) -> float:
    """Mean utility of peak of the router over a share of the validation episodes of `config`."""
    config, seeds = validation_episodes(config, settings)
    seeds = seeds[: max(round(share * len(seeds)), 1)]
    return float(episode_scores(compiled_router(router, config), config, seeds).mean())


def pick_caution(router: Guarded, config: EnvConfig, settings: GuardedSettings) -> float:
    """Give the router the most successful caution; returns its score over all episodes.

    A share of the episodes picks the candidate, as they are paired and this is most of what a
    validation costs; whether it beats the heuristic, that is infinity, all of them decide.
    """
    scores = {c: score_with(c, router, config, settings, CHOOSING) for c in settings.cautions}
    score = score_with(max(scores, key=scores.__getitem__), router, config, settings, 1.0)
    # Without the network, which would be asked in vain.
    config, seeds = validation_episodes(config, settings)
    heuristic = float(episode_scores(compiled_guard(router, config), config, seeds).mean())
    if heuristic > score:
        router.caution.fill_(math.inf)
    return max(heuristic, score)


def score_with(
    caution: float, router: Guarded, config: EnvConfig, settings: GuardedSettings, share: float
) -> float:
    """What the router scores with `caution`, which it keeps."""
    router.caution.fill_(caution)
    return validate(router, config, settings, share)
