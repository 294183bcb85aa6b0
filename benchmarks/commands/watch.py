"""What `llmroute watch` takes and does; importing it imports neither numba nor torch."""

from __future__ import annotations

import json as json_format
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from benchmarks.commands.options import UNCHANGED, Environment, Said, problem_for

if TYPE_CHECKING:
    from benchmarks.watching.episode import Episode
    from benchmarks.watching.video import Video

INTERRUPTED = 130
"""Exit code after Ctrl-C, which ends what is watched and keeps what there is of a video."""

VIDEO_S = 10.0
"""Simulated seconds of a video, unless told otherwise."""


@dataclass(frozen=True)
class Watch:
    """See a router decide: live, in a window or the terminal, or as a video.

    A window needs the extra `render` and a display. Ctrl-C ends it.
    """

    agent: tyro.conf.Positional[str]
    """A name that `llmroute list agents` says, or NAME=VALUE, a run directory or an ONNX file."""
    environment: Environment = UNCHANGED
    """On what."""
    split: Said[str | None] = None
    """Part of the arrivals that the episode is cut from: train, validation, test (usual) or all."""
    seed: int = 0
    """Of the episode and of the router."""
    seconds: Said[float | None] = None
    """Simulated time to show; by default 10 s in a video, live the whole episode."""
    speed: float = 1.0
    """Simulated seconds per second."""
    out: Said[Path | None] = None
    """Video to write instead, .mp4 or .gif; a GIF takes 1 MB of memory a frame."""
    fps: Said[float | None] = None
    """Frames per simulated second of a video; by default 30 in an .mp4, 10 in a .gif."""
    terminal: Said[bool] = False
    """Text in the terminal, even if there could be a window."""
    tuned: Path = Path("runs/tuned")
    """Folder of the settings that were found for problems of your own."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""

    def run(self) -> int:
        """Show the episode, live or in a video, and say what it came to."""
        from agents.interruption import interruption
        from benchmarks.evaluation.settings import choose
        from benchmarks.watching.episode import Episode, begin

        self.check()
        problem = problem_for(self.environment, (self.agent,))
        config = problem.config(self.split)
        router = choose(self.agent, config, self.tuned)
        title = f"{self.agent} on {problem.title}, seed {self.seed}"
        simulation = begin(router.agent, config, self.seed)
        until_s = self.seconds or (math.inf if self.out is None else VIDEO_S)
        with interruption() as interrupted:
            episode = Episode(title, simulation, router.agent, until_s, interrupted)
            frames = self.live(episode) if self.out is None else self.video(self.out).film(episode)
            code = INTERRUPTED if interrupted() else 0
        summary = simulation.summary(0)
        print(f"{title}: {in_words(summary)}")
        if router.setting is not None:
            print(router.words(self.agent))
        if self.out is not None:
            print(f"{self.out}: {frames:,} frames")
        if self.json:
            row = {"agent": self.agent, "scenario": problem.title, "seed": self.seed}
            row |= {"setting": router.setting, "setting_from": router.source, "frames": frames}
            print(json_format.dumps(row | {"out": self.out and str(self.out)} | summary))
        return code

    def check(self) -> None:
        """Refuse what cannot be shown, before anything that takes long."""
        from llmroute_env.specs import require

        for name in ("seconds", "speed", "fps"):
            value = getattr(self, name)
            require(value is None or 0 < value < math.inf, name, value, "a number > 0")
        require(self.seed >= 0, "seed", self.seed, ">= 0")
        if self.out is None:
            require(self.fps is None, "fps", self.fps, "with --out only, for a video")
        else:
            self.video(self.out).check()

    def video(self, out: Path) -> Video:
        """The video to write."""
        from benchmarks.watching.video import Video

        return Video(out, self.fps, self.speed)

    def live(self, episode: Episode) -> int:
        """Show it now; returns how many moments were shown."""
        from benchmarks.watching.screens import screen, show_live

        with screen(episode, in_window=not self.terminal) as shown_on:
            return show_live(shown_on, episode, self.speed)


def in_words(summary: dict[str, Any]) -> str:
    """What an episode has come to, in one line."""
    requests = max(summary["requests"], 1)
    dropped = (summary["rejected"] + summary["shed"]) / requests
    lost = ""
    if "lost" in summary:
        lost = f", {100 * summary['lost'] / requests:.1f} % lost, {summary['retried']:,} retries"
    flight = f", {summary['in_flight']:,} in flight" if summary["in_flight"] else ""
    return (
        f"{summary['duration_s']:.3f} s, {summary['requests']:,} requests, "
        f"{summary['utility_of_peak']:.4f} of peak, {100 * summary['deadline_met']:.1f} % in time, "
        f"{100 * dropped:.1f} % dropped{lost}{flight}"
    )
