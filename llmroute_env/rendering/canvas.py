"""Drawing surface and palette of the pictures.

Pillow draws them. Its built-in font looks the same on every machine, it needs neither a display nor
global video state (so it works in worker processes and on servers), and a frame takes a few
milliseconds where matplotlib takes a hundred. Pygame only shows the finished frame in a window.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]

WIDTH, HEIGHT = 1280, 720
"""Even numbers, as video encoders demand."""

PAPER: Color = (255, 255, 255)
INK: Color = (34, 34, 34)
SOFT_INK: Color = (98, 98, 98)
RULE: Color = (217, 217, 217)
EMPTY: Color = (242, 242, 242)
SEEN: Color = (196, 0, 60)
"""What routers see, where that is not what is."""

_SMALL: Color = (178, 212, 237)
_LARGE: Color = (8, 48, 107)

TASK_COLORS: tuple[Color, ...] = (
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (120, 94, 60),
)
"""Okabe and Ito's colours for the colour-blind, without the blues, which mean models."""

SLACK_LEVELS: tuple[tuple[float, str, Color], ...] = (
    (0.5, "over half", (205, 205, 205)),
    (0.25, "a quarter to half", (158, 158, 158)),
    (0.0, "less", (104, 104, 104)),
    (-np.inf, "none: past it", (0, 0, 0)),
)
"""Least share of the deadline left, its name, its grey: the darker the more urgent."""


def model_color(index: int, count: int) -> Color:
    """Blues from light to dark: the order of the models is that of the profile."""
    x = index / (count - 1) if count > 1 else 0.6
    red, green, blue = (
        round(low + (high - low) * x) for low, high in zip(_SMALL, _LARGE, strict=True)
    )
    return red, green, blue


def task_color(task: int) -> Color:
    """The colour of a task; from the seventh on they repeat."""
    return TASK_COLORS[task % len(TASK_COLORS)]


def slack_color(share: float) -> Color:
    """The grey of a request with this share of its deadline left."""
    return next(color for least, _, color in SLACK_LEVELS if share >= least)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


class Canvas:
    """An RGB picture with the few shapes that a scene needs; lengths in pixels."""

    def __init__(self, background: Canvas | None = None) -> None:
        """A blank canvas, or a copy of `background`."""
        self.image: Image.Image = (
            background.image.copy() if background else Image.new("RGB", (WIDTH, HEIGHT), PAPER)
        )
        self._draw = ImageDraw.Draw(self.image)

    def box(self, box: Box, fill: Color, outline: Color | None = None) -> None:
        """A filled rectangle (left, top, right, bottom); nothing if it is thinner than a pixel."""
        left, top, right, bottom = (round(value) for value in box)
        if right > left and bottom > top:
            self._draw.rectangle((left, top, right - 1, bottom - 1), fill, outline)

    def frame(self, box: Box, color: Color) -> None:
        """A rectangle that hides nothing but its edge; a line where it is thinner."""
        left, top, right, bottom = (round(value) for value in box)
        self._draw.rectangle((left, top, max(right - 1, left), max(bottom - 1, top)), None, color)

    def line(self, points: list[tuple[float, float]], color: Color, width: int = 1) -> None:
        """A line through `points`."""
        self._draw.line(points, fill=color, width=width)

    def text(
        self,
        at: tuple[float, float],
        text: str,
        size: int = 14,
        color: Color = INK,
        anchor: str = "lm",
    ) -> None:
        """Text; `anchor` as Pillow's: l, m, r and then t, m, s (baseline), b."""
        self._draw.text(at, text, fill=color, font=_font(size), anchor=anchor)

    def pixels(self) -> NDArray[np.uint8]:
        """A fresh array of shape (HEIGHT, WIDTH, 3)."""
        return np.array(self.image)


def fit(text: str, width: float, size: int) -> str:
    """`text`, cut with dots to at most `width` pixels."""
    while len(text) > 1 and _font(size).getlength(text) > width:
        text = text[:-2] + "…" if text.endswith("…") else text[:-1] + "…"
    return text
