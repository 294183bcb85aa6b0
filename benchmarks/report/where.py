"""Where learned routers gain on the best tuned heuristic, and what they do otherwise, from rows."""

from __future__ import annotations

import numpy as np

from benchmarks.evaluation.intervals import Floats
from benchmarks.report.data import Against, Results, RouterRows
from benchmarks.report.page import Table
from benchmarks.report.text import number
from benchmarks.tables import percent

LEAST = 6
"""Episodes, or seconds, of which thirds are told apart."""

THIRDS = ("quiet", "middle", "busy")


def gains_table(results: Results, against: Against) -> Table | None:
    """By how many requests came: gains in thirds of the episodes, and of the seconds; by class."""
    rows = []
    for entry, heuristic in against.items():
        usual = results.cells[entry, heuristic]
        for agent in results.learned(entry):
            ours = results.cells[entry, agent]
            found = by_episodes(results, entry, agent, heuristic)
            of_seconds = by_seconds(ours, usual)
            if found is None and of_seconds is None:
                continue
            told = [*three(found), *three(of_seconds), by_class(ours, usual)]
            rows.append((entry, agent, *told))
    if not rows:
        return None
    titles = [f"{of}: {third}" for of in ("episodes", "seconds") for third in THIRDS]
    return Table(
        "Where they gain",
        ("entry", "learned", *titles, "classes"),
        tuple(rows),
        "Mean gain in utility of peak on the best tuned heuristic, by how many requests came: "
        "in the third of the episodes with the fewest, in the middle and in the third with the "
        "most; and of the seconds of those episodes whose course is in the rows, as a share of "
        "their peak. Classes: of the users of each.",
    )


def by_episodes(results: Results, entry: str, agent: str, heuristic: str) -> Floats | None:
    """Mean gain in the quiet, the middle and the busy third of the episodes, shape (3,)."""
    gained = results.differences(entry, agent, heuristic).mean(axis=0)
    requests = results.cells[entry, agent].episodes("requests")[: len(gained)]
    return thirds(requests, gained, np.ones(len(gained)))


def by_seconds(ours: RouterRows, usual: RouterRows) -> Floats | None:
    """The same of the seconds of detailed episodes, by the requests of each second."""
    courses = {row["episode"]: row["by_second"] for row in usual.rows if "by_second" in row}
    pairs = [
        (row["by_second"], courses[row["episode"]])
        for row in ours.rows
        if "by_second" in row and row["episode"] in courses
    ]
    if not pairs:
        return None
    requests, peak, mine = (
        np.concatenate([own[name] for own, _ in pairs]) for name in ("requests", "peak", "utility")
    )
    theirs = np.concatenate([other["utility"] for _, other in pairs])
    some = peak > 0
    return thirds(requests[some], (mine - theirs)[some], peak[some])


def thirds(order: Floats, gained: Floats, weights: Floats) -> Floats | None:
    """Sum of `gained` over that of `weights` in thirds by `order`; None of too few."""
    if len(order) < LEAST:
        return None
    parts = np.array_split(np.argsort(order, kind="stable"), 3)
    return np.array([gained[part].sum() / weights[part].sum() for part in parts])


def by_class(ours: RouterRows, usual: RouterRows) -> str:
    """What the users of each class gain, where there are several."""
    known = list(ours.first.get("classes", {}))
    if len(known) < 2 or list(usual.first.get("classes", {})) != known:
        return ""

    def earned(cell: RouterRows, name: str) -> float:
        of_peak = [row["classes"][name]["utility_of_peak"] for row in cell.rows]
        return float(np.mean(of_peak))

    told = [f"{name} {earned(ours, name) - earned(usual, name):+.4f}" for name in known]
    return ", ".join(told)


def three(found: Floats | None) -> list[str]:
    """Texts of three gains, empty where there are none."""
    return ["", "", ""] if found is None else [f"{gain:+.4f}" for gain in found]


def ways_table(results: Results, against: Against) -> Table | None:
    """What routers do otherwise: shares of the models, requests in time and turned away."""
    rows = []
    for entry, heuristic in against.items():
        for agent in [heuristic, *results.learned(entry)]:
            cell = results.cells[entry, agent]
            share = ", ".join(f"{name} {percent(part)}" for name, part in cell.share().items())
            away = cell.of_requests("rejected") + cell.of_requests("shed")
            in_time = percent(cell.of_requests("deadline_met"))
            p99_s = number(cell.mean("p99_s"), 2)
            rows.append((entry, agent, share, in_time, percent(away), p99_s))
    if not rows:
        return None
    return Table(
        "What they do otherwise",
        ("entry", "router", "requests of each model", "in time", "dropped", "p99, s"),
        tuple(rows),
        "The best tuned heuristic first, then the learned routers. Dropped: shed or turned away.",
    )
