"""Where an episode is watched live: a window, a terminal, or text that goes elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from benchmarks.watching.episode import Episode
from llmroute_env.rendering.renderer import NEEDS, RENDER_FPS, Renderer, text
from llmroute_env.rendering.scene import capture

PLAIN_PER_S = 1.0
"""Moments per second of text that nobody looks at while it comes."""

HURRIES_S = 0.25
"""A view that is later than this goes on from where it is, instead of catching up."""


class Screen(Protocol):
    """Somewhere to look; `frames_per_s` is None where nobody looks while it happens."""

    frames_per_s: float | None

    def show(self) -> bool:
        """Show the simulation as it is now; False once whoever looked has gone."""
        ...


class Window:
    """A window with the picture, until it is closed."""

    frames_per_s: float | None = RENDER_FPS

    def __init__(self, episode: Episode) -> None:
        self.renderer = Renderer("human", episode.simulation, episode.title)

    def show(self) -> bool:
        """Draw the picture."""
        self.renderer.render()
        return not self.renderer.closed


class Terminal:
    """Text that is redrawn in place."""

    frames_per_s: float | None = 10.0

    def __init__(self, episode: Episode, live: Live) -> None:
        self.episode, self.live = episode, live

    def show(self) -> bool:
        """Write over what was there; a narrow terminal cuts lines rather than breaking them."""
        self.live.update(Text(words(self.episode), no_wrap=True, overflow="crop"), refresh=True)
        return True


class Plain:
    """Text, one moment after the other, as fast as it comes."""

    frames_per_s: float | None = None

    def __init__(self, episode: Episode) -> None:
        self.episode = episode

    def show(self) -> bool:
        """Print the moment and an empty line."""
        print(f"{words(self.episode)}\n", flush=True)
        return True


def words(episode: Episode) -> str:
    """An episode as it is now."""
    return f"{episode.title}\n{text(capture(episode.simulation), episode.simulation)}"


@contextmanager
def screen(episode: Episode, in_window: bool) -> Iterator[Screen]:
    """A window if it is wanted and there can be one, else the terminal, else plain text."""
    if in_window and has_display():
        window = Window(episode)
        try:
            yield window
        finally:
            window.renderer.close()
    elif sys.stdout.isatty():
        with Live(console=Console(), auto_refresh=False) as live:
            yield Terminal(episode, live)
    else:
        yield Plain(episode)


def has_display() -> bool:
    """Whether a window would be seen, with what is installed."""
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    if sys.platform == "linux" and not any(name in os.environ for name in displays):
        return False
    if any(find_spec(library) is None for library in NEEDS["human"]):
        return False
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    import pygame

    try:
        pygame.display.init()
    except pygame.error:
        return False
    # Without a display it would draw where nobody sees it, unless that was asked for.
    seen = pygame.display.get_driver() not in ("dummy", "offscreen")
    return seen or "SDL_VIDEODRIVER" in os.environ


def show_live(screen: Screen, episode: Episode, speed: float) -> int:
    """Show an episode moment by moment, each at its time; returns how many were shown.

    Moments for which it is too late are left out, but never the last.
    """
    length_s = 1 / (screen.frames_per_s or PLAIN_PER_S)
    due_s, shown, is_shown = time.perf_counter(), 0, False
    for _ in episode.moments(1 / length_s / speed):
        late_s = 0.0 if screen.frames_per_s is None else time.perf_counter() - due_s
        # Compiling takes a minute or two: afterwards it goes on, it does not race.
        due_s += late_s if late_s > HURRIES_S else 0.0
        is_shown = not length_s < late_s <= HURRIES_S
        if is_shown:
            time.sleep(max(-late_s, 0.0))
            shown += 1
            if not screen.show():
                return shown
        due_s += length_s
    if not is_shown:
        screen.show()
        shown += 1
    return shown
