"""The result in a few sentences and one figure, before everything else; from rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.drawing import new_figure
from benchmarks.evaluation.intervals import Interval
from benchmarks.report import guards, learned
from benchmarks.report.data import SCORE, Against, Results
from benchmarks.report.marks import tell
from benchmarks.report.page import Part, Section
from benchmarks.report.svg import RIGHT, bar_style, picture, put_legend
from benchmarks.report.text import interval_text, number
from benchmarks.tables import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "In short"
MOST_ENTRIES, MOST_BARS = 12, 12
"""Entries in the figure, and routers in it where there is one entry."""


def sections(results: Results) -> list[Section]:
    """The chapter, where there are entries that routers are judged on."""
    if not results.main:
        return []
    parts: list[Part] = [" ".join(sentences(results)), scores_picture(results)]
    best = learned.compared(results, results.main)
    return [Section(TITLE, (*parts, *([learned.figure(results, best)] if best else [])))]


def sentences(results: Results) -> Iterator[str]:
    """The best router, what it gains, how far that is from the bound, on how many entries."""
    best, against = results.headline, learned.compared(results, results.main)
    here = {entry: h for entry, h in against.items() if (entry, best) in results.cells}
    if best is None or not here:
        yield from without_learning(results)
        return
    gain = learned.gain_of_all(results, here, best)
    yield who(best, gain, len(here))
    yield how_far(results, here, best)
    if len(here) > 1:
        yield on_entries([learned.gain(results, e, h, best) for e, h in here.items()])
    yield from guarded(results, list(here), best)


def without_learning(results: Results) -> Iterator[str]:
    """The router that comes closest to the bound, where none was learned or none is to be beaten.

    Of those that met all entries.
    """
    entries = results.main
    met = [a for a in results.routers if all((e, a) in results.cells for e in entries)]
    scores = {a: np.mean([results.cells[e, a].of_bound().mean() for e in entries]) for a in met}
    if scores:
        best = max(scores, key=lambda agent: scores[agent])
        yield (
            f"Of {len(met)} routers that met {entries_text(len(entries))}, {best} is best: it "
            f"earns {percent(float(scores[best]))} of what no router can exceed."
        )
    firsts = Counter(best_on(results, entry) for entry in entries)
    if set(firsts) - set(met):
        named = [f"{agent} on {number}" for agent, number in firsts.most_common()]
        yield f"With those that met only some of them, the best are {', '.join(named)}."


def best_on(results: Results, entry: str) -> str:
    """The router with the highest score on an entry."""
    scores = {
        a: float(np.mean(results.cells[entry, a].values(SCORE))) for a in results.agents(entry)
    }
    return max(scores, key=lambda agent: scores[agent])


def who(best: str, gain: Interval, entries: int) -> str:
    """The best learned router, and what it gains."""
    earns = (
        f"over {entries_text(entries)} it earns {gain.text(4, sign='+')} of peak beyond the best "
        "tuned heuristic of each (interquartile mean of the paired differences, 95 % interval)."
    )
    if gain.mean > 0.0:
        return f"Best is {best}: {earns}"
    return f"No learned router earns more than the heuristics. The best of them is {best}: {earns}"


def how_far(results: Results, against: Against, best: str) -> str:
    """The mean gain as a share of the distance to the bound."""
    mean = learned.mean_gain(results, against, best)
    gap = learned.mean_gap(results, against)
    if mean <= 0.0 or gap <= 0.0:
        return f"The mean difference is {mean:+.4f}: no part of the distance to the bound."
    return (
        f"The mean gain, {mean:+.4f}, is {percent(mean / gap)} of the distance from these "
        "heuristics to the bound, which no router can reach."
    )


def on_entries(gains: Sequence[Interval]) -> str:
    """On how many entries the gain is told from zero."""
    above = sum(gain.known and gain.ci_low > 0.0 for gain in gains)
    below = sum(gain.known and gain.ci_high < 0.0 for gain in gains)
    rest = len(gains) - above - below
    return (
        f"The interval is above zero on {above} of the {len(gains)} entries, below zero on "
        f"{below}, and holds zero on {rest}."
    )


def guarded(results: Results, entries: Sequence[str], best: str) -> Iterator[str]:
    """How often the best router's network overruled its guard, if rows tell."""
    cells = [results.cells[entry, best] for entry in entries]
    shares = [s for cell in cells if (s := guards.overruled(cell)) is not None]
    if not shares:
        return
    every = np.concatenate(shares)
    if not every.any():
        yield f"The network of {best} never overruled its guard: it is its guard."
        return
    silent = int((every == 0.0).sum())
    never = f"; in {silent} of {len(every)} cases never" if silent else ""
    share = percent(float(every.mean()))
    yield f"Its network overruled its guard in {share} of the decisions{never}."


def entries_text(count: int) -> str:
    """So many entries."""
    return f"{count} entries" if count > 1 else "one entry"


def scores_picture(results: Results) -> Part:
    """Bars of the main entries, with intervals, and their bounds."""
    entries = results.main[:MOST_ENTRIES]
    caption = (
        "Utility of peak and 95 % interval; upright lines: the bound, which no router can reach. "
    )
    if len(entries) < len(results.main):
        caption += f"The first {len(entries)} of {len(results.main)} entries. "
    caption += (
        "The intervals are mostly of what other arrivals would bring to all routers alike: "
        "what tells routers apart are the differences in the same episodes, below."
    )
    return picture("scores", caption, scores(results, entries))


def scores(results: Results, entries: Sequence[str]) -> Figure:
    """A group of bars for each entry, and a line at its bound."""
    groups = {entry: barred(results, entry, len(entries) == 1) for entry in entries}
    lines = sum(map(len, groups.values())) + len(groups)
    figure, axes = new_figure(1, 1, (10.5, 0.9 + 0.2 * lines))
    axis, top = axes[0, 0], 0.0
    middles: list[float] = []
    for entry, agents in groups.items():
        for line, agent in enumerate(agents):
            bar(axis, results, entry, agent, top + line)
        bound = results.cells[entry, agents[0]].mean("bound_of_peak")
        ends, look = (top - 0.6, top + len(agents) - 0.4), {"color": "black", "linewidth": 1.5}
        axis.plot([bound, bound], ends, label="" if middles else "bound", **look)
        middles.append(top + (len(agents) - 1) / 2)
        top += len(agents) + 1
    axis.set(xlim=(0, 1.13), ylim=(top - 1.2, -0.8), xlabel=f"utility / peak ({RIGHT})")
    axis.set_yticks(middles, list(groups))
    axis.tick_params(axis="y", length=0)
    drawn = [agent for agent in results.routers if any(agent in a for a in groups.values())]
    for agent in drawn:
        axis.barh([0], [0], label=agent, **bar_style(results, agent))
    put_legend(figure, axis)
    return figure


def bar(axis: Axes, results: Results, entry: str, agent: str, place: float) -> None:
    """One router on one entry, its interval and its score."""
    value = results.cells[entry, agent].interval(SCORE)
    axis.barh([place], [value.mean], height=0.8, **bar_style(results, agent))
    ends = (value.ci_low, value.ci_high) if value.known else (value.mean, value.mean)
    axis.plot(np.clip(ends, 0.0, 1.0), (place, place), color="#222222", linewidth=1.0)
    bound = results.cells[entry, agent].mean("bound_of_peak")
    # A bound above 1, as of a peak that someone can exceed, is drawn before its numbers.
    axis.text(max(1.0, bound) + 0.01, place, number(value.mean), va="center", fontsize="small")
    said = f"{entry}, {agent}\nutility / peak: {interval_text(value, 4)}\nbound: {number(bound)}"
    tell(axis, said, y=(place - 0.5, place + 0.5))


def barred(results: Results, entry: str, alone: bool) -> list[str]:
    """Routers whose bars are drawn: of a single entry nearly all, otherwise those that matter."""
    if alone:
        return results.agents(entry)[:MOST_BARS]
    best = results.router_of(entry), results.best_tuned(entry), *results.alone(entry)[:1]
    return [a for a in results.agents(entry) if a in best] or results.agents(entry)[:3]


def shown(results: Results, entry: str) -> list[str]:
    """The best learned routers, the best tuned heuristic and the models alone."""
    best = results.best_tuned(entry)
    alone = results.alone(entry)
    names = [*results.learned(entry)[:2], *([best] if best else []), *alone[:1], *alone[-1:]]
    known = [name for name in dict.fromkeys(names) if (entry, name) in results.cells]
    return known or results.agents(entry)[:4]
