"""How the figures of a report are made: without a display, alike, as SVG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from benchmarks.drawing import COLORS
from benchmarks.report.data import Results
from benchmarks.report.page import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROUTER_COLORS = (*COLORS, "#e69f00", "#56b4e9")


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an element of a page; the same figure gives the same text."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    drawing = file.getvalue()
    # Identifiers are those of the page, so each figure has its own.
    drawing = drawing[drawing.index("<svg") :]
    for mark in ('id="', "url(#", 'href="#'):
        drawing = drawing.replace(mark, f"{mark}{name}-")
    return drawing


def style(results: Results, agent: str) -> dict[str, Any]:
    """A router's line: the same in every figure of a report."""
    number = results.routers.index(agent)
    lines = ("-", "--", ":")
    line = lines[number // len(ROUTER_COLORS) % len(lines)]
    return {"color": ROUTER_COLORS[number % len(ROUTER_COLORS)], "linestyle": line}


def put_legend(figure: Figure, axis: Axes) -> None:
    """Names of the lines, beside the panels."""
    handles = axis.get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper", frameon=False, fontsize="small")


def picture(name: str, caption: str, figure: Figure) -> Picture:
    """A figure as a part of the report."""
    return Picture(name, caption, to_svg(figure, name))
