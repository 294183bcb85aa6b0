"""The score by which the best weights of a run are chosen; never on test episodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agents.compiled_policies import CompiledPolicy, episode_scores
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


def validate(
    router: Router, configs: Sequence[EnvConfig], settings: Settings, share: float = 1.0
) -> float:
    """Mean utility of peak of the router over a share of the validation episodes of `configs`."""
    return mean_score(lambda config: compiled_router(router, config), configs, settings, share)


def mean_score(
    policy: Callable[[EnvConfig], CompiledPolicy],
    configs: Sequence[EnvConfig],
    settings: Settings,
    share: float = 1.0,
) -> float:
    """The same of the policy that `policy` makes for each of `configs`."""
    scores = []
    for own in configs:
        config, seeds = validation_episodes(own, settings)
        seeds = seeds[: max(round(share * len(seeds)), 1)]
        scores.append(episode_scores(policy(config), config, seeds).mean())
    return float(np.mean(scores))


def pick_caution(router: Guarded, configs: Sequence[EnvConfig], settings: GuardedSettings) -> float:
    """Give the router the most successful caution; returns its score over all episodes.

    A share of the episodes picks the candidate, as they are paired and this is most of what a
    validation costs; whether it beats the heuristic, that is infinity, all of them decide.
    """
    scores = {}
    for caution in settings.cautions:
        router.caution.fill_(caution)
        scores[caution] = validate(router, configs, settings, CHOOSING)
    router.caution.fill_(max(scores, key=scores.__getitem__))
    score = validate(router, configs, settings)
    # Without the network, which would be asked in vain.
    heuristic = mean_score(lambda config: compiled_guard(router, config), configs, settings)
    if heuristic > score:
        router.caution.fill_(math.inf)
    return max(heuristic, score)
