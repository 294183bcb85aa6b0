"""What late signals, machines that fail and slow GPUs cost, and what shifts of them do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.drawing import new_figure
from benchmarks.report.data import SCORE, Results
from benchmarks.report.marks import tell_lines
from benchmarks.report.page import Part, Picture, Section, Table
from benchmarks.report.shifts import matrix
from benchmarks.report.svg import HIGHER, picture, put_legend, style
from benchmarks.report.text import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "A world that breaks and is seen late"


class Varied(NamedTuple):
    """Entries of one tag, each with another value of one thing, at the end of its id."""

    tag: str
    title: str
    what: str
    scale: str


COSTS = (
    Varied("cost-signals", "signals that are late", "time between scrapes, s", "symlog"),
    Varied("cost-crash", "machines that crash", "mean time up, s", "log"),
    Varied("cost-slow", "slow GPUs", "L40S in place of A100, of 4 GPUs", "linear"),
    Varied("tokens-cost-signals", "late signals, with tokens", "time between scrapes, s", "symlog"),
    Varied("tokens-cost-crash", "crashes, with tokens", "mean time up, s", "log"),
)
SHIFTS = {
    "signals": "Signals, scraped every so many seconds",
    "crash": "Machines that are up for so many seconds",
}
SMALLEST_S = 0.05
"""Intervals below are drawn as 0."""


def sections(results: Results) -> list[Section]:
    """The chapter, where there are rows for it."""
    parts: list[Part] = []
    for varied in COSTS:
        if results.tagged(varied.tag):
            parts += [cost_picture(results, varied), cost_table(results, varied)]
    for kind, title in SHIFTS.items():
        if entries := results.tagged(f"{kind}-shift"):
            cells = {trained_and_tested(entry): entry for entry in entries}
            agents = routers(results, entries)
            parts += [matrix(results, title, cells, agent) for agent in agents]
    return [Section(TITLE, tuple(parts))] if parts else []


def value_of(entry: str) -> str:
    """What is varied, as the id of its entry has it."""
    return entry.rpartition("-")[2]


def rising(results: Results, varied: Varied) -> list[str]:
    """Entries by what is varied: rows alone tell no order, and a line must not turn back."""
    return sorted(results.tagged(varied.tag), key=lambda entry: float(value_of(entry)))


def trained_and_tested(entry: str) -> tuple[str, str]:
    """Of an entry KIND-TRAINED-to-TESTED."""
    _, train, _, test = entry.rsplit("-", 3)
    return train, test


def routers(results: Results, entries: Sequence[str]) -> list[str]:
    """Routers with rows on any of the entries, as figures show them."""
    found = {agent for entry in entries for agent in results.agents(entry)}
    return [agent for agent in results.routers if agent in found]


def cost_table(results: Results, varied: Varied) -> Table:
    """Utility of peak by what is varied, and router."""
    entries = rising(results, varied)
    rows = []
    for agent in routers(results, entries):
        cells = [results.cells.get((entry, agent)) for entry in entries]
        rows.append((agent, *(number(c.mean(SCORE)) if c else "-" for c in cells)))
    head = (varied.what, *map(value_of, entries))
    note = "Utility of peak; every rule is tuned for each value by itself."
    return Table(f"What it costs: {varied.title}", head, tuple(rows), note)


def cost_picture(results: Results, varied: Varied) -> Picture:
    """The same as lines."""
    caption = f"Utility of peak of tuned rules: {varied.title}."
    return picture(varied.tag, caption, cost_figure(results, varied))


def cost_figure(results: Results, varied: Varied) -> Figure:
    """One line per router over what is varied."""
    entries = rising(results, varied)
    figure, axes = new_figure(1, 1, (8.0, 4.2))
    axis = axes[0, 0]
    for agent in routers(results, entries):
        known = [entry for entry in entries if (entry, agent) in results.cells]
        values = [float(value_of(entry)) for entry in known]
        scores = [results.cells[entry, agent].mean(SCORE) for entry in known]
        axis.plot(values, scores, label=agent, **style(results, agent))
    more = {"linthresh": SMALLEST_S, "linscale": 0.3} if varied.scale == "symlog" else {}
    axis.set_xscale(varied.scale, **more)
    values = sorted(float(value_of(entry)) for entry in entries)
    axis.set_xticks(values, [f"{value:g}" for value in values])
    axis.minorticks_off()
    axis.set(xlabel=varied.what, ylabel=f"utility / peak ({HIGHER})", ylim=(0, 1))
    tell_lines(axis, "utility / peak")
    put_legend(figure, axis)
    return figure
