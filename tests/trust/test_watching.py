"""An episode as one looks at it: what is shown are its states, at the moments that are promised."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from agents.loading import load
from benchmarks.cli import main
from benchmarks.watching import screens
from benchmarks.watching.episode import Episode, begin
from benchmarks.watching.video import Video
from llmroute_env import LLMRouteEnv
from llmroute_env.rendering.renderer import Renderer
from llmroute_env.scenarios import configure
from llmroute_env.specs import ConfigError, Defer

AGENT = "largest-feasible"


def episode(until_s: float, **fields: object) -> Episode:
    config = configure("stable", load=2.0, **fields)
    agent = load(AGENT, config)
    return Episode("title", begin(agent, config, 3), agent, until_s)


def test_moments_are_the_last_decisions_up_to_them():
    watched, steps = episode(1.0), episode(1.0)
    state = watched.simulation.state.envs[0]
    before, after = steps.simulation.state.envs[0].copy(), steps.simulation.state.envs[0]
    for i in watched.moments(20.0):
        while after["now_s"] <= i / 20:
            before = after.copy()
            steps.simulation.step(steps.agent.act(steps.simulation.outputs.observations))
        assert state == (before if i else state)
        assert state["now_s"] <= max(i / 20, 0.01)
    assert i == 20


@pytest.mark.parametrize("fields", [{}, {"defer": Defer(0.05, 1)}], ids=["once", "again"])
def test_the_next_decision_is_when_the_clock_will_be(fields: dict[str, Defer]):
    watched = episode(np.inf, window_s=0.5, **fields)
    simulation, expected_s, now_s = watched.simulation, [], []
    while not simulation.state.envs["over"][0]:
        expected_s.append(watched.next_s)
        simulation.step(np.array([simulation.actions - 1]))
        now_s.append(float(simulation.state.envs["now_s"][0]))
    # After the last decision the end is at once, however long what is in flight takes.
    assert expected_s[:-1] == now_s[:-1]
    assert expected_s[-1] == now_s[-2]
    assert watched.next_s == np.inf


def test_the_episode_is_that_of_the_env():
    watched = episode(0.5)
    env = LLMRouteEnv("stable", load=2.0)
    observation, _ = env.reset(seed=3)
    for _ in watched.moments(10.0):
        pass
    for _ in range(watched.simulation.state.envs["decision"][0]):
        observation = env.step(watched.agent.act(observation[None])[0])[0]
    np.testing.assert_array_equal(observation, watched.simulation.outputs.observations[0])


def test_it_ends_with_the_episode_or_when_told_to():
    whole = episode(np.inf, window_s=0.5)
    assert len(list(whole.moments(100.0))) in (51, 52)
    assert whole.simulation.outputs.terminated[0]
    told = Episode("title", whole.simulation, whole.agent, np.inf, lambda: True)
    assert len(list(told.moments(100.0))) == 1


HALF, PER_S = 0.5, 8.0


@pytest.fixture(scope="module")
def drawn() -> list[np.ndarray]:
    """The pictures of half a second."""
    watched = episode(HALF)
    renderer = Renderer("rgb_array", watched.simulation, watched.title)
    return [renderer.picture(0) for _ in watched.moments(PER_S)]


def test_a_gif_holds_the_pictures_as_they_are(tmp_path: Path, drawn: list[np.ndarray]):
    path = tmp_path / "new" / "x.GIF"
    assert Video(path, PER_S, 0.5).film(episode(HALF)) == 5
    shown = Image.open(path)
    pictures = [np.array(image.convert("RGB")) for image in ImageSequence.Iterator(shown)]
    np.testing.assert_array_equal(pictures, drawn)
    assert not np.array_equal(pictures[0], pictures[-1])
    durations = [image.info["duration"] for image in ImageSequence.Iterator(shown)]
    assert durations == [250] * 5
    assert [file.name for file in path.parent.iterdir()] == ["x.GIF"]


def test_times_of_a_gif_add_up(tmp_path: Path):
    Video(tmp_path / "x.gif", 30.0).write(np.full((9, 16, 3), 20 * i, np.uint8) for i in range(10))
    images = ImageSequence.Iterator(Image.open(tmp_path / "x.gif"))
    durations = [image.info["duration"] for image in images]
    assert (len(durations), sum(durations)) == (10, 330)  # of 33.3, to hundredths


def test_an_mp4_holds_the_pictures(tmp_path: Path, drawn: list[np.ndarray]):
    import imageio_ffmpeg

    path = tmp_path / "x.mp4"
    assert Video(path, PER_S, 2.0).film(episode(HALF)) == 5
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    assert (about["size"], about["fps"]) == ((1280, 720), 16.0)
    shown = [np.frombuffer(frame, np.uint8).reshape(720, 1280, 3) for frame in reader]
    assert len(shown) == len(drawn) == 5
    for one, other in zip(shown, drawn, strict=True):
        assert np.abs(one.astype(int) - other).mean() < 2, "only what the coding loses"


def test_a_video_that_fails_leaves_nothing(tmp_path: Path):
    def frames():
        yield np.zeros((720, 1280, 3), np.uint8)
        raise RuntimeError("no picture")

    for name in ("x.gif", "x.mp4"):
        with pytest.raises(RuntimeError, match="no picture"):
            Video(tmp_path / name).write(frames())
    assert list(tmp_path.iterdir()) == []


@contextmanager
def room(most_bytes: int) -> Iterator[None]:
    """No file that ffmpeg writes may be larger."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("limit_bytes", [100, 100_000])
def test_a_video_that_has_no_room_is_refused(tmp_path: Path, limit_bytes: int):
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 256, (720, 1280, 3), np.uint8) for _ in range(2))
    accepted = r"out: got 'x\.mp4'; accepted: a file that can be written whole"
    with pytest.raises(ConfigError, match=accepted), room(limit_bytes):
        Video(tmp_path / "x.mp4").write(noise)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_gif(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "x.gif"
    words = ["watch", "priced-pair", "--out", str(out), "--seconds", "0.5", "--json"]
    assert main(words) == 0
    printed = capsys.readouterr().out.splitlines()
    row = json.loads(printed[-1])
    assert (row["frames"], row["out"], row["setting"]) == (6, str(out), 0.016)
    assert row["requests"] > 100
    assert 0.4 < row["duration_s"] <= 0.5
    assert printed[0].startswith("priced-pair on unpredictable-1, seed 0: ")
    assert f"{100 * row['deadline_met']:.1f} % in time" in printed[0]
    assert printed[1:3] == [
        "priced-pair: price 0.016, tuned for unpredictable-1",
        f"{out}: 6 frames",
    ]


def test_where_nobody_looks_it_is_plain_text(capsys: pytest.CaptureFixture[str]):
    words = ["watch", "opt-125m", "--scenario", "overload", "--seconds", "2", "--speed", "0.5"]
    assert main([*words, "--terminal", "--json"]) == 0
    printed = capsys.readouterr().out
    row = json.loads(printed.splitlines()[-1])
    assert (row["frames"], row["out"], row["scenario"]) == (5, None, "overload")
    assert printed.count("opt-125m on overload, seed 0\n4 GPUs") == 5
    shown = [line for line in printed.splitlines() if line.startswith("utility ")]
    assert (
        f"utility {row['utility']:,.2f} of a peak of {row['peak_utility']:,.2f}; in time"
        in shown[-1]
    )


def test_a_terminal_is_redrawn_in_place(monkeypatch: pytest.MonkeyPatch):
    import io

    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdout", terminal)
    with screens.screen(episode(0.1), in_window=False) as screen:
        assert isinstance(screen, screens.Terminal)
        assert screens.show_live(screen, screen.episode, 1.0) == 2
    assert "\x1b[1A" in terminal.getvalue(), "the cursor goes up again"
    assert "in time" in terminal.getvalue()


class Slow:
    """A screen of 50 moments a second on which showing one takes 45 ms, by a clock of its own."""

    frames_per_s = 50.0

    def __init__(self, watched: Episode) -> None:
        self.watched, self.clock_s, self.shown_s = watched, 0.0, []

    def perf_counter(self) -> float:
        return self.clock_s

    def sleep(self, seconds: float) -> None:
        self.clock_s += seconds

    def show(self) -> bool:
        self.shown_s.append((self.clock_s, float(self.watched.simulation.state.envs["now_s"][0])))
        self.clock_s += 0.045
        return True


@pytest.mark.parametrize("speed", [0.5, 1.0, 4.0])
def test_a_slow_screen_leaves_moments_out_and_keeps_the_time(
    monkeypatch: pytest.MonkeyPatch, speed: float
):
    watched = episode(2.0)
    slow = Slow(watched)
    monkeypatch.setattr(screens, "time", slow)
    assert screens.show_live(slow, watched, speed) == len(slow.shown_s) < 50 * 2.0 / speed
    for clock_s, now_s in slow.shown_s[1:]:
        assert now_s / speed == pytest.approx(clock_s, abs=0.05)
    assert slow.shown_s[-1][1] > 1.98


def test_after_a_stop_it_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch):
    watched = episode(2.0)
    slow = Slow(watched)
    monkeypatch.setattr(screens, "time", slow)
    act, acted = watched.agent.act, []

    def compiles_first(observations: np.ndarray) -> np.ndarray:
        slow.clock_s += 0.0 if acted else 30.0
        acted.append(True)
        return act(observations)

    watched.agent.act = compiles_first
    screens.show_live(slow, watched, 1.0)
    for clock_s, now_s in slow.shown_s[1:]:
        assert now_s == pytest.approx(clock_s - 30.0, abs=0.1)


def test_a_window_is_watched_until_it_is_closed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    import pygame

    watched = episode(10.0)
    with screens.screen(watched, in_window=True) as screen:
        assert isinstance(screen, screens.Window)
        assert screen.show()
        assert pygame.display.get_caption()[0] == "title"
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        assert screens.show_live(screen, watched, 1.0) == 1
    assert not pygame.display.get_init()


def test_without_a_display_there_is_no_window(monkeypatch: pytest.MonkeyPatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert not screens.has_display()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_interrupting_keeps_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    out, picture, drawn = tmp_path / "x.gif", Renderer.picture, []

    def draw(self: Renderer, e: int) -> np.ndarray:
        drawn.append(e)
        if len(drawn) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return picture(self, e)

    monkeypatch.setattr(Renderer, "picture", draw)
    assert main(["watch", "random", "--out", str(out)]) == 130
    printed = capsys.readouterr()
    assert f"{out}: 3 frames" in printed.out
    assert Image.open(out).n_frames == 3
    assert "Traceback" not in printed.err
