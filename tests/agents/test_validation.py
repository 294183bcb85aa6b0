"""Validation: which caution a guarded router gets, and at which loads it may use its network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.compiled.making import largest_feasible
from agents.learners.validation import (
    BUSIEST,
    LEAST_LOSS,
    MOST_LOSS,
    STRESS_EPISODES,
    is_safe,
    keep_to_safe_loads,
    overruling,
    pick_caution,
    stress_episodes,
    stressed,
    validate,
    validation_episodes,
)
from agents.routers.build import guard, q_network
from agents.routers.networks import Guarded
from agents.settings.own import RolloutSettings
from llmroute_env import EnvConfig, configure
from llmroute_env.dynamics.features import DEFAULT_FEATURES

CONFIG = configure("stable", load=1.5, window_s=3.0)
SETTINGS = RolloutSettings(
    action="model",
    observation=DEFAULT_FEATURES,
    cautions=(0.0, 0.1),
    validation_episodes=6,
    validation_window_s=3.0,
)


def always(model: int, config: EnvConfig = CONFIG) -> Guarded:
    """A router whose network always wants one model, whatever it costs."""
    router = guard(q_network(config, (4,)), config, largest_feasible(config, 0.3))
    with torch.no_grad():
        for parameter in router.network.parameters():
            parameter.zero_()
        router.network.body[-1].bias[model] = 1.0
    return router


@pytest.mark.parametrize(("model", "safe"), [(0, True), (2, False)])
def test_a_network_that_fails_when_it_is_busy_is_not_asked_then(model: int, safe: bool) -> None:
    """In overload the smallest model is right, and the largest wrong."""
    config = configure("stable", load=12.0, window_s=3.0)
    router = always(model, config)
    router.caution.fill_(0.0)
    keep_to_safe_loads(router, [config], SETTINGS)
    load = float(np.expm1(float(router.busiest)))
    assert any(load == pytest.approx(known) or load == known for known in BUSIEST)
    assert load >= 8.0 if safe else load <= 3.0
    busy = [replace(config, load=(12.0, 48.0))]
    heuristic = always(model, config)
    assert validate(router, busy, SETTINGS) > validate(heuristic, busy, SETTINGS) - 0.01


def test_a_network_that_knows_less_is_left_out() -> None:
    router = always(0)
    score = pick_caution(router, [CONFIG], SETTINGS)
    assert np.isinf(float(router.caution))
    assert score == pytest.approx(validate(router, [CONFIG], SETTINGS))


def test_episodes_of_tokens_are_whole_and_more_unless_told_otherwise() -> None:
    def of(config: EnvConfig, settings: RolloutSettings) -> tuple[float, int]:
        episodes, seeds = validation_episodes(config, settings)
        assert episodes.split == "validation"
        return episodes.window_s, len(seeds)

    chat, usual = configure("chat"), RolloutSettings()
    assert of(configure("unpredictable-1"), usual) == (10.0, 48)
    assert of(chat, usual) == (chat.window_s, 192)
    assert chat.window_s > 10.0
    assert of(chat, replace(usual, validation_window_s=5.0)) == (5.0, 192)
    assert of(chat, replace(usual, validation_episodes=6)) == (chat.window_s, 6)


def test_stress_raises_the_highest_load() -> None:
    assert stressed(CONFIG, 4.0).load == (1.5, 6.0)  # type: ignore[union-attr]
    assert stressed(replace(CONFIG, load=(1.0, 3.0)), 2.0).load == (1.0, 6.0)  # type: ignore[union-attr]


def test_what_is_lost_in_one_episode_counts_where_every_one_does() -> None:
    gains = [np.full(STRESS_EPISODES, 0.02), np.full(STRESS_EPISODES, 0.01)]
    assert is_safe(gains, every=False)
    assert is_safe(gains, every=True)
    # What is lost in the worst of either environment, in the mean over both.
    gains[0][3], gains[1][5] = -1.5 * MOST_LOSS, -0.4 * MOST_LOSS
    assert is_safe(gains, every=True)
    gains[1][5] = -0.6 * MOST_LOSS
    assert is_safe(gains, every=False)
    assert not is_safe(gains, every=True)
    # However many gain much, the mean over environments decides first.
    gains = [np.full(6, 0.01), np.full(2, -0.01 - 3.0 * LEAST_LOSS)]
    assert not is_safe(gains, every=False)
    assert not is_safe([np.array([1.0, -1.1 * MOST_LOSS])], every=True)


@pytest.mark.parametrize(
    ("names", "window_s", "episodes"),
    [
        (("unpredictable-1",), 5.0, 24),
        (("spot", "mixed-gpus"), 5.0, 24),
        (("stale-1s",), 30.0, 24),
        (("spot", "stale-100ms", "stale-1s", "stale-10s", "crash"), 30.0, 5),
        (("tokens-stale-1s",), 60.0, 24),
    ],
)
def test_higher_loads_are_tried_in_whole_episodes_where_signals_are_late(
    names: tuple[str, ...], window_s: float, episodes: int
) -> None:
    """A queue that nobody sees grows for longer than the first seconds."""
    tried, settings = stress_episodes([configure(name) for name in names], RolloutSettings())
    assert [config.load[1] for config in tried] == [  # type: ignore[index]
        4.0 * configure(name).load_range[1] for name in names
    ]
    for config in tried:
        config, seeds = validation_episodes(config, settings)
        assert (config.window_s, len(seeds)) == (window_s, episodes)


def test_it_is_said_how_often_the_network_has_its_way_and_what_for() -> None:
    router = always(0)
    said = overruling(router, [CONFIG], SETTINGS)
    assert (said.share, said.gain) == (0.0, 0.0)
    assert said.words() == "the network never overrules its heuristic: the score is the heuristic's"
    alone = validate(router, [CONFIG], SETTINGS)
    router.caution.fill_(0.0)
    said = overruling(router, [CONFIG], SETTINGS)
    # At this load the heuristic never takes the smallest model, and is better off.
    assert said.share == 1.0
    assert said.gain == validate(router, [CONFIG], SETTINGS) - alone < 0.0
    assert f"in {100 * said.share:.1f} % of the decisions, for {said.gain:+.4f}" in said.words()
    busy = configure("stable", load=2.5, window_s=3.0)
    router = always(2, busy)
    router.caution.fill_(0.0)
    assert 0.0 < overruling(router, [busy], SETTINGS).share < 1.0
