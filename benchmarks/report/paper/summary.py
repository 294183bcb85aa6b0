"""The paper's results and ours on one page, from rows."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.evaluation.metrics import THRESHOLDS, WINDOW_S
from benchmarks.report.costs import measured_us
from benchmarks.report.data import SCORE, Results, ratio
from benchmarks.report.page import Part, Section, Table
from benchmarks.report.paper import claims, windows
from benchmarks.report.paper.claims import (
    MATRICES,
    WITH_SHEDDING,
    same_rates,
)
from benchmarks.report.paper.static import chapter, gpus
from benchmarks.report.paper.static.gpus import span
from benchmarks.report.paper.static.grid import (
    RECIPE,
    SHEDDING,
    STATIC,
    Setting,
    cases,
    nearest,
    spots,
)
from benchmarks.report.paper.static.words import TAG
from benchmarks.report.paper.windows import LARGEST, UNPREDICTABLE
from benchmarks.report.shifts import worst_transfer
from benchmarks.report.text import load_text, times
from benchmarks.suites.entries.static import LENGTHS_S, LOADS

TITLE, WITH_SHEDDING_TITLE = "The paper's results and ours", "The paper's results, with shedding"
BESIDE = "steep-pair"
"""The tuned heuristic that is set beside the learned router."""

RATES = {STATIC: TAG, SHEDDING: WITH_SHEDDING[0]}
HARD = {STATIC: "static-unpredictable-1", SHEDDING: "unpredictable-1"}
SOFT = {STATIC: "static-soft", SHEDDING: "soft"}
"""Tag of the entries of constant rate, and entries with either deadline, by setting."""

Line = tuple[str, str, str]
"""What, the paper's figure, ours."""


def sections(results: Results) -> list[Section]:
    """The chapters on the paper, where the suite is about it: its own setting first."""
    if not about_the_paper(results):
        return []
    chapters = {
        chapter.TITLE: chapter.parts(results),
        WITH_SHEDDING_TITLE: claims.parts(results),
    }
    shown = results_table(results)
    head: list[Part] = [shown] if shown.rows else []
    found = []
    for title, parts in chapters.items():
        if parts:
            found.append(Section(title, (*head, *parts)))
            head = []
    return found


def about_the_paper(results: Results) -> bool:
    """Whether there are entries that only the paper's results need: others answer other questions.

    Those of constant rate, or its own setting.
    """
    return any(results.tagged(tag) for tag in (*WITH_SHEDDING, TAG)) or bool(spots(results, STATIC))


def columns(results: Results) -> dict[tuple[Setting, str], str]:
    """Setting and router of each column, and its head."""
    learned = results.headline
    if learned is None:
        return {}
    return {
        (STATIC, learned): f"paper's setting: {learned}",
        (STATIC, RECIPE): f"paper's setting: {RECIPE}",
        (SHEDDING, learned): f"with shedding: {learned}",
        (SHEDDING, BESIDE): f"with shedding: {BESIDE}",
    }


def results_table(results: Results) -> Table:
    """Every result beside the paper's, in its setting and in ours; empty without learned router."""
    heads = columns(results)
    found = {key: {what: text for what, _, text in all_lines(results, *key)} for key in heads}
    paper = {what: figure for key in heads for what, figure, _ in all_lines(results, *key)}
    rows = [
        (what, paper[what], *(texts.get(what, "-") for texts in found.values()))
        for what in LINES
        if what in paper
    ]
    return Table(TITLE, ("result", "the paper", *heads.values()), tuple(rows), note(results), True)


def note(results: Results) -> str:
    """Which routers and settings these are, and which cases are nearest to the paper."""
    near = {
        who: case
        for who in dict.fromkeys((results.headline, RECIPE))
        if (case := nearest(cases(results, STATIC, who)))
    }
    where = "; ".join(f"{who} {case}" for who, case in near.items())
    return (
        f"{results.headline} is, of the learned routers here, the one that comes closest to the "
        f"bound over the main entries; {RECIPE} is the paper's recipe. Paper's setting: nothing is "
        f"shed; (b) is over loads {LOADS[0]:g} to {LOADS[-1]:g} and episodes of "
        f"{LENGTHS_S[0]:g} and {LENGTHS_S[1]:g} s, windows of {WINDOW_S:g} s. With shedding: our "
        "default. "
        + (f"Nearest to the three figures of (b) together: {where}. " if where else "")
        + "Hardware, deadlines, batch limits, placement, request lengths and the length of "
        "windows are our own choices, as the paper does not state them."
    )


OF_RATE = "(a) highest rate with 99 % in time, stable, over OPT-6.7B alone"
OF_WINDOWS = {
    threshold: f"(b) windows at >= {100 * threshold:.0f} % of peak, over OPT-6.7B alone"
    for threshold in THRESHOLDS
}
OF_GPUS = "(c) utility per GPU, 4 GPUs over OPT-6.7B alone on 8"
OF_SHIFT = {what: f"(d) other {what} than trained on" for what in MATRICES}
OF_DEADLINES = "(e) utility of peak under deadlines"
OF_TIME = "(f) time of a decision, one CPU core"
LINES = (OF_RATE, *OF_WINDOWS.values(), OF_GPUS, *OF_SHIFT.values(), OF_DEADLINES, OF_TIME)


def all_lines(results: Results, setting: Setting, agent: str) -> Iterator[Line]:
    """Results (a) to (f) of one router in one setting, where there are rows."""
    yield from of_rate(results, setting, agent)
    for threshold in THRESHOLDS:
        yield from of_windows(results, setting, agent, threshold)
    yield from of_gpus(results, setting, agent)
    if setting == SHEDDING:
        for what in MATRICES:
            yield from of_shift(results, agent, what)
    yield from of_deadlines(results, setting, agent)
    yield from of_time(results, setting, agent)


def of_rate(results: Results, setting: Setting, agent: str) -> Iterator[Line]:
    """The line on the highest available rates, if there are rows of constant rate."""
    tag = RATES[setting]
    if any((entry, agent) in results.cells for entry in results.tagged(tag)):
        load, base = (results.highest_available(tag, a) for a in (agent, LARGEST))
        texts = [load_text(results, a, tag=tag) for a in (agent, LARGEST)]
        yield OF_RATE, "> 10 x", f"{times(ratio(load, base))} (load {' against '.join(texts)})"


def of_windows(results: Results, setting: Setting, agent: str, threshold: float) -> Iterator[Line]:
    """The line on windows near the peak at a threshold, if there are rows."""
    if setting == SHEDDING:
        entries = [e for e in UNPREDICTABLE if {(e, agent), (e, LARGEST)} <= results.cells.keys()]
        texts = [
            f"{entry} {times(windows.at(results, entry, threshold, agent=agent))}"
            for entry in entries
        ]
    else:
        texts = of_grid(results, agent, threshold)
    if texts:
        yield OF_WINDOWS[threshold], f"{windows.PAPER[threshold]:g} x", ", ".join(texts)


def of_grid(results: Results, agent: str, threshold: float) -> list[str]:
    """Range over loads and lengths of episodes, workload by workload, and the nearest case."""
    found, place = cases(results, STATIC, agent), THRESHOLDS.index(threshold)
    texts = []
    for workload in UNPREDICTABLE:
        own = [v[place] for c, v in found.items()
               if c.spot.workload == workload and c.window_s == WINDOW_S]  # fmt: skip
        known = [value for value in own if value is not None]
        texts += [f"{workload} {span(known)} x"] if known else []
    near = nearest(found)
    return [*texts, f"nearest {times(found[near][place])}"] if near else texts


def of_gpus(results: Results, setting: Setting, agent: str) -> Iterator[Line]:
    """The line on performance per GPU, if there are rows on more GPUs."""
    found = gpus.short(results, setting, agent)
    pairs = same_rates(results, agent) if setting == SHEDDING else []
    if pairs:
        load = results.highest_available(WITH_SHEDDING[0], agent)
        eight = results.highest_available(WITH_SHEDDING[1], LARGEST)
        found.append(f"stable {span([pair.per_gpu for pair in pairs])} x")
        found.append(f"{times(ratio(load, eight))} in the highest rate with 99 % in time")
    if found:
        yield OF_GPUS, f"{gpus.PAPER_PER_GPU} x", ", ".join(found)


def of_shift(results: Results, agent: str, what: str) -> Iterator[Line]:
    """Tested on other arrivals or tasks than trained on."""
    worst = worst_transfer(results, MATRICES[what], agent)
    if worst is not None:
        yield OF_SHIFT[what], "robust", f"at worst {worst:+.3f} of peak against the test's own"


def of_deadlines(results: Results, setting: Setting, agent: str) -> Iterator[Line]:
    """The line on hard and soft deadlines, if there are rows with either."""
    found = [
        f"{name} {results.cells[entry, agent].mean(SCORE):.3f}"
        for name, entry in (("hard", HARD[setting]), ("soft", SOFT[setting]))
        if (entry, agent) in results.cells
    ]
    if found:
        yield OF_DEADLINES, "hard and soft", ", ".join(found)


def of_time(results: Results, setting: Setting, agent: str) -> Iterator[Line]:
    """The line on the time of a decision, if there are rows that tell it."""
    rows = [row for row in results.rows if row["agent"] == agent]
    taken = measured_us([row for row in rows if row["entry"].startswith(HARD[setting])])
    if taken:
        # The least of all measurements: the rest is other work's on the same machine.
        yield OF_TIME, "cheap", f"p50 {min(taken):.0f} microseconds"
