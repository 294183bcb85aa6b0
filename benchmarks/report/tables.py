"""Tables of a report; they read nothing but rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from benchmarks.evaluation.stats import crossed_bootstrap, probability_of_improvement
from benchmarks.report.data import SEED, Results, RouterRows
from benchmarks.report.page import Table
from benchmarks.report.text import (
    OF_INTERVALS,
    closed_text,
    computed_with,
    interval_text,
    label,
    number,
)
from benchmarks.tables import milliseconds, percent

COLUMNS = (
    "router",
    "utility of peak",
    "regret",
    "minus best tuned",
    "in time",
    "goodput, 1/s",
    "windows >= 96 / 98 / 99 %",
    "dropped",
    "p50 / p99, ms",
    "share of models, %",
    "setting",
)


LESS = "regret, times and what is dropped, lost or tried again"
OF_FAILURES = ("lost", "retries per 1000 requests")
"""Columns more where machines fail, after what was dropped."""


def can_lose(results: Results, entry: str) -> bool:
    """Whether requests of an entry can be lost, as where machines fail."""
    return "lost" in results.cells[entry, results.agents(entry)[0]].first


def columns(results: Results, entry: str) -> tuple[str, ...]:
    """Of the table of an entry."""
    after = COLUMNS.index("dropped") + 1
    more = OF_FAILURES if can_lose(results, entry) else ()
    return (*COLUMNS[:after], *more, *COLUMNS[after:])


def entry_table(results: Results, entry: str) -> Table:
    """Every router on one entry, best first."""
    agents = results.agents(entry)
    best = results.best_tuned(entry)
    first = results.cells[entry, agents[0]].first
    bound = number(results.cells[entry, agents[0]].mean("bound_of_peak"))
    trained = "" if first["trained_on"] == entry else f", trained on {first['trained_on']}"
    models = ", ".join(first["share"])
    return Table(
        f"{entry}{trained}",
        columns(results, entry),
        tuple((label(results, entry, a), *entry_row(results, entry, a, best)) for a in agents),
        f"Less is better of {LESS}, more of the rest. Bound {bound} of peak. "
        f"Best tuned by validation: {best or 'none'}. Models: {models}. "
        f"{OF_INTERVALS} {results.episodes_text(entry)}",
    )


def entry_row(results: Results, entry: str, agent: str, best: str | None) -> tuple[str, ...]:
    """The cells of `columns` for one router, but for its name."""
    cell = results.cells[entry, agent]
    setting = cell.first["setting"]
    gain = "" if best in (None, agent) else interval_text(results.gain(entry, agent, str(best)), 4)
    return (
        interval_text(cell.interval("utility_of_peak")),
        number(cell.mean("regret")),
        gain,
        percent(cell.of_requests("deadline_met")),
        f"{cell.goodput_per_s():.1f}",
        " / ".join(f"{100 * cell.windows(t):.1f}" for t in (0.96, 0.98, 0.99)),
        percent(cell.of_requests("rejected") + cell.of_requests("shed")),
        *(of_failures(cell) if can_lose(results, entry) else ()),
        f"{latency(cell, 'p50_s')} / {latency(cell, 'p99_s')}",
        " / ".join(f"{100 * share:.0f}" for share in cell.share().values()),
        "" if setting is None else f"{setting}",
    )


def of_failures(cell: RouterRows) -> tuple[str, str]:
    """The cells of OF_FAILURES."""
    retries = cell.values("retried").sum() / cell.values("requests").sum()
    return percent(cell.of_requests("lost")), f"{1e3 * retries:.1f}"


def latency(cell: RouterRows, name: Literal["p50_s", "p99_s"]) -> str:
    """Mean over the episodes that served anything."""
    served = [value for row in cell.rows if (value := row[name]) is not None]
    return milliseconds(float(np.mean(served)) if served else None)


def over_entries(results: Results, entries: Sequence[str]) -> Table:
    """Routers over all of `entries`: those that ran on each."""
    agents = on_all(results, entries)
    rows = []
    for agent in agents:
        scores = [results.cells[entry, agent].of_bound() for entry in entries]
        origins = [results.cells[entry, agent].origin() for entry in entries]
        iqm = crossed_bootstrap(scores, np.random.default_rng(SEED), origins=origins)
        rows.append((iqm.mean, (agent, interval_text(iqm), *against_best(results, entries, agent))))
    rows.sort(key=lambda row: -row[0])
    return Table(
        f"All {len(entries)} entries together",
        ("router", "utility / bound, IQM", "better than best tuned", "gap closed"),
        tuple(row for _, row in rows),
        "Interquartile mean over episodes and training seeds; "
        "probability that an episode of this router scores above one of the best tuned heuristic "
        "of the entry (by validation); share of the gaps between these heuristics and the bounds, "
        f"summed over the entries, that is closed. {OF_INTERVALS}",
    )


def on_all(results: Results, entries: Sequence[str]) -> list[str]:
    """Routers with rows on all of `entries`."""
    present = [set(results.agents(entry)) for entry in entries]
    return [agent for agent in results.agents(entries[0]) if all(agent in s for s in present)]


def against_best(results: Results, entries: Sequence[str], agent: str) -> tuple[str, str]:
    """Probability of improvement over the best tuned heuristics, and share of the gap closed."""
    pairs = [(entry, results.best_tuned(entry)) for entry in entries]
    known = [(entry, best) for entry, best in pairs if best is not None]
    if not known:
        return "", ""
    ours = [results.cells[entry, agent].of_bound() for entry, _ in known]
    theirs = [results.cells[entry, best].of_bound() for entry, best in known]
    mine = [results.cells[entry, agent].origin() for entry, _ in known]
    other = [results.cells[entry, best].origin() for entry, best in known]
    rng = np.random.default_rng(SEED)
    better = probability_of_improvement(ours, theirs, rng, (mine, other))
    gained = sum(results.gain(entry, agent, best).mean for entry, best in known)
    gap = sum(results.gap(entry, best) for entry, best in known)
    return interval_text(better), closed_text(gained, gap)


def effort(results: Results, entries: Sequence[str]) -> Table:
    """What tuning each control took, for each of `entries`."""
    rows = []
    for (entry, agent), cell in sorted(results.cells.items(), key=lambda item: item[0]):
        tuning = cell.first["tuning"]
        if tuning and entry in entries:
            tried, each = tuning["settings_tried"], tuning["episodes_each"]
            score = number(tuning["validation_score"], 4)
            setting = f"{cell.first['setting']}"
            total = f"{tried} x {each} = {tried * each}"
            rows.append((entry, agent, total, f"{tuning['window_s']:g} s", setting, score))
    return Table(
        "Effort of tuning, on validation episodes only",
        ("entry", "control", "settings x episodes", "length", "setting", "validation score"),
        tuple(rows),
    )


def cards(results: Results, entries: Sequence[str]) -> Table:
    """What each of `entries` is, by fingerprint, and what all rows were computed with."""
    rows = []
    for entry in entries:
        cell = results.cells[entry, results.agents(entry)[0]]
        row = cell.first
        requests = f"{int(cell.episodes('requests').sum()):,}"
        episodes = f"{len(cell.episodes('requests'))}"
        prints = row["config_sha256"][:12], row["trace_sha256"][:12]
        rows.append((entry, row["scenario"], episodes, requests, f"{row['seed']}", *prints))
    return Table(
        "Run cards",
        ("entry", "scenario", "episodes", "requests", "seed", "configuration", "trace"),
        tuple(rows),
        computed_with(results.rows),
    )
