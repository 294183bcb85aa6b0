"""The paper's results and ours on one page, from rows."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import report_paper, report_windows
from benchmarks.report_data import Results, ratio
from benchmarks.report_page import Section, Table
from benchmarks.report_paper import MATRICES, SCORE, same_rates, worst_transfer
from benchmarks.report_text import load_text
from benchmarks.report_windows import LARGEST, UNPREDICTABLE

BESIDE = ("largest-feasible", "steep-pair")
"""Tuned heuristics that are set beside the learned router."""

Line = tuple[str, str, str]
"""What, the paper's figure, ours."""


def sections(results: Results) -> list[Section]:
    """The chapter on the paper, where there are rows for it."""
    parts = report_paper.parts(results)
    shown = summary(results)
    head = [shown] if shown.rows else []
    return [Section("The paper's results", (*head, *parts))] if parts else []


def summary(results: Results) -> Table:
    """Every result beside the paper's and the tuned heuristics'; empty without a learned router."""
    learned = results.headline
    beside = {name: dict(texts(results, name)) for name in BESIDE}
    lines = all_lines(results, learned) if learned else ()
    return Table(
        "The paper's results and ours",
        ("result", "the paper", f"learned: {learned}", *(f"tuned: {name}" for name in BESIDE)),
        tuple((*line, *(found.get(line[0], "-") for found in beside.values())) for line in lines),
        f"{learned} is, of the learned routers here, the one that comes closest to the bound over "
        "the main entries. Hardware, deadlines, batch limits, placement, request lengths and the "
        "length of windows are our own choices, as the paper does not state them.",
        wordy=True,
    )


def texts(results: Results, agent: str) -> Iterator[tuple[str, str]]:
    """What was looked at, and the router's figures."""
    for what, _, text in all_lines(results, agent):
        yield what, text


def all_lines(results: Results, agent: str) -> Iterator[Line]:
    """Results (a) to (f) of one router."""
    yield from of_availability(results, agent)
    for threshold, paper in report_windows.PAPER.items():
        yield from of_windows(results, agent, threshold, paper)
    yield from of_gpus(results, agent)
    for what in MATRICES:
        yield from of_shift(results, agent, what)
    yield from of_deadlines(results, agent)
    yield from of_time(results, agent)


def times(value: float | None) -> str:
    """A multiple."""
    return "-" if value is None else f"{value:.2f} x"


def of_availability(results: Results, agent: str) -> Iterator[Line]:
    """Highest available rates."""
    if results.tagged("availability"):
        load, base = (results.highest_available("availability", a) for a in (agent, LARGEST))
        loads = f"load {load_text(results, agent)} against {load_text(results, LARGEST)}"
        what = "(a) highest rate with 99 % in time, stable, over OPT-6.7B alone"
        yield what, "> 10 x", f"{times(ratio(load, base))} ({loads})"


def of_windows(results: Results, agent: str, threshold: float, paper: float) -> Iterator[Line]:
    """Windows near the peak."""
    entries = [e for e in UNPREDICTABLE if {(e, agent), (e, LARGEST)} <= results.cells.keys()]
    if entries:
        found = [
            f"{entry} {times(report_windows.at(results, entry, threshold, agent=agent))}"
            for entry in entries
        ]
        what = f"(b) windows at >= {100 * threshold:.0f} % of peak, over OPT-6.7B alone"
        yield what, f"{paper:g} x", ", ".join(found)


def of_gpus(results: Results, agent: str) -> Iterator[Line]:
    """Performance per GPU."""
    pairs = same_rates(results, agent)
    if pairs:
        load = results.highest_available("availability", agent)
        eight = results.highest_available("availability-8gpu", LARGEST)
        found = [f"{pair.per_gpu:.2f} x at load {pair.rate:g}" for pair in (pairs[0], pairs[-1])]
        found.append(f"{times(ratio(load, eight))} in the highest rate with 99 % in time")
        yield "(c) utility per GPU, 4 GPUs over OPT-6.7B alone on 8", "3.9 x", ", ".join(found)


def of_shift(results: Results, agent: str, what: str) -> Iterator[Line]:
    """Tested on other arrivals or tasks than trained on."""
    worst = worst_transfer(results, MATRICES[what], agent)
    if worst is not None:
        loss = f"at worst {worst:+.3f} of peak against the test's own"
        yield f"(d) other {what} than trained on", "robust", loss


def of_deadlines(results: Results, agent: str) -> Iterator[Line]:
    """Hard and soft deadlines."""
    found = [
        f"{name} {results.cells[entry, agent].mean(SCORE):.3f}"
        for name, entry in (("hard", UNPREDICTABLE[0]), ("soft", "soft"))
        if (entry, agent) in results.cells
    ]
    if found:
        yield "(e) utility of peak under deadlines", "hard and soft", ", ".join(found)


def of_time(results: Results, agent: str) -> Iterator[Line]:
    """Time of a decision."""
    cell = results.cells.get((UNPREDICTABLE[0], agent))
    taken = cell and cell.first.get("decision_us")
    if taken:
        text = f"p50 {taken['p50']:.0f}, p99 {taken['p99']:.0f} microseconds"
        yield "(f) time of a decision, one CPU core", "cheap", text
