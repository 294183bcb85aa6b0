"""Learned routers against the best tuned heuristic, entry by entry, from rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.drawing import new_figure
from benchmarks.evaluation.intervals import Floats, Interval
from benchmarks.evaluation.stats import crossed_bootstrap
from benchmarks.report.data import SEED, Against, Results
from benchmarks.report.marks import tell
from benchmarks.report.page import Part, Picture, Section, Table
from benchmarks.report.svg import RIGHT, mark_style, picture, put_legend
from benchmarks.report.text import OF_INTERVALS, closed_text, label, number
from benchmarks.report.where import gains_table, ways_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIELD = "largest-feasible"
"""The largest model predicted in time: what learned routers are usually asked to beat."""

UNSEEN = "The same on environments that no generalist learns in"


def sections(results: Results) -> list[Section]:
    """The chapter, where there are learned routers and tuned heuristics."""
    best = compared(results, results.main)
    if not best:
        return []
    parts: list[Part] = [table(results, best)]
    unseen = compared(results, results.unseen)
    if unseen and unseen.keys() != best.keys():
        parts.append(replace(table(results, unseen), title=UNSEEN))
    field = {entry: FIELD for entry in best if (entry, FIELD) in results.cells}
    if field and field != best:
        parts.append(replace(table(results, field), title=f"The same against tuned {FIELD}"))
    parts += [found for found in (gains_table(results, best), ways_table(results, best)) if found]
    return [Section("Learned against the best tuned heuristic", tuple(parts))]


GAP = 1.2
"""Lines between the routers of two entries in the figure of gains."""

FAR = 3.0
"""Times as far below zero as its axis reaches above, at which a router may be out of sight."""


def compared(results: Results, entries: Sequence[str]) -> dict[str, str]:
    """Those of the entries with a learned router, and their best tuned heuristic."""
    best = {entry: results.best_tuned(entry) for entry in entries if results.learned(entry)}
    return {entry: heuristic for entry, heuristic in best.items() if heuristic}


def figure(results: Results, against: Against) -> Picture:
    """Gains of the learned routers, with their intervals."""
    found = {
        agent: {e: gain(results, e, h, agent) for e, h in against.items() if met(results, e, agent)}
        for agent in on_any(results, against)
    }
    caption = (
        "Utility of peak beyond that of the best tuned heuristic, on the same episodes: "
        "interquartile mean and 95 % interval. Zero is the heuristic; arrows: farther to that side."
    )
    return picture("gains", caption, gains(results, found))


def gains(results: Results, found: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Per entry and learned router, the gain over the best tuned heuristic with its interval."""
    places = stacked(found)
    height = 1.3 + 0.11 * (max(places.values()) + GAP)
    figure, axes = new_figure(1, 1, (10.5, height))
    axis = axes[0, 0]
    left, right = limits([value for by_entry in found.values() for value in by_entry.values()])
    for agent, by_entry in found.items():
        look = mark_style(results, agent)
        axis.plot([], [], label=agent, **look)
        for entry, value in by_entry.items():
            place = places[entry, agent]
            axis.plot(max(value.mean, left), place, clip_on=False, **look)
            ends, line = (value.ci_low, value.ci_high), {"color": look["color"], "linewidth": 1.5}
            axis.plot(ends, (place, place), **line)
            if lowest(value) < left:
                # Beside the router's own mark, where that is at the edge too.
                beside = 0.02 * (right - left) if value.mean < left else 0.0
                axis.plot(left - beside, place, clip_on=False, **{**look, "marker": "<"})
            if highest(value) > right:
                axis.plot(right, place, clip_on=False, **{**look, "marker": ">"})
            tell(axis, f"{entry}, {agent}\n{signed(value)}", y=(place - 0.5, place + 0.5))
    axis.axvline(0.0, color="#555555", linewidth=0.8)
    axis.set_xlim(left, right)
    axis.xaxis.set_major_formatter("{x:+g}")
    axis.set_ylim(max(places.values()) + GAP / 2, -GAP / 2)
    axis.grid(axis="y", color="#eeeeee")
    axis.set(xlabel=f"utility of peak, minus the best tuned heuristic's ({RIGHT})")
    entries = list(dict.fromkeys(entry for entry, _ in places))
    if len(entries) == 1:
        # Of many routers on one entry the names say more than a legend of repeated colours.
        axis.set_yticks(list(places.values()), [agent for _, agent in places])
        axis.set_title(entries[0])
    else:
        middles = [np.mean([y for (of, _), y in places.items() if of == e]) for e in entries]
        axis.set_yticks(middles, entries)
        put_legend(figure, axis)
    return figure


def stacked(found: Mapping[str, Mapping[str, Interval]]) -> dict[tuple[str, str], float]:
    """Heights of the routers that met each entry, one below the other, in lines."""
    entries = dict.fromkeys(entry for by_entry in found.values() for entry in by_entry)
    places: dict[tuple[str, str], float] = {}
    top = 0.0
    for entry in entries:
        here = [agent for agent, by_entry in found.items() if entry in by_entry]
        places |= {(entry, agent): top + line for line, agent in enumerate(here)}
        top += len(here) + GAP
    return places


def limits(gained: Sequence[Interval]) -> tuple[float, float]:
    """Ends of an axis that shows the gains."""
    lows, highs = [lowest(value) for value in gained], [highest(value) for value in gained]
    means = [value.mean for value in gained]
    # A few routers far below, or with wide intervals, must not squeeze what the others differ by,
    # nor all be out of sight.
    right = 1.1 * max(*means, min(2 * float(np.median(highs)), max(highs)), 0.004)
    near = [mean for mean in means if mean > -FAR * right]
    left = min(-right, 1.1 * float(np.median(lows)), 1.1 * min(near, default=0.0))
    return max(1.1 * min(*lows, -0.002), left), right


def lowest(value: Interval) -> float:
    """Where an interval begins; the estimate itself without one."""
    return value.ci_low if value.known else value.mean


def highest(value: Interval) -> float:
    """Where an interval ends; the estimate itself without one."""
    return value.ci_high if value.known else value.mean


def met(results: Results, entry: str, agent: str) -> bool:
    """Whether there are rows of the router on the entry."""
    return (entry, agent) in results.cells


def gain(results: Results, entry: str, heuristic: str, agent: str) -> Interval:
    """Interquartile mean of the paired difference to the heuristic."""
    return gain_of_all(results, {entry: heuristic}, agent)


def gain_of_all(results: Results, against: Against, agent: str) -> Interval:
    """Interquartile mean of the paired differences on all of the entries together."""
    found = [results.compared((e, agent), (e, h)) for e, h in against.items()]
    differences, origins = zip(*found, strict=True)
    rng = np.random.default_rng(SEED)
    return crossed_bootstrap(differences, rng, origins=origins)


def on_any(results: Results, against: Against) -> list[str]:
    """Learned routers with rows on any of the entries, best first."""
    found = {agent for entry in against for agent in results.learned(entry)}
    mean = {
        agent: np.mean(
            [
                results.differences(e, agent, h).mean()
                for e, h in against.items()
                if met(results, e, agent)
            ]
        )
        for agent in found
    }
    return sorted(found, key=lambda agent: (-mean[agent], agent))


def table(results: Results, against: Against) -> Table:
    """Every learned router on every entry, and on all together."""
    agents = on_any(results, against)
    rows = [row_of_all(results, against, a) for a in agents] if len(against) > 1 else []
    for entry, heuristic in against.items():
        rows += [row_of_entry(results, entry, heuristic, a) for a in results.learned(entry)]
    return Table(
        "Learned routers against the best tuned heuristic",
        ("entry", "heuristic", "learned", "gain, IQM", "gain, mean", "better", "gap closed"),
        tuple(rows),
        "The heuristic: the tuned control with the best validation score on the entry, unless the "
        "title names it. Gain: utility of peak minus the heuristic's in the same episode, over "
        "training seeds and episodes. Better: probability of improvement, the share of seeds and "
        "episodes in which the router earns more. Gap closed: mean gain as a share of the distance "
        f"from the heuristic to the bound, which no router can reach. {OF_INTERVALS}",
    )


def row_of_entry(results: Results, entry: str, heuristic: str, agent: str) -> tuple[str, ...]:
    """One learned router on one entry."""
    score = f"{heuristic} {results.cells[entry, heuristic].mean('utility_of_peak'):.4f}"
    name = label(results, entry, agent)
    return (entry, score, *texts(results, {entry: heuristic}, agent, name))


def row_of_all(results: Results, against: Against, agent: str) -> tuple[str, ...]:
    """One learned router on all the entries that it met."""
    here = {entry: h for entry, h in against.items() if met(results, entry, agent)}
    return (f"all {len(here)}", "", *texts(results, here, agent, agent))


def texts(results: Results, against: Against, agent: str, name: str) -> tuple[str, ...]:
    """The router, its gains, how often it is better, and the share of the gap closed."""
    strata = [results.differences(e, agent, h) for e, h in against.items()]
    iqm, mean = gain_of_all(results, against, agent), mean_gain(results, against, agent)
    closed = closed_text(mean, mean_gap(results, against))
    return name, signed(iqm), f"{mean:+.4f}", number(better(strata), 2), closed


def mean_gain(results: Results, against: Against, agent: str) -> float:
    """Mean of the paired differences; entries weigh the same."""
    return float(np.mean([results.differences(e, agent, h).mean() for e, h in against.items()]))


def mean_gap(results: Results, against: Against) -> float:
    """Mean distance from the heuristics to the bound; entries weigh the same."""
    return float(np.mean([results.gap(entry, heuristic) for entry, heuristic in against.items()]))


def signed(value: Interval) -> str:
    """A gain and its interval."""
    return value.text(4, sign="+")


def better(strata: Sequence[Floats]) -> float:
    """Share of the pairs in which ours is better; a tie counts half, entries weigh the same."""
    shares = [float((s > 0).mean() + 0.5 * (s == 0).mean()) for s in strata]
    return float(np.mean(shares))
