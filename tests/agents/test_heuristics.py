"""Heuristics on observations made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from agents.columns import column
from agents.heuristics import models as heuristics
from agents.heuristics.models import HEURISTICS, TUNABLE, Heuristic
from llmroute_env import ConfigError, EnvConfig, Pool

CONFIG = EnvConfig()
SMALL, MIDDLE, LARGE = 0, 1, 2
WIDTH = 16


def rows(**features: list) -> np.ndarray:
    """Observations that are 0 but for `features`: one number or one per model in each row."""
    count = len(next(iter(features.values())))
    observations = np.zeros((count, WIDTH), np.float32)
    for name, values in features.items():
        block = np.array(values, np.float32).reshape(count, -1)
        first = column(CONFIG, name)
        observations[:, first : first + block.shape[1]] = block
    return observations


def act(name: str, observations: np.ndarray, setting: float | None = None) -> list[int]:
    agent = heuristics.make(name, CONFIG, setting)
    agent.begin(len(observations), np.random.default_rng(0))
    return [int(action) for action in agent.act(observations)]


def test_largest_feasible_takes_the_largest_with_enough_slack() -> None:
    slack = [[0.9, 0.6, 0.3], [0.9, 0.6, 0.2], [0.9, 0.1, 0.1], [-3, -2, -5], [0.1, 0.05, 0.0]]
    chosen = act("largest-feasible", rows(slack=slack), 0.25)
    assert chosen == [LARGE, MIDDLE, SMALL, MIDDLE, SMALL]
    assert act("largest-feasible", rows(slack=slack), 0.3)[0] == LARGE
    assert act("largest-feasible", rows(slack=slack), 0.7)[0] == SMALL


def test_rate_threshold_takes_smaller_models_as_the_rate_rises() -> None:
    loads = np.array([0.1, 0.79, 0.81, 100.0])
    assert act("rate-threshold", rows(slow_rate=np.log1p(loads)), 0.8) == [
        LARGE,
        LARGE,
        MIDDLE,
        SMALL,
    ]
    assert act("rate-threshold", rows(slow_rate=np.log1p(loads)), 0.05)[0] != LARGE


def test_queue_threshold_leaves_full_queues() -> None:
    batch = {m: CONFIG.batch_limit(CONFIG.models[m]) for m in (MIDDLE, LARGE)}
    waiting = np.log1p(
        [[0, 0, 0], [99, 0, batch[LARGE] - 1], [0, 0, batch[LARGE]], [999, batch[MIDDLE], 999]]
    )
    assert act("queue-threshold", rows(backlog=waiting), 1.0) == [LARGE, LARGE, MIDDLE, SMALL]
    assert act("queue-threshold", rows(backlog=waiting), 0.5)[1] == MIDDLE


@pytest.mark.parametrize(
    ("level", "shares"),
    [
        (0.0, (1, 0, 0)),
        (0.25, (0.5, 0.5, 0)),
        (0.5, (0, 1, 0)),
        (0.9, (0, 0.2, 0.8)),
        (1, (0, 0, 1)),
    ],
)
def test_static_mix_has_its_shares(level: float, shares: tuple[float, ...]) -> None:
    counts = np.bincount(act("static-mix", np.zeros((20_000, WIDTH), np.float32), level), None, 3)
    assert counts / 20_000 == pytest.approx(shares, abs=0.02)


def test_random_is_uniform_and_repeats() -> None:
    observations = np.zeros((9_000, WIDTH), np.float32)
    actions = act("random", observations)
    assert np.bincount(actions) / 9_000 == pytest.approx([1 / 3] * 3, abs=0.02)
    assert actions == act("random", observations)


def test_round_robin_takes_turns_and_begins_anew() -> None:
    agent = heuristics.make("round-robin", CONFIG)
    for _ in range(2):
        agent.begin(2, np.random.default_rng(0))
        turns = [agent.act(np.zeros((2, WIDTH), np.float32)).tolist() for _ in range(4)]
        assert turns == [[0, 0], [1, 1], [2, 2], [0, 0]]


def test_single_models_choose_themselves() -> None:
    for number, name in enumerate(CONFIG.model_names):
        assert act(name, np.zeros((3, WIDTH), np.float32)) == [number] * 3


@pytest.mark.parametrize("name", [*HEURISTICS, *CONFIG.model_names])
def test_every_heuristic_answers_in_range(name: str) -> None:
    agent = heuristics.make(name, CONFIG)
    assert isinstance(agent, Heuristic)
    assert agent.name == name
    agent.begin(50, np.random.default_rng(0))
    observations = np.random.default_rng(1).uniform(-1, 5, (50, WIDTH)).astype(np.float32)
    actions = agent.act(observations)
    assert actions.shape == (50,)
    assert actions.dtype == np.int64
    assert set(actions.tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("name", TUNABLE)
def test_every_setting_of_a_grid_is_accepted(name: str) -> None:
    for value in (*TUNABLE[name].grid, TUNABLE[name].default):
        heuristics.make(name, CONFIG, value)


def test_bad_names_and_settings_are_refused() -> None:
    only_small = EnvConfig(pools=(Pool(2, models=("opt-125m",)),))
    for name, config, setting, message in [
        ("best", CONFIG, None, "agent: 'best' is unknown; accepted: random"),
        ("opt-6.7b", only_small, None, "agent: 'opt-6.7b' is not hosted; hosted: opt-125m"),
        ("random", CONFIG, 0.5, "setting: got 0.5; accepted: none for 'random'"),
        ("largest-feasible", CONFIG, 1.5, "margin: got 1.5; accepted: a share"),
        ("static-mix", CONFIG, -0.1, "level: got -0.1; accepted: 0"),
        ("rate-threshold", CONFIG, 0.0, "scale: got 0.0; accepted: > 0"),
        ("queue-threshold", CONFIG, -1.0, "batches: got -1.0; accepted: > 0"),
        ("random", EnvConfig(action="gpu-model"), None, "action: got 'gpu-model'"),
    ]:
        with pytest.raises(ConfigError) as error:
            heuristics.make(name, config, setting)
        assert message in str(error.value)
