"""What routers do, as figures: shares of the models by rate, and maps of policies; from rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.drawing import MODEL_COLORS, new_figure
from benchmarks.evaluation.intervals import Floats
from benchmarks.evaluation.metrics import BACKLOG_EDGES, RATE_EDGES
from benchmarks.report.data import Results
from benchmarks.report.marks import tell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHARE_COLORS = "Blues"
Classes = NDArray[np.intp]
"""Numbers of classes of rates or backlogs."""
MAP_STYLE: dict[str, Any] = {"origin": "lower", "vmin": 0, "vmax": 1, "aspect": "auto"}


def decisions(results: Results, entry: str, agent: str) -> Floats:
    """Decisions by (rate class, backlog class, model), over all detailed episodes."""
    maps = [row["policy_map"] for row in results.cells[entry, agent].rows if "policy_map" in row]
    counted: Floats = np.sum(np.array(maps, np.float64), axis=0)
    return counted


def share_by_rate(results: Results, entry: str, agents: Sequence[str]) -> Figure:
    """Share of each model in every class of the arrival rate, router beside router."""
    figure, axes = new_figure(1, len(agents), (10.5, 3.4), sharey=True)
    names = list(results.cells[entry, agents[0]].first["share"])
    met, _ = occurred(results, entry, agents)
    rates = classes(RATE_EDGES, met)
    for axis, agent in zip(axes[0], agents, strict=True):
        counts = decisions(results, entry, agent).sum(axis=1)[met]
        total = counts.sum(axis=1)
        base = np.zeros(len(counts))
        for m, name in enumerate(names):
            share = np.divide(counts[:, m], total, out=np.zeros(len(total)), where=total > 0)
            color = MODEL_COLORS[min(m, len(MODEL_COLORS) - 1)]
            axis.bar(np.arange(len(share)), share, bottom=base, color=color, label=name, width=0.9)
            base += share
        axis.set_xticks(np.arange(len(total)), rates, rotation=35)
        for i, rate in enumerate(rates):
            parts = [f"{n}: {c:g} of {total[i]:g}" for n, c in zip(names, counts[i], strict=True)]
            tell(axis, "\n".join([f"rate / load 1: {rate}", *parts]), x=(i - 0.5, i + 0.5))
        axis.set(xlabel="arrival rate over 1 s / load 1", ylim=(0, 1))
        axis.set_title(f"{agent}, {entry}", fontsize="medium")
    axes[0, 0].set_ylabel("share of the requests")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def occurred(results: Results, entry: str, agents: Sequence[str]) -> tuple[Classes, Classes]:
    """The classes of arrival rates and of backlogs that were met."""
    counts = sum(decisions(results, entry, agent).sum(axis=2) for agent in agents)
    rates, backlogs = (np.flatnonzero(np.sum(counts, axis=axis)) for axis in (1, 0))
    return rates, backlogs


def classes(edges: Sequence[float], which: Classes) -> list[str]:
    """Names of some of the classes between edges."""
    names = [*(f"{a:g}-{b:g}" for a, b in pairwise(edges[:-1])), f">{edges[-2]:g}"]
    return [names[i] for i in which]


def policy_maps(results: Results, entry: str, agents: Sequence[str]) -> Figure:
    """Share of each model by arrival rate and backlog: a row of maps per router."""
    names = list(results.cells[entry, agents[0]].first["share"])
    size = (10.5, 2.9 * len(agents))
    figure, axes = new_figure(len(agents), len(names), size, sharex=True, sharey=True)
    images: list[Any] = []
    rates, backlogs = occurred(results, entry, agents)
    for row, agent in zip(axes, agents, strict=True):
        counts = decisions(results, entry, agent)[np.ix_(rates, backlogs)]
        total = counts.sum(axis=2)
        for m, axis in enumerate(row):
            share = np.divide(
                counts[:, :, m], total, out=np.full(total.shape, np.nan), where=total > 0
            )
            images.append(axis.imshow(share.T, cmap=SHARE_COLORS, **MAP_STYLE))
            axis.set_facecolor("#e8e8e8")
            tell_cells(axis, counts[:, :, m], total, rates, backlogs)
            axis.set_title(f"{agent}: {names[m]}", fontsize="medium")
        label_classes(row[0], "y", "waiting / GPU", classes(BACKLOG_EDGES, backlogs))
    for axis in axes[-1]:
        label_classes(axis, "x", "rate / load 1", classes(RATE_EDGES, rates))
    figure.colorbar(images[0], ax=axes, label="share of the decisions", shrink=0.7)
    return figure


def tell_cells(
    axis: Axes, counts: Floats, total: Floats, rates: Classes, backlogs: Classes
) -> None:
    """Say how many of the decisions of each class were for the model of a map."""
    named = classes(RATE_EDGES, rates), classes(BACKLOG_EDGES, backlogs)
    for i, rate in enumerate(named[0]):
        for j, waiting in enumerate(named[1]):
            if total[i, j]:
                text = f"rate / load 1: {rate}\nwaiting / GPU: {waiting}\n"
                text += f"{counts[i, j]:g} of {total[i, j]:g} decisions"
                tell(axis, text, x=(i - 0.5, i + 0.5), y=(j - 0.5, j + 0.5))


def label_classes(axis: Axes, which: str, label: str, names: Sequence[str]) -> None:
    """Names of classes along one side."""
    side = axis.xaxis if which == "x" else axis.yaxis
    side.set_ticks(
        np.arange(len(names)), names, fontsize="small", rotation=35 if which == "x" else 0
    )
    side.set_label_text(label)
