"""The results of Learned Best-Effort LLM Serving (arXiv 2401.07886) beside ours, from rows."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.entries import ARRIVALS, MIXES
from benchmarks.episode_rows import WINDOWS_S
from benchmarks.metrics import THRESHOLDS
from benchmarks.report_data import Results, number, ratio
from benchmarks.report_page import Part, Section, Table

LARGEST = "opt-6.7b"
UNPREDICTABLE = ("unpredictable-1", "unpredictable-2")
DEADLINES = ("unpredictable-1", "soft", "soft-steep", "deadline-tight", "deadline-loose")


def sections(results: Results) -> list[Section]:
    """The chapter on the paper, where there are rows for it."""
    parts: list[Part] = [
        *available(results),
        *windows(results),
        *matrices(results),
        *deadlines(results),
        *decision_times(results),
        *sensitivity(results),
    ]
    return [Section("The paper's results", tuple(parts))] if parts else []


def available(results: Results) -> list[Part]:
    """(a) highest available rate, and (c) the same per GPU against eight GPUs."""
    entries = results.tagged("availability")
    if not entries:
        return []
    agents = results.agents(entries[0])
    base = results.highest_available("availability", LARGEST)
    eight = results.highest_available("availability-8gpu", LARGEST)
    rows = []
    for agent in agents:
        load = results.highest_available("availability", agent)
        # Load 1 of eight GPUs is twice that of four, so per GPU loads compare as they are.
        rows.append((agent, number(load, 2), number(ratio(load, base)), number(ratio(load, eight))))
    return [
        Table(
            "(a) Highest available arrival rate, stable workload, and (c) per GPU",
            ("router", "load", f"/ {LARGEST} alone", f"per GPU / {LARGEST} alone on 8 GPUs"),
            tuple(rows),
            "Available: at least 99 % of the requests in time. The paper: above 10 times "
            "OPT-6.7B alone; about 3.9 times the performance per GPU of OPT-6.7B alone on 8 GPUs.",
        )
    ]


def windows(results: Results) -> list[Part]:
    """(b) windows near the peak."""
    return [of_windows(results, entry) for entry in UNPREDICTABLE if entry in results.entries]


def of_windows(results: Results, entry: str, window_s: float = 1.0) -> Table:
    """Share of windows near the peak, and ratios to one model for all."""
    rows = []
    for agent in results.agents(entry):
        shares = [results.cells[entry, agent].windows(t, window_s) for t in THRESHOLDS]
        against = [
            number(ratio(share, results.cells[entry, other].windows(t, window_s)), 2)
            for other in (LARGEST, "best-single")
            if (entry, other) in results.cells
            for t, share in zip(THRESHOLDS, shares, strict=True)
        ]
        percents = [f"{100 * share:.1f}" for share in shares]
        rows.append((agent, " / ".join(percents), *grouped(against)))
    others = [o for o in (LARGEST, "best-single") if (entry, o) in results.cells]
    return Table(
        f"(b) Windows of {window_s:g} s at >= 96 / 98 / 99 % of peak, {entry}",
        ("router", "share, %", *(f"ratio to {other}" for other in others)),
        tuple(rows),
        "The paper, whose window length is not public: 4.1 / 2.3 times static serving at 96 / 98 % "
        "on the unpredictable workloads, 1.53 times OPT-6.7B at 99 % on the first.",
    )


def grouped(texts: Sequence[str]) -> list[str]:
    """Three by three, joined."""
    return [" / ".join(texts[i : i + 3]) for i in range(0, len(texts), 3)]


def matrices(results: Results) -> list[Part]:
    """(d) robustness: trained here, tested there."""
    mixes = {(a, b): f"mix-{a}-to-{b}" for a in MIXES for b in MIXES}
    arrivals = {(a, b): a if a == b else f"arrivals-{a}-to-{b}" for a in ARRIVALS for b in ARRIVALS}
    found = []
    for what, cells in (("task mixes", mixes), ("arrivals", arrivals)):
        if set(cells.values()) <= set(results.entries):
            agents = [*results.learned(next(iter(cells.values())))[:1], "largest-feasible"]
            found += [matrix(results, what, cells, agent) for agent in agents]
    return list(found)


def matrix(results: Results, what: str, entries: dict[tuple[str, str], str], agent: str) -> Table:
    """Utility of peak by what a router was trained, or tuned, and tested on."""
    names = list(dict.fromkeys(train for train, _ in entries))
    rows = [
        (
            train,
            *(
                number(results.cells[entries[train, test], agent].mean("utility_of_peak"))
                if (entries[train, test], agent) in results.cells
                else "-"
                for test in names
            ),
        )
        for train in names
    ]
    return Table(
        f"(d) Robustness to other {what}: {agent}",
        ("trained or tuned on", *(f"on {name}" for name in names)),
        tuple(rows),
        "Utility of peak. Read columns: the same episodes.",
    )


def deadlines(results: Results) -> list[Part]:
    """(e) hard and soft deadlines."""
    entries = [entry for entry in DEADLINES if entry in results.entries]
    if len(entries) < 2:
        return []
    rows = []
    for entry in entries:
        learned = results.learned(entry)
        names = (learned[0] if learned else None, results.best_tuned(entry), LARGEST)
        texts = [scored(results, entry, name) for name in names]
        bound = results.cells[entry, results.agents(entry)[0]].mean("bound_of_peak")
        rows.append((entry, *texts, number(bound)))
    head = ("entry", "best learned", "best tuned", "largest alone", "bound")
    return [Table("(e) Deadlines: hard, soft, tight and loose", head, tuple(rows))]


def scored(results: Results, entry: str, agent: str | None) -> str:
    """A router's name and utility of peak, or a dash."""
    if agent is None or (entry, agent) not in results.cells:
        return "-"
    return f"{agent} {results.cells[entry, agent].mean('utility_of_peak'):.3f}"


def decision_times(results: Results) -> list[Part]:
    """(f) time of one decision."""
    entry = next((e for e in UNPREDICTABLE if e in results.entries), None)
    if entry is None:
        return []
    rows = []
    for agent in results.agents(entry):
        times = results.cells[entry, agent].first.get("decision_us")
        if times:
            rows.append((agent, number(times["p50"], 1), number(times["p99"], 1)))
    note = "One request at a time on one core, in the process that evaluated; the paper: cheap."
    head = ("router", "p50, microseconds", "p99")
    return [Table("(f) Time of a decision", head, tuple(rows), note)] if rows else []


def sensitivity(results: Results) -> list[Part]:
    """How the ratios of (b) depend on our own choices."""
    rows = []
    for entry in ["unpredictable-1", *results.tagged("sensitivity")]:
        agents = [*results.learned(entry), results.best_tuned(entry)]
        if (entry, LARGEST) in results.cells and agents[0] is not None:
            lengths_s = WINDOWS_S if entry == "unpredictable-1" else (1.0,)
            rows += [of_choice(results, entry, agents[0], length_s) for length_s in lengths_s]
    head = ("entry", "windows", "router", f"windows at >= 96 / 98 / 99 %, ratio to {LARGEST}")
    title = "Sensitivity to deadline, window length, batch limit and placement"
    return [Table(title, head, tuple(rows))] if rows else []


def of_choice(results: Results, entry: str, agent: str, window_s: float) -> tuple[str, ...]:
    """Windows near the peak, against the largest model alone, under one choice of ours."""
    ours, theirs = results.cells[entry, agent], results.cells[entry, LARGEST]
    ratios = [ratio(ours.windows(t, window_s), theirs.windows(t, window_s)) for t in THRESHOLDS]
    texts = [number(value, 2) for value in ratios]
    return entry, f"{window_s:g} s", agent, " / ".join(texts)
