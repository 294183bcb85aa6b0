"""Videos of an episode: .mp4 by ffmpeg, .gif by Pillow, written frame by frame."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from benchmarks.watching.episode import Episode
from llmroute_env.recording.files import check_writable
from llmroute_env.rendering.renderer import Frame, Renderer
from llmroute_env.specs import require

if TYPE_CHECKING:
    from PIL import Image

FASTEST_GIF_PER_S = 50.0
"""Viewers show a GIF with more frames per second at 10."""

USUAL_PER_S = {".gif": 10.0, ".mp4": 30.0}
"""Frames per simulated second, by the kind of video."""

DRAFT = ".draft-"
"""What the name of a video begins with until it is whole."""

NEEDS = {".gif": ("PIL",), ".mp4": ("PIL", "imageio_ffmpeg")}


@dataclass(frozen=True)
class Video:
    """A video to be written: where, how many frames a simulated second, how fast it plays."""

    path: Path
    wanted_per_s: float | None = None
    speed: float = 1.0

    @property
    def kind(self) -> str:
        """The end of the file's name."""
        return self.path.suffix.lower()

    @property
    def per_s(self) -> float:
        """Frames per simulated second, as wanted or usual for that kind."""
        return self.wanted_per_s or USUAL_PER_S[self.kind]

    def check(self) -> None:
        """Refuse a file of another kind, and a GIF that viewers would slow down.

        Raises:
            ConfigError: likewise.
            ModuleNotFoundError: what writes such a file is not installed.
        """
        accepted = f"a name that ends in {' or '.join(WRITERS)}"
        require(self.kind in WRITERS, "out", str(self.path), accepted)
        shown_per_s = self.per_s * self.speed
        accepted = f"at most {FASTEST_GIF_PER_S:g} frames per second in a GIF; or an .mp4"
        valid = self.kind != ".gif" or shown_per_s <= FASTEST_GIF_PER_S
        require(valid, "fps times speed", shown_per_s, accepted)
        for library in NEEDS[self.kind]:
            import_module(library)
        check_writable(self.path)

    def film(self, episode: Episode) -> int:
        """Write an episode; returns how many frames that took."""
        renderer, drawn = Renderer("rgb_array", episode.simulation, episode.title), 0
        walk, most = episode.moments(self.per_s), math.ceil(episode.until_s * self.per_s) + 1

        def frames() -> Iterator[Frame]:
            nonlocal drawn
            name = self.path.name
            for _ in tqdm(walk, name, most, leave=False, disable=None, unit=" frames"):
                yield renderer.picture(0)
                drawn += 1

        self.write(frames())
        return drawn

    def write(self, frames: Iterator[Frame]) -> None:
        """Write frames of one size, at least one; the file is whole or not there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The end of the name says what ffmpeg writes.
        draft = self.path.with_name(f"{DRAFT}{self.path.name}")
        try:
            WRITERS[self.kind](draft, frames, self.per_s * self.speed)
            os.replace(draft, self.path)
        finally:
            draft.unlink(missing_ok=True)


def write_mp4(path: Path, frames: Iterator[Frame], shown_per_s: float) -> None:
    """H.264, in the form that browsers play.

    Raises:
        ConfigError: ffmpeg could not, and says why on standard error.
    """
    import imageio_ffmpeg

    first = next(frames)
    writer = imageio_ffmpeg.write_frames(
        str(path),
        size=(first.shape[1], first.shape[0]),
        fps=shown_per_s,
        quality=7,
        ffmpeg_log_level="error",
        # The index in front: players begin before they have the whole file.
        output_params=["-movflags", "+faststart"],
    )
    writer.send(None)
    sent = 0
    with closing(writer):
        for frame in chain([first], frames):
            try:
                writer.send(frame)
            except OSError:
                sent = -1
                break
            sent += 1
    # Also what fails only when the file is closed, which nobody else tells.
    whole = sent > 0 and frames_in(path) == sent
    require(whole, "out", path.name.removeprefix(DRAFT), "a file that can be written whole")


def frames_in(path: Path) -> int | None:
    """How many frames a video has; None if it is no video."""
    import imageio_ffmpeg

    try:
        return int(imageio_ffmpeg.count_frames_and_secs(str(path))[0])
    except RuntimeError:
        return None


def write_gif(path: Path, frames: Iterator[Frame], shown_per_s: float) -> None:
    """Endless, in the colours of the pictures, which seldom have more than the 256 of a GIF."""
    images = gif_images(frames, shown_per_s)
    next(images).save(path, save_all=True, append_images=images, loop=0, disposal=1)


def gif_images(frames: Iterator[Frame], shown_per_s: float) -> Iterator[Image.Image]:
    """The frames as GIFs have them, each with how long it is shown."""
    from PIL import Image

    for i, frame in enumerate(frames):
        image = Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE)
        # GIFs count hundredths of a second: each begins at the nearest, so that no error adds up.
        begin, end = round(100 * i / shown_per_s), round(100 * (i + 1) / shown_per_s)
        image.info["duration"] = 10 * (end - begin)
        yield image


WRITERS: dict[str, Callable[[Path, Iterator[Frame], float], None]] = {
    ".mp4": write_mp4,
    ".gif": write_gif,
}
"""By the end of the file's name."""
