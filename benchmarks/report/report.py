"""The report of a suite's directory: the result in short, then figures and tables, from rows."""

from __future__ import annotations

from pathlib import Path

from benchmarks.evaluation.row_files import read_rows
from benchmarks.report import (
    added,
    bound,
    classes,
    costs,
    figures,
    headline,
    learned,
    policies,
    scaling,
    tables,
    world,
)
from benchmarks.report.data import Results
from benchmarks.report.page import Picture, Section, to_html, to_markdown
from benchmarks.report.paper import summary
from benchmarks.report.svg import picture
from llmroute_env.recording.files import write_atomically

HTML, MARKDOWN, FIGURES = "report.html", "report.md", "figures"
WHAT_IS_DONE = (
    "Share of each model against the arrival rate: what routers do, of which no end is better. "
    "Rates that were not met are left out."
)
THE_POLICY = (
    "The policy over (arrival rate, backlog), likewise; grey: never met. Rates and backlogs are "
    "left out where nothing was decided."
)
SHOWN_OVER_TIME = 3
"""Entries whose course over time is drawn."""
IN_NUMBERS = {
    *("per-gpu", "static-stable", "wrong-weights", "learned"),
    *("signals-shift", "crash-shift", *(varied.tag for varied in world.COSTS)),
}
"""Tags of entries that chapters sum up; by themselves they would only be in the way."""


def write_report(directory: Path, out: Path | None = None) -> list[Path]:
    """Write report.html, report.md and the figures of the latter; returns the first two.

    Raises:
        ConfigError: no rows there.
    """
    results, out = Results(read_rows(directory)), out or directory
    title = f"llmroute: suite {results.rows[0]['suite']}"
    sections = all_sections(results, directory)
    for section in sections:
        for part in section.parts:
            if isinstance(part, Picture):
                write_atomically(out / FIGURES / f"{part.name}.svg", part.svg.encode())
    write_atomically(out / HTML, to_html(title, sections).encode())
    write_atomically(out / MARKDOWN, to_markdown(title, sections, FIGURES).encode())
    return [out / HTML, out / MARKDOWN]


def all_sections(results: Results, directory: Path) -> list[Section]:
    """The chapters for which there are rows."""
    main, own = results.main, by_themselves(results)
    chapters = [
        *headline.sections(results),
        *summary.sections(results),
        *classes.sections(results),
        *world.sections(results),
        *learned.sections(results),
        *scaling.sections(results),
        *added.sections(results),
        *bound.sections(directory),
        Section("All entries together", (tables.over_entries(results, main),) if main else ()),
        Section("Episodes and policies", tuple(pictures(results, main))),
        *costs.sections(results, directory),
        Section("Each entry", tuple(tables.entry_table(results, e) for e in own)),
        Section(
            "Effort and run cards",
            (tables.effort(results, own), tables.cards(results, own)),
        ),
    ]
    return [chapter for chapter in chapters if chapter.parts]


def by_themselves(results: Results) -> list[str]:
    """Entries with a table and a run card of their own."""
    hidden = {entry for tag in IN_NUMBERS for entry in results.tagged(tag)}
    return [entry for entry in results.entries if entry not in hidden]


def pictures(results: Results, main: list[str]) -> list[Picture]:
    """Availability, utility over time, shares of the models, maps of the policy, profiles."""
    found = []
    if results.tagged("availability"):
        agents = on_curves(results)
        figure = figures.availability(results, agents, "availability")
        caption = "Requests in time (line: 99 %, available) and utility against the arrival rate."
        found.append(picture("availability", caption, figure))
    for entry in telling(results, main)[:SHOWN_OVER_TIME]:
        found += pictures_of(results, entry)
    if not main:
        return found
    figure = figures.profiles(results, main, tables.on_all(results, main)[:6])
    caption = "Performance profiles: higher is better; entries weigh the same."
    return [*found, picture("profiles", caption, figure)]


def telling(results: Results, entries: list[str]) -> list[str]:
    """Those where arrivals vary, first where learning gains or loses most on rules."""
    lively = [entry for entry in entries if "stable" not in entry] or entries
    best = learned.compared(results, lively)

    def gained(entry: str) -> float:
        if entry not in best:
            return 0.0
        router = results.learned(entry)[0]
        return abs(float(results.differences(entry, router, best[entry]).mean()))

    return sorted(lively, key=gained, reverse=True)


def on_curves(results: Results) -> list[str]:
    """Routers whose curves over the load are drawn."""
    entry = results.tagged("availability")[0]
    names = [*results.learned(entry)[:2], "largest-feasible", *results.alone(entry)]
    known = [name for name in names if (entry, name) in results.cells]
    return known or results.agents(entry)[:4]


def pictures_of(results: Results, entry: str) -> list[Picture]:
    """The course of an episode, and what its routers did."""
    agents = headline.shown(results, entry)
    course = figures.over_time(results, entry, agents)
    two = agents[:2]
    shares = policies.share_by_rate(results, entry, two)
    maps = policies.policy_maps(results, entry, two)
    return [
        picture(
            f"time-{entry}",
            "Utility of the requests of each second. The bound holds for each second by itself, "
            "as if it met an empty cluster. Below: the sum of the differences to the best tuned "
            "heuristic, of learned routers.",
            course,
        ),
        picture(f"share-{entry}", WHAT_IS_DONE, shares),
        picture(f"map-{entry}", THE_POLICY, maps),
    ]
