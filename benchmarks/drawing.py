"""How figures are made: without a display, alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7f7f7f")
"""Okabe and Ito's, for the colour-blind: one per router."""
MODEL_COLORS = ("#b2d4ed", "#5b9bd1", "#08306b")
"""From the smallest model to the largest; more models take what lies between."""


def new_figure(
    rows: int, columns: int, size: tuple[float, float], **sharing: Any
) -> tuple[Figure, Any]:
    """(figure, axes of shape (rows, columns)); `size` in inches, `sharing` as plt.subplots."""
    figure = empty_figure(size)
    axes = figure.subplots(rows, columns, squeeze=False, **sharing)
    for axis in axes.flat:
        open_frame(axis)
    return figure, axes


def empty_figure(size: tuple[float, float]) -> Figure:
    """A figure without panels, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def open_frame(axis: Axes) -> None:
    """Leave out the lines above and to the right of a panel."""
    axis.spines[["top", "right"]].set_visible(False)
