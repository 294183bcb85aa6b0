"""A picture of a trace: how its rate moves, how its gaps are spread, at which scales it bursts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.drawing import empty_figure, open_frame
from traces.errors import TraceError
from traces.statistics import gap_cv, index_of_dispersion
from traces.trace import Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BINS = 600
"""Of the rate: more than these are not told apart in a picture."""

SHORTEST_GAP = 1e-4
"""Times the mean gap: what a picture shows; bursts have many that are next to nothing."""

DATA, POISSON = "#0072b2", "#7f7f7f"
"""Okabe and Ito's blue for what was measured, grey for what Poisson arrivals would give."""


def save_trace_figure(path: Path, trace: Trace, title: str) -> None:
    """Rate over time, histogram of the gaps, and index of dispersion, in one picture.

    Raises:
        TraceError: fewer than three requests, or a file that cannot be written.
    """
    if len(trace) < 3:
        raise TraceError(f"requests to plot: got {len(trace)}; accepted: at least 3")
    figure = empty_figure((9.0, 6.0))
    figure.suptitle(title)
    grid = figure.add_gridspec(2, 2)
    rate, gaps, dispersion = (
        figure.add_subplot(grid[c]) for c in ((0, slice(None)), (1, 0), (1, 1))
    )
    for axis in (rate, gaps, dispersion):
        open_frame(axis)
    draw_rate(rate, trace)
    draw_gaps(gaps, trace)
    draw_dispersion(dispersion, trace)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        accepted = "a writable name that ends in .png, .svg or .pdf"
        raise TraceError(f"picture: got {path} ({error}); accepted: {accepted}") from error


def bin_length_s(span_s: float) -> float:
    """One second, or the next round length that makes at most MOST_BINS of the span."""
    round_s = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400]
    fitting = (length for length in round_s if span_s / length <= MOST_BINS)
    return float(next(fitting, span_s / MOST_BINS))


def draw_rate(axis: Axes, trace: Trace) -> None:
    """Requests per second in bins; the unit of the time axis suits the span."""
    width_s = bin_length_s(trace.span_s)
    edges = np.arange(max(1, int(trace.span_s // width_s)) + 1) * width_s
    requests, _ = np.histogram(trace.arrival_s, edges)
    unit, unit_s = time_unit(trace.span_s)
    axis.stairs(requests / width_s, edges / unit_s, fill=True, color=DATA, alpha=0.8)
    mean = trace.mean_rate_per_s
    axis.axhline(mean, color="black", linewidth=0.8)
    label = f"mean {mean:.3g}/s"
    axis.annotate(
        label,
        (1.0, mean),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize="small",
        annotation_clip=False,
    )
    axis.set(
        xlabel=f"time, {unit}", ylabel="requests/s", xlim=(0, edges[-1] / unit_s), ylim=(0, None)
    )
    axis.set_title(f"arrivals per second, bins of {width_s:g} s", fontsize="medium", loc="left")


def time_unit(span_s: float) -> tuple[str, float]:
    """A unit in which the span is a handy number, and its seconds."""
    if span_s > 2 * 86400:
        return "days", 86400.0
    if span_s > 3 * 3600:
        return "h", 3600.0
    return ("min", 60.0) if span_s > 300 else ("s", 1.0)


def draw_gaps(axis: Axes, trace: Trace) -> None:
    """Histogram of the gaps over a logarithmic axis, beside that of Poisson arrivals."""
    every = np.diff(trace.arrival_s)
    mean_s = 1 / trace.mean_rate_per_s
    edges = np.geomspace(SHORTEST_GAP * mean_s, max(every.max() * 1.01, 10 * mean_s), 61)
    gaps = every[every >= edges[0]]
    share = np.histogram(gaps, edges)[0] / len(every)
    expected = np.exp(-edges[:-1] * trace.mean_rate_per_s)
    expected -= np.exp(-edges[1:] * trace.mean_rate_per_s)
    axis.stairs(share, edges, fill=True, color=DATA, alpha=0.8, label="this trace")
    axis.stairs(expected, edges, color=POISSON, linewidth=1.5, label="Poisson")
    axis.set(xscale="log", xlabel="gap, s", ylabel="share of the gaps", ylim=(0, None))
    ties = 1 - len(gaps) / len(every)
    cv = gap_cv(trace.arrival_s)
    noted = f"gaps, cv {cv:.3g}" if cv is not None else "gaps"
    noted += f", {ties:.0%} below {edges[0]:.1g} s not shown" if ties > 0.005 else ""
    axis.set_title(noted, fontsize="medium", loc="left")
    axis.legend(frameon=False, fontsize="small")


def draw_dispersion(axis: Axes, trace: Trace) -> None:
    """Variance over mean of the requests per window; 1 at every length for Poisson."""
    shortest = min(0.1, trace.span_s / 1000)
    windows = np.geomspace(shortest, trace.span_s / 10, 25)
    index = index_of_dispersion(trace.arrival_s, trace.span_s, list(windows))
    axis.plot(windows, index, "o-", color=DATA, markersize=3.5, label="this trace")
    axis.axhline(1.0, color=POISSON, linewidth=1.5, label="Poisson")
    axis.set(xscale="log", yscale="log", xlabel="length of the window, s", ylabel="variance / mean")
    axis.set_title("index of dispersion of the counts", fontsize="medium", loc="left")
    axis.legend(frameon=False, fontsize="small")
