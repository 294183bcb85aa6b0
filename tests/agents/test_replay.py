"""The replay ring against a plain list."""

from __future__ import annotations

import numpy as np
import pytest

from agents.learners.replay import Replay, Transitions
from llmroute_env.specs import ConfigError


def numbered(first: int, count: int) -> Transitions:
    number = np.arange(first, first + count)
    return Transitions(
        observations=np.stack([number, -number], 1).astype(np.float32),
        actions=number % 3,
        returns=(number / 2).astype(np.float32),
        discounts=(1 / (1 + number)).astype(np.float32),
        next_observations=np.stack([number + 1, -number], 1).astype(np.float32),
    )


@pytest.mark.parametrize("sizes", [(3,), (4, 3, 6), (7,), (25,), (0, 5, 0, 5, 5)])
def test_keeps_the_latest_transitions_whole(sizes: tuple[int, ...]) -> None:
    replay, added = Replay(7, 2), 0
    for size in sizes:
        replay.add(numbered(added, size))
        added += size
    kept = min(added, 7)
    assert len(replay) == kept
    sample = replay.sample(500, np.random.default_rng(0))
    numbers = sample.observations[:, 0].astype(int)
    assert set(numbers) == set(range(added - kept, added))
    for i, number in enumerate(numbers):
        for column, expected in zip(sample, numbered(number, 1), strict=True):
            assert np.array_equal(column[i], expected[0])


def test_samples_uniformly() -> None:
    replay = Replay(4, 2)
    replay.add(numbered(0, 4))
    picks = replay.sample(40_000, np.random.default_rng(1)).observations[:, 0].astype(int)
    # Four standard deviations of a binomial count.
    assert np.abs(np.bincount(picks) - 10_000).max() < 4 * np.sqrt(40_000 * 0.25 * 0.75)


def test_continues_from_its_arrays() -> None:
    one = Replay(5, 2)
    one.add(numbered(0, 8))
    other = Replay(5, 2)
    other.restore(one.arrays())
    one.add(numbered(8, 2))
    other.add(numbered(8, 2))
    for mine, theirs in zip(one.transitions, other.transitions, strict=True):
        assert np.array_equal(mine, theirs)


def test_refuses_a_capacity_of_zero() -> None:
    with pytest.raises(ConfigError, match="replay_capacity: got 0"):
        Replay(0, 2)
