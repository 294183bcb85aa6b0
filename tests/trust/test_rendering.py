"""Pictures and text: what they show is the state, and they come in every mode that is offered."""

import copy
import dataclasses
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordVideo

from llmroute_env import ConfigError, Deadline, LLMRouteEnv, LLMRouteVectorEnv, Pool, profiles
from llmroute_env.rendering import sparing
from llmroute_env.rendering.canvas import SLACK_LEVELS, TASK_COLORS, model_color
from llmroute_env.rendering.scene import (
    capture,
    common_prefix,
    describe,
    groups,
    recent_rate_per_s,
)
from llmroute_env.rendering.sparing import FIRST, REST
from traces.workloads import PoissonArrivals

SHAPE = (720, 1280, 3)
DEDICATED = (Pool(1, ("opt-125m",)), Pool(1, ("opt-1.3b",)), Pool(2, ("opt-6.7b",)))
SETTINGS = {
    "default": {},
    "one GPU": {"pools": (Pool(1),)},
    "64 GPUs": {"pools": (Pool(64),)},
    "dedicated": {"pools": DEDICATED},
    "soft": {"deadline": Deadline(0.2, "exponential", 0.3)},
    "no deadline": {"deadline": Deadline(math.inf)},
    "hopeless": {"deadline": Deadline(0.0), "shed_expired": False},
}


def played(steps: int, mode: str | None, **fields: object) -> LLMRouteEnv:
    fields = {"load": 4.0, "window_s": 5.0, "workload": PoissonArrivals(20.0), **fields}
    env = LLMRouteEnv("stable", mode, **fields)
    env.reset(seed=0)
    for step in range(steps):
        env.step(step % int(env.action_space.n))
    return env


def shows(frame: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((frame == np.array(color, np.uint8)).all(axis=-1).any())


@pytest.mark.parametrize("name", SETTINGS)
def test_every_cluster_can_be_drawn_and_written(name: str):
    env = played(400, "rgb_array", **SETTINGS[name])
    frame = env.render()
    assert (frame.shape, frame.dtype) == (SHAPE, np.uint8)
    assert all(shows(frame, color) for color in TASK_COLORS[:4])
    assert shows(frame, model_color(0, 3))
    env = played(400, "ansi", **SETTINGS[name])
    text = env.render()
    assert "request 401 of" in text
    assert all(model in text for model in env.config.model_names)


def test_many_models_share_columns():
    profile = profiles.load("opt-a100")
    base = profile.models[0]
    models = tuple(dataclasses.replace(base, name=f"m-{i:02d}") for i in range(64))
    profile = dataclasses.replace(profile, models=models)
    pools = (Pool(2, tuple(model.name for model in models)),)
    env = played(400, "rgb_array", profile=profile, pools=pools)
    scene = capture(env.simulation)
    assert [column.name for column in scene.columns][:2] == ["m-00 to 07", "m-08 to 15"]
    assert sum(column.waiting for column in scene.columns) == sum(
        queue.waiting for row in scene.rows for queue in row.queues
    )
    assert env.render().shape == SHAPE


def test_a_scene_counts_every_request():
    env = played(600, None, load=8.0)
    scene, state = capture(env.simulation), env.simulation.state
    assert sum(q.waiting for row in scene.rows for q in row.queues) == state.envs["waiting"][0]
    assert sum(b.size for row in scene.rows for b in row.batches) == state.envs["running"][0]
    assert sum(scene.outcomes.values()) == pytest.approx(1.0)
    assert sum(column.share for column in scene.columns) == pytest.approx(1.0)
    assert scene.rates_per_s.sum() * scene.rate_span_s / len(scene.rates_per_s) == 601
    for row in scene.rows:
        for queue in row.queues:
            assert (np.diff(queue.slack) >= 0).all(), "the oldest has the least time left"


def test_the_rate_is_right_from_the_beginning_on():
    # 49 instead of 900 was shown after 0.15 s: the estimate had not seen its 2 s yet.
    rates = {}
    for steps in (0, 1, 135, 1800, 9000):
        env = played(steps, None, window_s=12.0)
        rates[steps] = capture(env.simulation).recent_rate_per_s
        now_s = float(env.simulation.state.envs["now_s"][0])
        assert rates[steps] <= steps / now_s * 1.2, "a single request is no rate"
    load_per_s = 4.0 * env.config.load_1_per_s
    assert rates[0] == 0.0
    for steps in (135, 1800, 9000):
        assert rates[steps] == pytest.approx(load_per_s, rel=0.15)


def test_at_the_end_the_rate_is_that_of_the_last_request():
    env = LLMRouteEnv("stable", window_s=5.0)
    env.reset(seed=0)
    before = after = 0.0
    over = False
    while not over:
        before, over = after, env.step(0)[2]
        after = recent_rate_per_s(env.simulation, 0)
    assert after == before > 0


def test_urgency_shows():
    # Nothing is shed, so that what waits is past its deadline.
    frame = played(1500, "rgb_array", load=16.0, shed_expired=False, pools=(Pool(1),)).render()
    assert shows(frame[140:630], SLACK_LEVELS[-1][2])
    assert not shows(played(3, "rgb_array").render()[140:630, :900], SLACK_LEVELS[-1][2])


def test_a_picture_is_a_function_of_the_state():
    env = played(300, "rgb_array")
    snapshot, first = env.snapshot(), env.render()
    for _ in range(50):
        env.step(0)
    later = env.render()
    assert not np.array_equal(first, later)
    assert not np.shares_memory(first, later)
    env.restore(snapshot)
    np.testing.assert_array_equal(env.render(), first)
    np.testing.assert_array_equal(copy.deepcopy(env).render(), first)


def test_the_end_of_an_episode_can_be_drawn():
    env = LLMRouteEnv("stable", "rgb_array", window_s=0.1)
    env.reset(seed=0)
    while not env.step(0)[2]:
        pass
    assert env.render().shape == SHAPE


def test_rendering_changes_nothing():
    plain, drawn = played(50, None), played(50, "rgb_array")
    for _ in range(20):
        drawn.render()
        np.testing.assert_array_equal(plain.step(1)[0], drawn.step(1)[0])


def test_vector_frames_are_those_of_single_envs():
    env = gymnasium.make_vec("LLMRoute-v0", num_envs=2, scenario="stable", render_mode="rgb_array")
    env.reset(seed=3)
    frames = env.render()
    single = LLMRouteEnv("stable", "rgb_array")
    for e, frame in enumerate(frames):
        single.reset(seed=3 + e)
        np.testing.assert_array_equal(frame, single.render())


def test_record_video_writes_a_clip(tmp_path: Path):
    env = gymnasium.make("LLMRoute-v0", scenario="overload", render_mode="rgb_array")
    env = RecordVideo(env, str(tmp_path / "clips"), episode_trigger=lambda _: True, video_length=5)
    env.reset(seed=0)
    for _ in range(8):
        env.step(0)
    env.close()
    (clip,) = tmp_path.glob("clips/*.mp4")
    assert clip.stat().st_size > 5000


def distinct(frames: list[np.ndarray]) -> list[np.ndarray]:
    return list({id(frame): frame for frame in frames}.values())


def test_a_video_of_a_whole_episode_holds_few_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first, rest = 20, 40
    monkeypatch.setattr(sparing, "FIRST", first)
    monkeypatch.setattr(sparing, "REST", rest)
    env = LLMRouteEnv("stable", "rgb_array", load=4.0, window_s=0.2)
    video = RecordVideo(env, str(tmp_path / "clips"))
    video.reset(seed=0)
    over, steps = False, 0
    while not over:
        over, steps = video.step(0)[2], steps + 1
    frames, each = video.recorded_frames, math.ceil(steps / rest)
    video.recorded_frames = []  # no file is made of them
    assert (len(frames), each) == (steps + 1, 5)
    assert len(distinct(frames)) <= first + rest + 1
    assert len(distinct(frames[:first])) == first
    assert (FIRST + REST + 1) * frames[0].nbytes < 840e6, "what an episode of any length takes"
    twin = LLMRouteEnv("stable", "rgb_array", load=4.0, window_s=0.2, decisions_per_picture=1)
    twin.reset(seed=0)
    shown_at = 0
    for step, frame in enumerate(frames):
        new = step == 0 or frame is not frames[step - 1]
        shown_at = step if new else shown_at
        assert step - shown_at < each
        if (new and step % 10 == 0) or step == steps:
            np.testing.assert_array_equal(frame, twin.render())
        if step < steps:
            twin.step(0)
    assert shown_at == steps, "the end is shown as it is"
    with pytest.raises(ValueError, match="read-only"):
        frames[-1][:] = 0


def test_pictures_begin_again_with_another_state():
    env = played(0, "rgb_array", decisions_per_picture=1000)
    before, first = env.snapshot(), env.render()
    env.step(0)
    assert env.render() is first
    after = env.snapshot()
    env.restore(after)
    assert (env.render() != first).any()
    env.restore(before)
    np.testing.assert_array_equal(env.render(), first)
    env.reset(seed=1)
    assert (env.render() != first).any()


def test_decisions_of_a_picture_are_checked():
    for wrong in (0, -1, 1.5, "1", True):
        with pytest.raises(ConfigError, match="decisions_per_picture: got"):
            LLMRouteEnv("stable", decisions_per_picture=wrong)
    env = LLMRouteEnv({"render_mode": "rgb_array", "decisions_per_picture": 2})
    env.reset(seed=0)
    shown = [env.render()]
    for _ in range(3):
        env.step(0)
        shown.append(env.render())
    assert [len(distinct(shown[:n])) for n in (1, 2, 3, 4)] == [1, 1, 2, 2]


def test_gymnasium_has_nothing_to_say_about_rendering(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(os.environ, "SDL_VIDEODRIVER", "dummy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make("LLMRoute-v0").unwrapped)


def test_the_window_opens_and_closes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(os.environ, "SDL_VIDEODRIVER", "dummy")
    import pygame

    env = played(2, "human")
    assert pygame.display.get_surface().get_size() == (1280, 720)
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    drawn = played(0, "rgb_array")
    drawn.restore(env.snapshot())
    np.testing.assert_array_equal(shown, drawn.render())
    assert env.render() is None
    env.close()
    assert not pygame.display.get_init()
    env.step(0)
    assert not pygame.display.get_init(), "a closed window stays closed"


def test_refusals(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="render_mode: got 'svg'; accepted: None, human"):
        LLMRouteEnv("stable", "svg")
    with pytest.raises(ConfigError, match="render_mode: got 'human'; accepted: None, rgb_array"):
        LLMRouteVectorEnv(1, "stable", render_mode="human")
    with pytest.raises(ResetNeeded):
        LLMRouteEnv("stable", "rgb_array").render()
    with pytest.warns(UserWarning, match="give the env a render_mode"):
        assert LLMRouteEnv("stable").render() is None
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DependencyNotInstalled, match=r"pip install 'llmroute\[render\]'"):
        LLMRouteEnv("stable", "human")
    LLMRouteEnv("stable", "ansi")


def test_text_needs_no_pillow():
    program = (
        "import sys; sys.modules['PIL'] = None\n"
        "from llmroute_env import LLMRouteEnv\n"
        "env = LLMRouteEnv('stable', 'ansi'); env.reset(seed=0); print(env.render())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "request 1 of" in done.stdout, done.stderr


def test_the_deadline_is_put_into_words():
    words = {name: describe(played(0, None, **fields).config) for name, fields in SETTINGS.items()}
    assert words["one GPU"] == "1 GPU, 3 models, hard deadline 0.4 s, dispatcher least-work"
    assert "soft deadline 0.2 s, exponential grace 0.3 s" in words["soft"]
    assert "no deadline" in words["no deadline"]


def test_groups_and_names():
    assert groups(5, 2) == [range(3), range(3, 5)]
    assert [len(group) for group in groups(4096, 16)] == [256] * 16
    assert common_prefix(["opt-1.3b", "opt-125m", "opt-6.7b"]) == "opt-"
    assert common_prefix(["a", "b"]) == ""
    assert common_prefix(["m-01", "m-01"]) == "m-"
