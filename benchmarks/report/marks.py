"""What a figure says where it is pointed at: exact values, as titles of clear areas over it."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Ends = tuple[float, float]


class Mark(NamedTuple):
    """Text of an area: from and to in the panel's units, None for all of it."""

    text: str
    x: Ends | None
    y: Ends | None
    down_to: Axes


MARKS: WeakKeyDictionary[Axes, list[Mark]] = WeakKeyDictionary()
"""Those of each panel; matplotlib's own artists hold no such texts."""


def tell(
    axis: Axes,
    text: str,
    x: Ends | None = None,
    y: Ends | None = None,
    down_to: Axes | None = None,
) -> None:
    """Say `text` over an area of a panel, or of all panels from it down to another below it."""
    MARKS.setdefault(axis, []).append(Mark(text, x, y, down_to or axis))


def tell_lines(axis: Axes, what: str, every: int = 1) -> None:
    """Say the values of all lines with a label beside each other, at every so many-th point.

    Args:
        axis: a panel whose lines have their points at common places, and which is named below.
        what: name and unit of the values.
        every: of the places, those that are told.
    """
    lines = [line for line in axis.lines if not str(line.get_label()).startswith("_")]
    values = {str(line.get_label()): points(line) for line in lines}
    across = [str(line.get_label()) for line in lines if is_level(axis, line)]
    told = sorted({x for name in values if name not in across for x in values[name]})[::every]
    values |= {name: dict.fromkeys(told, *set(values[name].values())) for name in across}
    where = axis.get_xlabel()
    for x, ends in zip(told, between(axis, told), strict=True):
        here = {name: of[x] for name, of in values.items() if not np.isnan(of.get(x, np.nan))}
        ranked = sorted(here.items(), key=lambda item: -item[1])
        said = [f"{label}: {y:.4g}" for label, y in ranked]
        tell(axis, "\n".join([f"{where}: {x:.4g}", f"{what}:", *said]), x=ends)


def is_level(axis: Axes, line: Line2D) -> bool:
    """Whether a line is one value all across its panel."""
    return not line.get_transform().contains_branch_seperately(axis.transData)[0]


def points(line: Line2D) -> dict[float, float]:
    """Values of a line by their places."""
    x, y = line.get_data()
    return dict(zip(np.asarray(x, float).tolist(), np.asarray(y, float).tolist(), strict=True))


def between(axis: Axes, places: Sequence[float]) -> list[Ends]:
    """Areas around places, as wide as half the ways to their neighbours on the axis."""
    scale = axis.xaxis.get_transform()
    on_axis = scale.transform(np.array(places, np.float64)).tolist()
    middles = [(a + b) / 2 for a, b in pairwise(on_axis)]
    left, right = scale.transform(np.array(axis.get_xlim(), np.float64)).tolist()
    edges = scale.inverted().transform(np.array([left, *middles, right])).tolist()
    return list(pairwise(edges))


def areas(figure: Figure) -> str:
    """The areas of all panels as an element of the figure's SVG, once it is drawn; may be empty."""
    found = [area(figure, axis, mark) for axis, mark in marks(figure)]
    return f'<g class="told">\n{"".join(found)}</g>\n' if found else ""


def marks(figure: Figure) -> Iterator[tuple[Axes, Mark]]:
    """Every panel's marks."""
    for axis in figure.axes:
        for mark in MARKS.get(axis, ()):
            yield axis, mark


def area(figure: Figure, axis: Axes, mark: Mark) -> str:
    """One area, cut off where its panels end."""
    box, last = axis.get_position(), mark.down_to.get_position()
    (left, low), (right, high) = (box.x0, last.y0), (box.x1, box.y1)
    to_figure = axis.transData + figure.transFigure.inverted()
    x, y = mark.x or axis.get_xlim(), mark.y or axis.get_ylim()
    (x0, y0), (x1, y1) = to_figure.transform(list(zip(x, y, strict=True)))
    x0, x1 = np.clip(sorted((x0, x1)), left, right)
    y0, y1 = np.clip(sorted((y0, y1)), low, high) if mark.y else (low, high)
    width, height = 72.0 * figure.get_size_inches()
    place = (
        f'x="{x0 * width:.1f}" y="{(1 - y1) * height:.1f}" '
        f'width="{(x1 - x0) * width:.1f}" height="{(y1 - y0) * height:.1f}"'
    )
    return f'<rect {place} fill="none"><title>{html.escape(mark.text)}</title></rect>\n'
