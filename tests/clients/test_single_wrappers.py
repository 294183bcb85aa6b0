"""Gymnasium's own wrappers of single environments, all of them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import gymnasium.wrappers as gw
import numpy as np
import pytest
from gymnasium.spaces import Box

from .needs import needs

ID = "llmroute_env:LLMRoute-v0"
SHORT = {"scenario": "overload", "window_s": 0.1}
Wrap = Callable[[gymnasium.Env], gymnasium.Env]

WRAPPERS: dict[str, Wrap] = {
    "Autoreset": gw.Autoreset,
    "ClipReward": lambda e: gw.ClipReward(e, -1.0, 1.0),
    "DelayObservation": lambda e: gw.DelayObservation(e, 3),
    "DiscretizeObservation": lambda e: gw.DiscretizeObservation(e, 5, multidiscrete=True),
    "DtypeObservation": lambda e: gw.DtypeObservation(e, np.float64),
    "FlattenObservation": gw.FlattenObservation,
    "FrameStackObservation": lambda e: gw.FrameStackObservation(e, 4),
    "MaxAndSkipObservation": lambda e: gw.MaxAndSkipObservation(e, 2),
    "NormalizeObservation": gw.NormalizeObservation,
    "NormalizeReward": gw.NormalizeReward,
    "OrderEnforcing": gw.OrderEnforcing,
    "PassiveEnvChecker": gw.PassiveEnvChecker,
    "RecordEpisodeStatistics": gw.RecordEpisodeStatistics,
    "RepeatAction": lambda e: gw.RepeatAction(e, 3),
    "RescaleObservation": lambda e: gw.RescaleObservation(e, np.float32(-1), np.float32(1)),
    "ReshapeObservation": lambda e: gw.ReshapeObservation(e, (2, 8)),
    "StickyAction": lambda e: gw.StickyAction(e, 0.5),
    "TimeAwareObservation": lambda e: gw.TimeAwareObservation(gw.TimeLimit(e, 10**6)),
    "TimeLimit": lambda e: gw.TimeLimit(e, 10**6),
    "TransformAction": lambda e: gw.TransformAction(e, lambda action: action, e.action_space),
    "TransformObservation": lambda e: gw.TransformObservation(
        e, lambda seen: seen[:3], Box(e.observation_space.low[:3], e.observation_space.high[:3])
    ),
    "TransformReward": lambda e: gw.TransformReward(e, lambda reward: 2.0 * reward),
}
OF_PICTURES: dict[str, Wrap] = {
    "AddRenderObservation": lambda e: e,
    "AddWhiteNoise": lambda e: gw.AddWhiteNoise(e, 0.1),
    "GrayscaleObservation": gw.GrayscaleObservation,
    "ObstructView": lambda e: gw.ObstructView(e, 0.01, 4),
    "ResizeObservation": lambda e: gw.ResizeObservation(e, (72, 128)),
}
OF_RENDERING = {"HumanRendering", "RecordVideo", "RenderCollection"}
OF_ARRAYS = {"ArrayConversion", "NumpyToTorch"}
NOT_FOR_US = {
    "AtariPreprocessing": "for Atari alone",
    "ClipAction": "actions are numbers of a choice, no box",
    "DiscretizeAction": "actions are numbers of a choice, no box",
    "FilterObservation": "observations are an array, no dict",
    "JaxToNumpy": "takes actions of JAX, for envs in NumPy: what NumpyToTorch is for torch",
    "JaxToTorch": "for environments in JAX",
    "RescaleAction": "actions are numbers of a choice, no box",
}


def there(names: dict[str, Wrap]) -> list[str]:
    """Those that the installed gymnasium has."""
    return [name for name in names if name in gw.__all__]


def last_of(env: gymnasium.Env) -> tuple[list[Any], dict[str, Any]]:
    """What was seen and the last info, if everything goes to the smallest model."""
    seen, over = [env.reset(seed=3)[0]], False
    while not over:
        observation, _, terminated, truncated, info = env.step(0)
        seen.append(observation)
        over = terminated or truncated
    return seen, info


def test_every_wrapper_is_named_here():
    named = {*WRAPPERS, *OF_PICTURES, *OF_RENDERING, *OF_ARRAYS, *NOT_FOR_US, "vector"}
    assert set(gw.__all__) <= named


@pytest.mark.parametrize("name", there(WRAPPERS))
def test_a_wrapped_episode_is_the_episode(name: str):
    """One action throughout, so that repeating or delaying something changes nothing."""
    env = WRAPPERS[name](gymnasium.make(ID, **SHORT))
    seen, info = last_of(env)
    assert all(observation in env.observation_space for observation in seen)
    _, plain = last_of(gymnasium.make(ID, **SHORT))
    assert info["summary"] == plain["summary"]
    assert info["utility_of_peak"] == plain["summary"]["utility_of_peak"] > 0.1


def test_statistics_are_those_of_the_summary():
    env = gw.RecordEpisodeStatistics(gymnasium.make(ID, **SHORT))
    seen, info = last_of(env)
    assert info["episode"]["r"] == pytest.approx(info["summary"]["utility"], rel=1e-6)
    assert info["episode"]["l"] == len(seen) - 1 == info["summary"]["requests"]


@pytest.mark.parametrize("name", there(OF_PICTURES))
def test_pictures_as_observations(name: str):
    needs("PIL", *(["cv2"] if name == "ResizeObservation" else []))
    env = OF_PICTURES[name](
        gw.AddRenderObservation(gymnasium.make(ID, render_mode="rgb_array", **SHORT))
    )
    assert env.reset(seed=0)[0] in env.observation_space
    for _ in range(3):
        assert env.step(0)[0] in env.observation_space


def test_pictures_beside_observations():
    needs("PIL")
    both = gw.AddRenderObservation(
        gymnasium.make(ID, render_mode="rgb_array", **SHORT), render_only=False
    )
    env = gw.FilterObservation(both, ["state"])
    np.testing.assert_array_equal(
        env.reset(seed=0)[0]["state"], gymnasium.make(ID, **SHORT).reset(seed=0)[0]
    )


def test_pictures_are_collected_and_filmed(tmp_path: Path):
    needs("PIL", "moviepy")
    env = gw.RenderCollection(gymnasium.make(ID, render_mode="rgb_array", **SHORT))
    env.reset(seed=0)
    env.step(0)
    assert [frame.shape for frame in env.render()] == [(720, 1280, 3)] * 2
    films = gw.RecordVideo(
        gymnasium.make(ID, render_mode="rgb_array", **SHORT), str(tmp_path), video_length=4
    )
    films.reset(seed=0)
    for _ in range(5):
        films.step(0)
    films.close()
    assert [film.stat().st_size > 1000 for film in tmp_path.glob("*.mp4")] == [True]


def test_a_window_shows_pictures(monkeypatch: pytest.MonkeyPatch):
    needs("PIL", "pygame")
    monkeypatch.setitem(os.environ, "SDL_VIDEODRIVER", "dummy")
    env = gw.HumanRendering(gymnasium.make(ID, render_mode="rgb_array", **SHORT))
    env.reset(seed=0)
    env.step(0)
    assert env.window.get_size() == (1280, 720)
    env.close()


def test_tensors_in_and_out():
    needs("array_api_compat", "torch")
    import torch

    env = gw.NumpyToTorch(gymnasium.make(ID, **SHORT))
    seen, info = last_of(env)
    assert all(isinstance(observation, torch.Tensor) for observation in seen)
    assert info["summary"] == last_of(gymnasium.make(ID, **SHORT))[1]["summary"]
