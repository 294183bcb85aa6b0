"""Render modes of the environment: `rgb_array` and `human` pictures, `ansi` text.

Importing this module imports neither Pillow nor pygame; a Renderer does, where its mode needs them.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from llmroute_env.rendering.scene import (
    Row,
    Scene,
    age,
    believed,
    capture,
    describe,
)
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import require

if TYPE_CHECKING:
    from llmroute_env.rendering.canvas import Canvas

RENDER_MODES = ("human", "rgb_array", "ansi")
RENDER_FPS = 30
"""One step, that is one arrival, per frame."""

NEEDS = {"human": ("PIL", "pygame"), "rgb_array": ("PIL",), "ansi": ()}

Frame = NDArray[np.uint8]


def check_mode(mode: str | None, accepted: tuple[str, ...] = RENDER_MODES) -> None:
    """Refuse a render mode that is not accepted, and one whose libraries are missing.

    Raises:
        ConfigError: no such mode.
        gymnasium.error.DependencyNotInstalled: the extra `render` is not installed.
    """
    require(mode is None or mode in accepted, "render_mode", mode, f"None, {', '.join(accepted)}")
    for library in NEEDS[mode] if mode is not None else ():
        if importlib.util.find_spec(library) is None:
            raise DependencyNotInstalled(
                f"render_mode={mode!r} needs {library}: pip install 'llmroute[render]'"
            )


class Renderer:
    """Shows the envs of a simulation; holds no history, so any step may be left out."""

    def __init__(self, mode: str, simulation: Simulation, title: str = "LLMRoute") -> None:
        """`mode` is one of RENDER_MODES, already checked; `title` heads pictures."""
        self.mode = mode
        self.simulation = simulation
        self.title = title
        self._background: Canvas | None = None
        self._window: Any = None
        self._clock: Any = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether its window was closed; it never opens again."""
        return self._closed

    def __getstate__(self) -> dict[str, Any]:
        """Without what is on the screen: copies of an env draw and show anew."""
        return {**self.__dict__, "_background": None, "_window": None, "_clock": None}

    def render(self) -> Frame | str | None:
        """The first env: a picture, or text, or None once it is on the screen."""
        if self.mode == "ansi":
            return text(capture(self.simulation), self.simulation)
        if self.mode == "rgb_array":
            return self.picture(0)
        self._show()
        return None

    def picture(self, e: int) -> Frame:
        """Env `e`, shape (720, 1280, 3)."""
        from llmroute_env.rendering import picture
        from llmroute_env.rendering.canvas import Canvas

        scene, config = capture(self.simulation, e), self.simulation.config
        if self._background is None:
            self._background = picture.background(scene, config, self.title)
        canvas = Canvas(self._background)
        picture.draw(scene, config, canvas)
        return canvas.pixels()

    def _show(self) -> None:
        import pygame

        if self._closed:
            return
        if self._window is None:
            pygame.display.init()
            pygame.display.set_caption(self.title)
            self._window = pygame.display.set_mode((1280, 720))
            self._clock = pygame.time.Clock()
        frame = self.picture(0)
        pygame.surfarray.blit_array(self._window, frame.swapaxes(0, 1))
        pygame.display.flip()
        self._clock.tick(RENDER_FPS)
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            self.close()

    def close(self) -> None:
        """Close the window, for good; the simulation goes on without it."""
        self._closed = True
        if self._window is not None:
            import pygame

            pygame.display.quit()
            self._window = None


def text(scene: Scene, simulation: Simulation) -> str:
    """The scene as plain text, for terminals and logs."""
    config = simulation.config
    load = scene.recent_rate_per_s / scene.load_1_per_s
    columns = [f"{column.name:>16.16}" for column in scene.columns]
    shares = [f"{100 * column.share:>14.1f} %" for column in scene.columns]
    lines = [
        describe(config),
        _clock(scene),
        f"arrivals {scene.recent_rate_per_s:,.1f}/s ({load:.2f} x load 1)",
        f"utility {scene.utility:,.2f} of a peak of {scene.peak_utility:,.2f}; "
        + ", ".join(f"{name} {100 * share:.1f} %" for name, share in scene.outcomes.items()),
        "",
        f"{'':16}{'running batch':36}" + "".join(columns),
        *(line for row in scene.rows for line in _lines(row)),
        f"{'':16}{'share of the requests routed':36}" + "".join(shares),
    ]
    return "\n".join(lines)


def _clock(scene: Scene) -> str:
    if not scene.pending:
        return f"{scene.now_s:.3f} s, episode over after {scene.requests:,} requests"
    which = f"request {scene.request:,} of {scene.requests:,} ({scene.pending})"
    return f"{scene.now_s:.3f} s, {which} pending"


def _lines(row: Row) -> list[str]:
    """A row as it is, and where signals are late as it is seen."""
    if row.belief is None:
        return [_line(row)]
    words = f"seen {believed(row)}, {age(row.belief.age_s)} ago"
    counts = [
        f"seen {waiting:,}" if queue.hosted else ""
        for queue, waiting in zip(row.queues, row.belief.waiting, strict=True)
    ]
    return [_line(row), f"{'':16}{words:36}{''.join(f'{count:>16}' for count in counts)}".rstrip()]


def _line(row: Row) -> str:
    if row.gpus > 1:
        batch = f"{len(row.batches)} of {row.gpus} GPUs busy"
        batch += f", {row.down} down" if row.down else ""
    elif row.down:
        batch = "down"
    elif row.batches:
        running = row.batches[0]
        times = f"{1e3 * running.done_s:.0f} of {1e3 * running.total_s:.0f} ms"
        batch = f"{running.model:.16} x {running.size}, {times}"
    else:
        batch = "idle"
    queues = []
    for queue in row.queues:
        past = int((queue.slack < 0).sum())
        words = f"{queue.waiting:,}" + (f" ({past} past)" if past else "")
        queues.append(f"{words if queue.hosted else '-':>16}")
    return f"{row.name:16}{batch:36}" + "".join(queues)
