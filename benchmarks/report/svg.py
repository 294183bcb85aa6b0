"""How the figures of a report are made: without a display, alike, as SVG."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from benchmarks.drawing import COLORS
from benchmarks.report.data import Results
from benchmarks.report.look import figure_style
from benchmarks.report.marks import areas
from benchmarks.report.page import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROUTER_COLORS = (*COLORS, "#e69f00", "#56b4e9")
LINES, HATCHES = ("-", "--", ":"), ("", "///", "...")
"""Of routers of one colour, in their order: the second of a colour is dashed and hatched."""
CHARACTERS = 120
"""That fit beside each other in a legend, 8 of them for a line and its distance to the next."""
MARKERS = "osD^vPX>phd"
"""As many as have no factor in common with the colours, so that no two routers share both."""
HIGHER, RIGHT = "higher is better", "farther right is better"
"""Said beside the unit of every axis on which one end is."""


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an element of a page; the same figure gives the same text."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    drawing = file.getvalue()
    # Identifiers are those of the page, so each figure has its own.
    drawing = drawing[drawing.index("<svg") :]
    # Two images that are alike would have one: it is made of what they show, and nobody uses it.
    drawing = re.sub(r'(<image [^>]*?)id="[^"]*"', r"\1", drawing)
    for mark in ('id="', "url(#", 'href="#'):
        drawing = drawing.replace(mark, f"{mark}{name}-")
    return themed(drawing, areas(figure))


def themed(drawing: str, over: str = "") -> str:
    """The drawing in light and dark, with elements over it."""
    head, rest = drawing.removeprefix("<svg").split(">", 1)
    body, end = rest.rsplit("</svg>", 1)
    return f'<svg class="figure"{head}>\n {figure_style()}{body}{over}</svg>{end}'


def style(results: Results, agent: str) -> dict[str, Any]:
    """A router's line: the same in every figure of a report, and no other router's.

    Those of the first routers are wide and lie below, so that lines that coincide are all seen.
    """
    line, number = LINES[turn(results, agent) % len(LINES)], results.routers.index(agent)
    width, size = max(3.0 - 0.4 * number, 1.2), max(7.5 - 0.7 * number, 4.0)
    look = {"linestyle": line, "linewidth": width, "markersize": size, "zorder": 2 + number / 100}
    return {**mark_style(results, agent), **look}


def mark_style(results: Results, agent: str) -> dict[str, Any]:
    """The same as single points."""
    marker = MARKERS[results.routers.index(agent) % len(MARKERS)]
    return {"color": color(results, agent), "marker": marker, "markersize": 4.5, "linestyle": ""}


def bar_style(results: Results, agent: str) -> dict[str, Any]:
    """The same as bars."""
    hatch = HATCHES[turn(results, agent) % len(HATCHES)]
    return {"color": color(results, agent), "hatch": hatch, "edgecolor": "white", "linewidth": 0}


def color(results: Results, agent: str) -> str:
    """A router's colour; where there are more routers than colours others have it, too."""
    return ROUTER_COLORS[results.routers.index(agent) % len(ROUTER_COLORS)]


def turn(results: Results, agent: str) -> int:
    """How many routers before this one have its colour."""
    return results.routers.index(agent) // len(ROUTER_COLORS)


def put_legend(figure: Figure, axis: Axes) -> None:
    """Names of the lines, above the panels: on a small screen what is beside them is not seen."""
    handles = axis.get_legend_handles_labels()
    longest = max(map(len, handles[1])) + 8
    columns = max(min(len(handles[1]), CHARACTERS // longest), 1)
    figure.legend(*handles, loc="outside upper left", frameon=False, ncols=columns)


def picture(name: str, caption: str, figure: Figure) -> Picture:
    """A figure as a part of the report."""
    return Picture(name, caption, to_svg(figure, name))
