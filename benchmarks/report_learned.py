"""Learned routers against the best tuned heuristic, entry by entry, from rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.report_data import SEED, Floats, Results
from benchmarks.report_page import Part, Picture, Section, Table
from benchmarks.report_paper_figures import gains
from benchmarks.report_svg import picture
from benchmarks.report_text import label, number
from benchmarks.stats import Interval, crossed_bootstrap
from benchmarks.tables import percent


def sections(results: Results) -> list[Section]:
    """The chapter, where there are learned routers and tuned heuristics."""
    entries = compared(results)
    if not entries:
        return []
    parts: list[Part] = [figure(results, entries), table(results, entries)]
    return [Section("Learned against the best tuned heuristic", tuple(parts))]


def compared(results: Results) -> list[str]:
    """Main entries, or all if none is, with a learned router and a tuned heuristic."""
    main = results.tagged("main") or results.entries
    return [entry for entry in main if results.learned(entry) and results.best_tuned(entry)]


def gain(results: Results, entry: str, agent: str) -> Interval:
    """Interquartile mean of the paired difference to the best tuned heuristic."""
    difference = results.differences(entry, agent, str(results.best_tuned(entry)))
    return crossed_bootstrap([difference], np.random.default_rng(SEED))


def figure(results: Results, entries: Sequence[str]) -> Picture:
    """Gains of the learned routers, with their intervals."""
    agents = everywhere(results, entries)
    found = {
        a: {e: gain(results, e, a) for e in entries if (e, a) in results.cells} for a in agents
    }
    caption = (
        "Utility of peak beyond that of the best tuned heuristic, on the same episodes: "
        "interquartile mean and 95 % interval. Zero is the heuristic; arrows: farther below."
    )
    return picture("gains", caption, gains(results, found))


def everywhere(results: Results, entries: Sequence[str]) -> list[str]:
    """Learned routers with rows on any of `entries`, best first."""
    found = {agent for entry in entries for agent in results.learned(entry)}
    mean = {
        agent: np.mean([gained(results, e, agent) for e in entries if (e, agent) in results.cells])
        for agent in found
    }
    return sorted(found, key=lambda agent: (-mean[agent], agent))


def gained(results: Results, entry: str, agent: str) -> float:
    """Mean paired difference to the best tuned heuristic."""
    return float(results.differences(entry, agent, str(results.best_tuned(entry))).mean())


def table(results: Results, entries: Sequence[str]) -> Table:
    """Every learned router on every entry, and on all together."""
    agents = everywhere(results, entries)
    rows = [of_all(results, entries, a) for a in agents] if len(entries) > 1 else []
    for entry in entries:
        rows += [of_entry(results, entry, agent) for agent in results.learned(entry)]
    return Table(
        "Learned routers against the best tuned heuristic",
        ("entry", "heuristic", "learned", "gain, IQM", "gain, mean", "better", "gap closed"),
        tuple(rows),
        "The heuristic: the tuned control with the best validation score on the entry. Gain: "
        "utility of peak minus the heuristic's in the same episode, over training seeds and "
        "episodes; 95 % bootstrap intervals resample both. Better: probability of improvement, the "
        "share of seeds and episodes in which the router earns more. Gap closed: mean gain as a "
        "share of the distance from the heuristic to the bound, which no router can reach.",
    )


def of_entry(results: Results, entry: str, agent: str) -> tuple[str, ...]:
    """One learned router on one entry."""
    best = str(results.best_tuned(entry))
    heuristic = f"{best} {results.cells[entry, best].mean('utility_of_peak'):.4f}"
    return (entry, heuristic, *texts(results, [entry], agent, label(results, entry, agent)))


def of_all(results: Results, entries: Sequence[str], agent: str) -> tuple[str, ...]:
    """One learned router on all the entries that it met."""
    met = [entry for entry in entries if (entry, agent) in results.cells]
    return (f"all {len(met)}", "", *texts(results, met, agent, agent))


def texts(results: Results, entries: Sequence[str], agent: str, name: str) -> tuple[str, ...]:
    """The router, its gains, how often it is better, and the share of the gap closed."""
    strata = [results.differences(e, agent, str(results.best_tuned(e))) for e in entries]
    iqm = crossed_bootstrap(strata, np.random.default_rng(SEED))
    mean = float(np.mean([s.mean() for s in strata]))
    gap = float(np.mean([results.gap(e, str(results.best_tuned(e))) for e in entries]))
    closed = percent(mean / gap) if gap > 0 else "-"
    return name, signed(iqm), f"{mean:+.4f}", number(better(strata), 2), closed


def signed(value: Interval) -> str:
    """A gain and its interval."""
    return f"{value.mean:+.4f} [{value.ci_low:+.4f}, {value.ci_high:+.4f}]"


def better(strata: Sequence[Floats]) -> float:
    """Share of the pairs in which ours is better; a tie counts half, entries weigh the same."""
    shares = [float((s > 0).mean() + 0.5 * (s == 0).mean()) for s in strata]
    return float(np.mean(shares))
