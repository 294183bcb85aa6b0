"""A picture of a workload: how many requests arrive, second by second."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 480, 150
LEFT, RIGHT, TOP, BOTTOM = 32, 472, 20, 126
"""Of the plot within the picture; figures and words stand around it."""
COLUMNS = 220
"""At most so many places for bars: narrower ones are not seen on small screens."""
SPLITS = (0.0, 0.6, 0.8, 1.0)
APART = 13
"""Least distance of two figures on the axis of rates."""

INK, MEAN, MOST, ONE = "#808080", "#2f7fc1", "#9cc3e4", "#d9660a"
"""Seen on white and on black: a picture cannot ask for a page's colours."""


@dataclass(frozen=True)
class Rates:
    """Requests in each second of a workload, in units of load 1."""

    per_s: tuple[float, ...]

    @property
    def spread(self) -> tuple[float, float]:
        """5 % and 95 % quantiles."""
        low, high = np.quantile(self.per_s, [0.05, 0.95])
        return float(low), float(high)

    @property
    def most(self) -> float:
        """Of the busiest second."""
        return max(self.per_s)


def picture(rates: Rates) -> str:
    """The mean rate over time and, paler, that of the busiest second, as SVG."""
    per_s, top = np.array(rates.per_s), nice(max(rates.most, 1.0))
    starts = np.arange(0, len(per_s), math.ceil(len(per_s) / COLUMNS))
    means = np.add.reduceat(per_s, starts) / np.diff([*starts, len(per_s)])
    bars = [area(np.maximum.reduceat(per_s, starts), top, MOST), area(means, top, MEAN)]
    label = f"Arrival rate in units of load 1, up to {rates.most:.1f}, over {len(per_s)} s"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{label}" font-family="sans-serif" font-size="13" fill="{INK}">',
            *bars,
            *levels(top),
            *times(len(per_s)),
            "</svg>\n",
        ]
    )


def nice(most: float) -> float:
    """The end of an axis that begins at 0: 1, 2, 4 or 8 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(most))
    return next(n * power for n in (1.0, 2.0, 4.0, 8.0, 10.0) if n * power >= most)


def area(heights: NDArray[np.float64], top: float, color: str) -> str:
    """Columns side by side as one area."""
    width = (RIGHT - LEFT) / len(heights)
    steps = [f"V{place(height, top):.1f}h{width:.3f}" for height in heights]
    return f'<path fill="{color}" d="M{LEFT} {BOTTOM}{"".join(steps)}V{BOTTOM}z"/>'


def place(rate: float, top: float) -> float:
    """Where a rate is, from above: by its square root, so that bursts leave calm hours visible."""
    return BOTTOM - math.sqrt(rate / top) * (BOTTOM - TOP)


def levels(top: float) -> list[str]:
    """The axis of rates, with a dashed line at load 1."""
    found = ['<text x="0" y="12">arrival rate / load 1</text>']
    one = place(1.0, top)
    own = [rate for rate in (0.0, top / 4, top) if abs(place(rate, top) - one) >= APART]
    for rate in (1.0, *own):
        y = place(rate, top)
        look = f'"{ONE}" stroke-dasharray="5 3"' if rate == 1.0 else f'"{INK}" opacity="0.35"'
        found.append(f'<path stroke={look} d="M{LEFT} {y:.1f}H{RIGHT}"/>')
        found.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{rate:g}</text>')
    return found


def times(span_s: int) -> list[str]:
    """The axis of time, with the splits between its marks."""
    found = []
    for share in SPLITS:
        x = LEFT + share * (RIGHT - LEFT)
        side, unit = ("end", " s") if share == SPLITS[-1] else ("middle", "")
        found.append(f'<path stroke="{INK}" d="M{x:.1f} {TOP}V{BOTTOM + 5}"/>')
        anchor = f'x="{x:.1f}" y="{BOTTOM + 18}" text-anchor="{side}"'
        found.append(f"<text {anchor}>{share * span_s:.0f}{unit}</text>")
    for share, name in zip(SPLITS[1:], ("train", "validation", "test"), strict=True):
        x = LEFT + share * (RIGHT - LEFT) - 3
        found.append(f'<text x="{x:.1f}" y="12" text-anchor="end">{name}</text>')
    return found
