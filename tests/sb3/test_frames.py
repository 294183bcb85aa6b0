"""Frames on a stack: what SB3's wrapper shows in training is what gymnasium's shows in playing."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from gymnasium.wrappers import FlattenObservation, FrameStackObservation
from stable_baselines3.common.vec_env import VecFrameStack

from llmroute_env import LLMRouteVectorEnv
from llmroute_env.sb3 import SB3VecEnv

FIELDS: dict[str, Any] = {"scenario": "stale-1s", "window_s": 0.2}
FRAMES = 4


def test_stacks_of_both_are_the_same_through_episodes_and_begin_with_zeros():
    many = VecFrameStack(
        SB3VecEnv(LLMRouteVectorEnv(2, autoreset_mode="SameStep", **FIELDS)), FRAMES
    )
    many.set_options([{"episode": 3}, {"episode": 4}])
    one = FlattenObservation(
        FrameStackObservation(gymnasium.make("LLMRoute-v0", **FIELDS), FRAMES, padding_type="zero")
    )
    (seen, _), stacks = one.reset(options={"episode": 3}), many.reset()
    width = len(seen) // FRAMES
    np.testing.assert_array_equal(stacks[0], seen)
    assert not seen[:-width].any()
    assert seen[-width:].any()
    rng, over, steps = np.random.default_rng(0), False, 0
    while not over:
        action = int(rng.integers(3))
        before = seen
        seen, _, over, _, _ = one.step(action)
        stacks, _, dones, infos = many.step(np.array([action, 0]))
        np.testing.assert_array_equal(seen[:-width], before[width:])
        expected = infos[0]["terminal_observation"] if over else stacks[0]
        np.testing.assert_array_equal(expected, seen)
        assert dones[0] == over
        steps += 1
    assert steps > 2 * FRAMES
    assert not stacks[0][:-width].any(), "nothing of the episode before"
