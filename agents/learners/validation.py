"""The score by which the best weights of a run are chosen; never on test episodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from agents.compiled.guards import Overruling, overruled
from agents.compiled.policies import CompiledPolicy, episode_scores
from agents.heuristics.tuning import run_episodes, validation_seeds
from agents.routers.build import compiled_guard, compiled_router
from agents.routers.networks import Guarded
from agents.routers.recurrent import AnyRouter, RecurrentNetwork, RecurrentRouter
from agents.settings.own import GuardedSettings
from agents.settings.parts import Settings
from llmroute_env.config import EnvConfig

CHOOSING = 1 / 2
"""Share of the validation episodes on which cautions are compared."""

MORE = 4
"""Times as many validation episodes with tokens, which are simulated as quickly."""

STRESS_EPISODES, STRESS_WINDOW_S, LEAST_LOSS = 24, 5.0, 0.0005
"""Of the episodes at a multiple of the load, and what a router may lose there to its heuristic."""

UNSEEN_WINDOW_S, MOST_LOSS = 30.0, 0.01
"""Where signals are late: their length, and what it may lose in the worst of them, in the mean over
environments, which share the episodes. A queue that nobody sees grows for longer than a few
seconds, and the mean hides the few episodes in which it does. Of answers of tokens an episode has
too few for its loss to tell."""

BUSIEST = (math.inf, 16.0, 8.0, 5.0, 3.0, 2.0, 1.0, 0.0)
"""Loads above which a router may have to leave the decision to its heuristic; the first that is
safe is taken."""


def stressed(config: EnvConfig, factor: float) -> EnvConfig | None:
    """The environment at loads from its own to `factor` times that; None if it has its trace's."""
    if config.load is None:
        return None
    low, high = config.load_range
    return replace(config, load=(low, factor * high))


def validation_episodes(
    config: EnvConfig, settings: Settings
) -> tuple[EnvConfig, NDArray[np.uint64]]:
    """(environment, seeds) of the validation episodes of `config`.

    Answers of tokens take seconds, and there are few of them: of such episodes there are more if
    `settings` have the usual number, and whole ones if these have the usual length.
    """
    window_s, episodes = settings.validation_window_s, settings.validation_episodes
    if config.service == "continuous":
        window_s = math.inf if window_s == Settings.validation_window_s else window_s
        episodes *= MORE if episodes == Settings.validation_episodes else 1
    config = replace(config, split="validation", window_s=min(config.window_s, window_s))
    return config, validation_seeds(episodes)


def validate(
    router: AnyRouter, configs: Sequence[EnvConfig], settings: Settings, share: float = 1.0
) -> float:
    """Mean utility of peak of the router over a share of the validation episodes of `configs`."""
    if isinstance(router, RecurrentNetwork):
        return mean_over(scores_of(partial(remembering, router), configs, settings, share))
    return mean_score(lambda config: compiled_router(router, config), configs, settings, share)


def mean_score(
    policy: Callable[[EnvConfig], CompiledPolicy],
    configs: Sequence[EnvConfig],
    settings: Settings,
    share: float = 1.0,
) -> float:
    """Mean utility of peak of what `policy` makes for each of `configs`, as in `validate`."""
    return mean_over(compiled_scores(policy, configs, settings, share))


def compiled_scores(
    policy: Callable[[EnvConfig], CompiledPolicy],
    configs: Sequence[EnvConfig],
    settings: Settings,
    share: float = 1.0,
) -> list[NDArray[np.float64]]:
    """Utility of peak in each episode of what `policy` makes for each of `configs`."""

    def played(config: EnvConfig, seeds: NDArray[np.uint64]) -> NDArray[np.float64]:
        return episode_scores(policy(config), config, seeds)

    return scores_of(played, configs, settings, share)


def scores_of(
    score: Callable[[EnvConfig, NDArray[np.uint64]], NDArray[np.float64]],
    configs: Sequence[EnvConfig],
    settings: Settings,
    share: float,
) -> list[NDArray[np.float64]]:
    """What `score` says of a share of the episodes of each of `configs`, one number per seed."""
    scores = []
    for own in configs:
        config, seeds = validation_episodes(own, settings)
        scores.append(score(config, seeds[: max(round(share * len(seeds)), 1)]))
    return scores


def mean_over(scores: Sequence[NDArray[np.float64]]) -> float:
    """The mean over environments of the mean over episodes."""
    return float(np.mean([own.mean() for own in scores]))


def remembering(
    network: RecurrentNetwork, config: EnvConfig, seeds: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """Utility of peak of a router that remembers, shape (N,): it has no compiled form."""
    agent = RecurrentRouter(network, "recurrent", config.observation, config.action)
    return run_episodes(agent, config, seeds)


def overruling(router: Guarded, configs: Sequence[EnvConfig], settings: Settings) -> Overruling:
    """How often the network of `router` has its way on validation arrivals, and what for."""
    alone = mean_score(lambda config: compiled_guard(router, config), configs, settings)
    gain = validate(router, configs, settings) - alone
    pairs = [validation_episodes(own, settings) for own in configs]
    counts = [overruled(compiled_router(router, config), config, seeds) for config, seeds in pairs]
    against, taken = np.sum(counts, axis=0)
    return Overruling(float(against / taken), gain)


def pick_caution(router: Guarded, configs: Sequence[EnvConfig], settings: GuardedSettings) -> float:
    """Give the router the best caution and a safe `busiest`; returns its score over all episodes.

    A share of the episodes picks the caution, as they are paired and this is most of what a
    validation costs; whether it beats the heuristic, that is infinity, all of them decide.
    """
    router.busiest.fill_(math.inf)
    scores = {}
    for caution in settings.cautions:
        router.caution.fill_(caution)
        scores[caution] = validate(router, configs, settings, CHOOSING)
    router.caution.fill_(max(scores, key=scores.__getitem__))
    keep_to_safe_loads(router, configs, settings)
    score = validate(router, configs, settings)
    # Without the network, which would be asked in vain.
    heuristic = mean_score(lambda config: compiled_guard(router, config), configs, settings)
    if heuristic > score:
        router.caution.fill_(math.inf)
    return max(heuristic, score)


def keep_to_safe_loads(
    router: Guarded, configs: Sequence[EnvConfig], settings: GuardedSettings
) -> None:
    """Give the router the largest `busiest` with which it loses nothing to its heuristic.

    That is tried at loads of up to `stress` times the usual: in a few episodes that are busier than
    all of validation it could lose all that it gains in the others.
    """
    tried, fewer = stress_episodes(configs, settings)
    if not tried:
        return
    every = any(map(unseen, tried))
    alone = compiled_scores(lambda config: compiled_guard(router, config), tried, fewer)
    for load in BUSIEST:
        router.busiest.fill_(math.log1p(load))
        scores = compiled_scores(lambda config: compiled_router(router, config), tried, fewer)
        if is_safe([own - base for own, base in zip(scores, alone, strict=True)], every):
            return


def unseen(config: EnvConfig) -> bool:
    """Whether queues of static batches grow in `config` before a router sees it."""
    return config.service == "static" and config.signals.are_late


def stress_episodes(
    configs: Sequence[EnvConfig], settings: GuardedSettings
) -> tuple[list[EnvConfig], GuardedSettings]:
    """(environments at higher loads, settings of the episodes in which a router is tried there).

    An environment with the load of its trace has no other. Episodes are brief, unless signals are
    late or answers take seconds.
    """
    tried = [loaded for own in configs if (loaded := stressed(own, settings.stress)) is not None]
    window_s, episodes = settings.validation_window_s, STRESS_EPISODES
    if any(map(unseen, tried)):
        window_s, episodes = UNSEEN_WINDOW_S, math.ceil(STRESS_EPISODES / len(tried))
    elif configs[0].service != "continuous":
        window_s = min(window_s, STRESS_WINDOW_S)
    episodes = min(settings.validation_episodes, episodes)
    return tried, replace(settings, validation_episodes=episodes, validation_window_s=window_s)


def is_safe(gains: Sequence[NDArray[np.float64]], every: bool) -> bool:
    """Whether a router loses nothing to its heuristic, given its gains by environment and episode.

    It may not in the mean and, if `every` episode counts, in the worst, in the mean over these.
    """
    worst = float(np.mean([own.min() for own in gains]))
    return mean_over(gains) >= -LEAST_LOSS and not (every and worst < -MOST_LOSS)
