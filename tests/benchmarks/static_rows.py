"""Rows of the paper's setting that the tests of its chapter share."""

from typing import Any

from benchmarks.report.data import Results
from benchmarks.report.page import Part, Table
from benchmarks.report.paper.static import chapter
from benchmarks.suites.entries.every import ENTRIES

LENGTHS = ("0.5", "1", "2", "5", "10")
LONG, SHORT = "static-unpredictable-1-load-1.5-120s", "static-unpredictable-1-load-1.5"
SHED = "unpredictable-1-load-1.5-120s"


def row(entry: str, agent: str, utility: float = 0.8, **others: Any) -> dict[str, Any]:
    common = {"episode": 0, "requests": 100, "training_seed": 0, "tuning": None, "setting": None}
    common |= {"rejected": 0.0, "shed": 0.0, "load": 1.0, "deadline_met": 1.0}
    common |= {"decision_us": {"p50": 2.0, "p99": 5.0}}
    common |= {"trained_on": entry, "trace_sha256": entry, "seed": 0}
    scores = {"utility_of_peak": utility, "bound_of_peak": 0.9, "utility": utility, "bound": 0.9}
    kind = {"learned": agent in ("rollout-pi", "ddqn-paper"), "tags": sorted(tags(entry))}
    return {
        "entry": entry,
        "agent": agent,
        **common,
        **scores,
        **kind,
        **near(40, 40, 40),
        **others,
    }


def tags(entry: str) -> frozenset[str]:
    return ENTRIES[entry].tags


def near(*counts: int, **other_lengths: tuple[int, int, int]) -> dict[str, Any]:
    """Of 100 windows, how many reach 96, 98 and 99 %; `s10=...` for windows of 10 s."""
    by_length = {w: other_lengths.get(f"s{w}", counts) for w in LENGTHS}
    names = ("0.96", "0.98", "0.99")
    reached = {w: dict(zip(names, found, strict=True)) for w, found in by_length.items()}
    return {"windows_at_least": {w: {"windows": 100, **found} for w, found in reached.items()}}


def alone(entry: str, gpus: int, utility: float) -> dict[str, Any]:
    """Rows of the largest model on more GPUs have no bound."""
    nothing = {"bound": None, "bound_of_peak": None, "regret": None}
    return row(f"{entry}-on-{gpus}", "opt-6.7b", utility, **nothing)


GRID = [
    row(LONG, "rollout-pi", 0.9, **near(50, 30, 20, s10=(41, 23, 15))),
    row(LONG, "ddqn-paper", 0.5, **near(20, 10, 5)),
    row(LONG, "steep-pair", 0.88, tuning={"validation_score": 0.7}, **near(10, 10, 5)),
    row(LONG, "opt-6.7b", 0.1, **near(10, 10, 10)),
    row(SHED, "rollout-pi", 0.9, **near(44, 38, 24)),
    row(SHED, "opt-6.7b", 0.4, **near(40, 40, 40)),
]

PER_GPU = [
    row(SHORT, "rollout-pi", 0.9),
    row(SHORT, "opt-6.7b", 0.1),
    alone(SHORT, 8, 0.3),
    alone(SHORT, 24, 1.0),
    row("unpredictable-1-load-1.5", "rollout-pi", 0.9),
    row("unpredictable-1-load-1.5", "opt-6.7b", 0.5),
    alone("shedding-unpredictable-1-load-1.5", 8, 0.6),
]


def tables(parts: list[Part]) -> dict[str, Table]:
    return {part.title: part for part in parts if isinstance(part, Table)}


def words(rows: list[dict[str, Any]], beginning: str) -> str:
    return next(text for text in chapter.words(Results(rows)) if text.startswith(beginning))
