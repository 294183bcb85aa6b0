"""Gymnasium's own wrappers of vector environments, on the native one as on gymnasium's."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import gymnasium.wrappers.vector as gv
import numpy as np
import pytest
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import TransformAction, TransformObservation, TransformReward
from packaging.version import Version

from .needs import needs

ID = "llmroute_env:LLMRoute-v0"
SHORT = {"scenario": "overload", "window_s": 0.02}
MODES = ("NextStep", "SameStep", "Disabled")
ENVS, STEPS = 3, 100
Wrap = Callable[[VectorEnv], VectorEnv]

WRAPPERS: dict[str, Wrap] = {
    "none": lambda e: e,
    "ClipReward": lambda e: gv.ClipReward(e, -1.0, 1.0),
    "DictInfoToList": gv.DictInfoToList,
    "DtypeObservation": lambda e: gv.DtypeObservation(e, np.float64),
    "FlattenObservation": gv.FlattenObservation,
    "NormalizeObservation": gv.NormalizeObservation,
    "NormalizeReward": gv.NormalizeReward,
    "RecordEpisodeStatistics": gv.RecordEpisodeStatistics,
    "RescaleObservation": lambda e: gv.RescaleObservation(e, np.float32(-1), np.float32(1)),
    "ReshapeObservation": lambda e: gv.ReshapeObservation(e, (2, 8)),
    "TransformAction": lambda e: gv.TransformAction(e, lambda actions: actions),
    "TransformObservation": lambda e: gv.TransformObservation(e, lambda seen: seen),
    "TransformReward": lambda e: gv.TransformReward(e, lambda rewards: 2.0 * rewards),
    "VectorizeTransformAction": lambda e: gv.VectorizeTransformAction(
        e, TransformAction, func=lambda action: action, action_space=e.single_action_space
    ),
    "VectorizeTransformObservation": lambda e: gv.VectorizeTransformObservation(
        e,
        TransformObservation,
        func=lambda seen: seen,
        observation_space=e.single_observation_space,
    ),
    "VectorizeTransformReward": lambda e: gv.VectorizeTransformReward(
        e, TransformReward, func=lambda reward: 2.0 * reward
    ),
}
OF_RENDERING = {"HumanRendering", "RecordVideo"}
OF_ARRAYS = {"ArrayConversion", "NumpyToTorch"}
NOT_FOR_US = {
    "ClipAction": "actions are numbers of a choice, no box",
    "FilterObservation": "observations are an array, no dict",
    "GrayscaleObservation": "observations are no pictures",
    "JaxToNumpy": "takes actions of JAX, for envs in NumPy: what NumpyToTorch is for torch",
    "JaxToTorch": "for environments in JAX",
    "RescaleAction": "actions are numbers of a choice, no box",
    "ResizeObservation": "observations are no pictures",
}


def made(kind: str, mode: str, **more: Any) -> VectorEnv:
    """The native vector env, or gymnasium's own over single envs."""
    if kind == "native":
        return gymnasium.make_vec(ID, ENVS, autoreset_mode=mode, **more, **SHORT)
    told = {"vectorization_mode": kind, "vector_kwargs": {"autoreset_mode": mode}}
    return gymnasium.make_vec(ID, ENVS, **told, **more, **SHORT)


def steps_of(env: VectorEnv, mode: str) -> list[tuple[Any, ...]]:
    """What the same actions yield, episode after episode."""
    rng, seen = np.random.default_rng(0), []
    env.reset(seed=7)
    for _ in range(STEPS):
        seen.append(env.step(rng.integers(3, size=ENVS)))
        ended = seen[-1][2] | seen[-1][3]
        if mode == "Disabled" and ended.any():
            env.reset(options={"reset_mask": ended})
    env.close()
    return seen


def compare(mine: list[tuple[Any, ...]], theirs: list[tuple[Any, ...]]) -> int:
    """Assert that all is alike but the infos; returns how many episodes ended."""
    assert len(mine) == len(theirs)
    for own, other in [*zip(zip(*mine, strict=True), zip(*theirs, strict=True), strict=True)][:4]:
        np.testing.assert_array_equal(own, other)
        assert [part.dtype for part in own] == [part.dtype for part in other]
    return sum(int((step[2] | step[3]).sum()) for step in mine)


def wrapped(kind: str, mode: str, name: str) -> VectorEnv | str:
    """A wrapped vector, or the words with which gymnasium refuses it."""
    try:
        return WRAPPERS[name](made(kind, mode))
    except (AssertionError, ValueError) as refusal:
        return str(refusal)


def test_every_wrapper_is_named_here():
    assert set(gv.__all__) <= {*WRAPPERS, *OF_RENDERING, *OF_ARRAYS, *NOT_FOR_US}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WRAPPERS)
def test_native_is_what_gymnasiums_own_is(name: str, mode: str):
    native, sync = (wrapped(kind, mode, name) for kind in ("native", "sync"))
    if isinstance(native, str) or isinstance(sync, str):
        assert mode != "NextStep"
        assert native == sync
        return
    assert native.metadata["autoreset_mode"] == sync.metadata["autoreset_mode"]
    assert native.single_observation_space == sync.single_observation_space
    assert compare(steps_of(native, mode), steps_of(sync, mode)) > ENVS


@pytest.mark.verify
@pytest.mark.parametrize("mode", MODES)
def test_native_is_what_processes_are(mode: str):
    assert compare(steps_of(made("native", mode), mode), steps_of(made("async", mode), mode)) > ENVS


# Before gymnasium 1.4 the wrapper leaves out the first step of an episode that begins where another
# ends. Without autoreset gymnasium's own vector takes the mask out of the options before the
# wrapper reads it, which then forgets what the other envs have had.
COUNTS = [(kind, mode) for kind in ("native", "sync") for mode in MODES]
COUNTS.remove(("sync", "Disabled"))
if Version(gymnasium.__version__) < Version("1.4"):
    COUNTS = [(kind, mode) for kind, mode in COUNTS if mode != "SameStep"]


@pytest.mark.parametrize(("kind", "mode"), COUNTS)
def test_statistics_are_those_of_the_summary(kind: str, mode: str):
    episodes = 0
    for _, _, terminated, _, infos in steps_of(gv.RecordEpisodeStatistics(made(kind, mode)), mode):
        if not terminated.any():
            continue
        summary = infos.get("final_info", infos)["summary"]
        told = infos["episode"]
        np.testing.assert_allclose(told["r"][terminated], summary["utility"][terminated], rtol=1e-6)
        assert told["l"][terminated].tolist() == summary["requests"][terminated].tolist()
        episodes += int(terminated.sum())
    assert episodes > ENVS


def test_films(tmp_path: Path):
    needs("PIL", "moviepy")
    films = gv.RecordVideo(
        made("native", "NextStep", render_mode="rgb_array"), str(tmp_path), video_length=3
    )
    films.reset(seed=0)
    for _ in range(4):
        films.step(np.zeros(ENVS, np.int64))
    films.close()
    assert [film.stat().st_size > 1000 for film in tmp_path.glob("*.mp4")] == [True]


def test_a_window_shows_all(monkeypatch: pytest.MonkeyPatch):
    needs("PIL", "pygame", "cv2")
    monkeypatch.setitem(os.environ, "SDL_VIDEODRIVER", "dummy")
    env = gv.HumanRendering(made("native", "NextStep", render_mode="rgb_array"))
    env.reset(seed=0)
    env.step(np.zeros(ENVS, np.int64))
    assert env.window is not None
    env.close()


@pytest.mark.parametrize("kind", ["native", "sync"])
def test_tensors_in_and_out(kind: str):
    needs("array_api_compat", "torch")
    import torch

    env, plain = gv.NumpyToTorch(made(kind, "NextStep")), made(kind, "NextStep")
    env.reset(seed=7)
    plain.reset(seed=7)
    for _ in range(STEPS):
        seen, rewards = env.step(torch.zeros(ENVS, dtype=torch.int64))[:2]
        theirs = plain.step(np.zeros(ENVS, np.int64))
        np.testing.assert_array_equal(seen.numpy(), theirs[0])
        np.testing.assert_array_equal(rewards.numpy(), theirs[1])
