"""The chapters on the paper and on what learning gains say what the rows say, to the figure."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.bounds.looseness import looseness
from benchmarks.evaluation import intervals
from benchmarks.evaluation.intervals import Interval
from benchmarks.report import bound, learned
from benchmarks.report.compact import write_compact
from benchmarks.report.data import Results
from benchmarks.report.figures import over_time
from benchmarks.report.learned import gains
from benchmarks.report.page import Table
from benchmarks.report.paper import windows
from benchmarks.report.paper.claims import MATRICES, same_rates
from benchmarks.report.paper.summary import results_table
from benchmarks.report.report import FIGURES, telling
from benchmarks.report.shifts import worst_transfer
from benchmarks.report.text import computed_with, load_text
from benchmarks.suites import measure_looseness
from benchmarks.suites.measure_looseness import MeasureLooseness


def row(entry: str, agent: str, utility: float, **others: Any) -> dict[str, Any]:
    common = {"episode": 0, "requests": 100, "training_seed": 0, "tuning": None, "setting": None}
    scores = {"utility_of_peak": utility, "bound_of_peak": 0.9, "utility": utility, "bound": 0.9}
    kind = {"learned": agent == "learned", "tags": ["main"], "decision_us": {"p50": 2, "p99": 5}}
    common |= {"trained_on": entry, "trace_sha256": entry, "seed": 0}
    return {"entry": entry, "agent": agent, **common, **scores, **kind, **others}


def near_peak(*counts: int) -> dict[str, Any]:
    """Of 100 windows, how many reach 96, 98 and 99 %, at every length; and four seconds."""
    reached = dict(zip(("0.96", "0.98", "0.99"), counts, strict=True))
    return {"windows_at_least": {w: {"windows": 100, **reached} for w in ("0.5", "1", "2", "5")}}


def seconds(*shares: float) -> dict[str, Any]:
    peak = [10.0] * len(shares)
    return {"by_second": {"utility": [10 * share for share in shares], "peak": peak}}


SWEPT = {"tags": ["sensitivity"], **seconds(1.0)}
WINDOWS = [
    row("unpredictable-1", "learned", 0.8, **near_peak(60, 50, 20), **seconds(0.97, 0.97, 0.9)),
    row("unpredictable-1", "opt-6.7b", 0.3, **near_peak(40, 40, 40), **seconds(1.0, 0.2, 0.1)),
    row(
        "batch-small", "learned", 0.8, **near_peak(60, 50, 45), **seconds(1.0), tags=["sensitivity"]
    ),
    row(
        "batch-small",
        "opt-6.7b",
        0.3,
        **near_peak(30, 30, 30),
        **seconds(1.0),
        tags=["sensitivity"],
    ),
]


def test_it_is_said_plainly_that_one_model_for_all_has_more_windows_at_the_strictest_level():
    text, dependence = windows.words(Results(WINDOWS))
    assert "60.0 % against 40.0 % at >= 96 %" in text
    assert "20.0 % against 40.0 % at >= 99 %" in text
    assert "So with shedding opt-6.7b alone has more windows at >= 99 %. It drops" in text
    assert "at every level up to 97 % of peak" in text
    assert "batch limit (batch-small 1.50, unpredictable-1 0.50)" in dependence


def test_nothing_is_conceded_where_nothing_has_to_be():
    rows = [{**r, **near_peak(90, 90, 90)} if r["learned"] else r for r in WINDOWS]
    text, _ = windows.words(Results(rows))
    assert "learned has at least as many windows at every threshold" in text


def test_seconds_above_levels_count_all_seconds():
    cell = Results(WINDOWS).cells["unpredictable-1", "learned"]
    assert cell.seconds_above(np.array([0.5, 0.95, 0.97, 0.98])) == pytest.approx(
        [1, 2 / 3, 2 / 3, 0]
    )


def test_performance_per_gpu_compares_the_same_arrival_rate():
    rows = [
        row("stable-3", "learned", 0.9, load=3.0, tags=["availability"]),
        row("stable-8", "learned", 0.8, load=8.0, tags=["availability"]),
        row("8gpu-stable-1.5", "opt-6.7b", 0.6, load=1.5, tags=["availability-8gpu"]),
    ]
    (pair,) = same_rates(Results(rows), "learned")
    assert (pair.rate, pair.four, pair.eight) == (3.0, 0.9, 0.6)
    assert pair.per_gpu == pytest.approx((0.9 / 4) / (0.6 / 8))


def test_the_highest_load_tried_is_only_a_lower_limit():
    rows = [
        row(f"load-{load:g}", agent, 0.5, load=load, deadline_met=met, tags=["availability"])
        for agent, mets in (("all", (1.0, 1.0)), ("some", (1.0, 0.98)))
        for load, met in zip((1.0, 4.0), mets, strict=True)
    ]
    results = Results(rows)
    assert load_text(results, "all") == ">= 4.00"
    assert load_text(results, "some") == "2.00"


def test_the_worst_transfer_is_against_training_on_the_tests_own_kind():
    cells = MATRICES["task mixes"]
    scores = dict.fromkeys(cells, 0.8) | {("equal", "choice"): 0.77, ("choice", "choice"): 0.81}
    rows = [row(entry, "learned", scores[pair]) for pair, entry in cells.items()]
    assert worst_transfer(Results(rows), cells, "learned") == pytest.approx(0.77 - 0.81)
    assert worst_transfer(Results(rows[:1]), cells, "learned") is None


def learned_rows(entry: str, heuristic: float, *by_seed: tuple[float, ...]) -> list[dict[str, Any]]:
    tuning = {"validation_score": 0.7}
    rows = [
        row(entry, "largest-feasible", heuristic, episode=i, tuning=tuning)
        for i in range(len(by_seed[0]))
    ]
    return rows + [
        row(entry, "learned", value, episode=i, training_seed=seed)
        for seed, values in enumerate(by_seed)
        for i, value in enumerate(values)
    ]


def test_learned_routers_against_the_heuristic(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 200)
    one = learned_rows("one", 0.7, (0.8, 0.8), (0.8, 0.6))
    results = Results([*one, *learned_rows("two", 0.7, (0.7, 0.7), (0.7, 0.7))])
    table = learned.table(results, dict.fromkeys(("one", "two"), "largest-feasible"))
    every, first, second = table.rows
    # Differences on `one`: 0.1, 0.1, 0.1 and -0.1: their middle half is 0.1, their mean 0.05.
    assert first[:3] == ("one", "largest-feasible 0.7000", "learned (2 seeds)")
    assert first[3].startswith("+0.1000 [-")
    assert first[4:] == ("+0.0500", "0.75", "25.0 %")
    assert second[4:] == ("+0.0000", "0.50", "0.0 %")
    assert every[0] == "all 2"
    assert every[4:] == ("+0.0250", f"{(0.75 + 0.5) / 2:.2f}", "12.5 %")


DID = {"share": {"small": 1.0}, "deadline_met": 1.0, "rejected": 0.0, "shed": 0.0, "p99_s": 1.0}


@pytest.mark.parametrize("kinds", [("main", "unseen"), ("seen-world", "unseen-world")])
def test_what_a_generalist_never_saw_is_a_table_of_its_own(
    kinds: tuple[str, str], monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(intervals, "RESAMPLES", 20)
    rows = [{**DID, **r, "tags": kinds[:1]} for r in learned_rows("one", 0.7, (0.8, 0.8))]
    new = [{**r, "tags": kinds[1:]} for r in learned_rows("unseen-one", 0.7, (0.6, 0.6))]
    (section,) = learned.sections(Results([*rows, *new]))
    tables = {part.title: part.rows for part in section.parts if isinstance(part, Table)}
    assert [rows[0][0] for rows in tables.values()] == ["one", "unseen-one", "one"]
    assert tables[learned.UNSEEN][0][4] == "-0.1000"
    (section,) = learned.sections(Results(rows))
    titles = [part.title for part in section.parts if isinstance(part, Table)]
    assert titles == ["Learned routers against the best tuned heuristic", "What they do otherwise"]
    assert Results([*rows, *new]).main == ["one"]


def test_entries_that_are_all_unseen_are_judged_like_any(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 20)
    new = learned_rows("unseen-one", 0.7, (0.6, 0.6))
    (section,) = learned.sections(Results([{**DID, **r, "tags": ["unseen-world"]} for r in new]))
    titles = [part.title for part in section.parts if isinstance(part, Table)]
    assert titles == ["Learned routers against the best tuned heuristic", "What they do otherwise"]


@pytest.mark.parametrize(
    ("means", "left"), [((0.005, 0.004, -0.3), -0.006), ((-0.05, -0.06, -0.3), -0.066)]
)
def test_the_figure_of_gains_shows_what_differs(means: tuple[float, ...], left: float):
    pytest.importorskip("matplotlib")
    found = {f"router-{k}": {"one": Interval(m, m, m)} for k, m in enumerate(means)}
    rows = [row("one", name, 0.5, learned=True) for name in found]
    axis = gains(Results(rows), found).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(found)
    assert axis.get_xlim()[0] == pytest.approx(left, rel=0.1)
    ticks = axis.get_xticks()
    labels = [axis.xaxis.get_major_formatter()(tick) for tick in ticks]
    assert [float(label.replace("\N{MINUS SIGN}", "-")) for label in labels] == pytest.approx(ticks)


def test_intervals_that_go_on_beyond_the_frame_have_arrows():
    pytest.importorskip("matplotlib")
    values = {"wide": Interval(0.01, -0.9, 0.9), "near": Interval(0.01, -0.001, 0.02)}
    values |= {"left": Interval(0.0, -0.9, 0.01), "also": Interval(0.01, 0.0, 0.02)}
    rows = [row(entry, "router", 0.5, learned=True) for entry in values]
    axis = gains(Results(rows), {"router": values}).axes[0]
    arrows = [
        (round(float(line.get_ydata()[0])), line.get_marker())
        for line in axis.lines
        if line.get_marker() in ("<", ">")
    ]
    lines = [round(float(tick)) for tick in axis.get_yticks()]
    assert arrows == [(lines[0], "<"), (lines[0], ">"), (lines[2], "<")]


def test_the_entries_where_learning_decides_are_drawn_first():
    rows = [
        *learned_rows("even", 0.7, (0.7, 0.71)),
        *learned_rows("lost", 0.7, (0.6, 0.6)),
        *learned_rows("stable", 0.7, (0.1, 0.1)),
        *learned_rows("won", 0.7, (0.9, 0.9)),
    ]
    results = Results(rows)
    assert telling(results, results.entries) == ["won", "lost", "even"]
    assert telling(results, ["stable"]) == ["stable"]


@pytest.mark.parametrize(("commit", "said"), [("abc", "commit abc"), (None, "no known commit")])
def test_what_computed_the_rows_is_said_once(commit: str | None, said: str):
    rows = [row("one", "router", 0.5, commit=commit, versions={"numpy": "2"})] * 2
    text = computed_with(rows)
    assert text.count(said) == 1
    assert text.endswith("; numpy 2.")


@pytest.mark.parametrize(("worst", "bottom"), [(0.84, 0.8), (0.3, -0.02)])
def test_the_course_of_good_routers_is_drawn_large(worst: float, bottom: float):
    pytest.importorskip("matplotlib")
    second = {"requests": [5, 9], "peak": [10.0, 10.0], "bound": [10.0, 10.0]}
    rows = [
        row("one", agent, 0.9, load_1_per_s=4.0, by_second={**second, "utility": [9.0, 10 * least]})
        for agent, least in (("learned", 0.9), ("opt-6.7b", worst))
    ]
    course = over_time(Results(rows), "one", ["learned", "opt-6.7b"]).axes[1]
    assert course.get_ylim()[0] == pytest.approx(bottom)
    assert course.get_ylim()[1] > 1.0


def test_one_learned_router_stands_for_all_entries():
    rows = [row("one", "learned", 0.8), row("two", "learned", 0.5)]
    rows += [row(entry, "other", 0.7, learned=True) for entry in ("one", "two")]
    results = Results(rows)
    assert results.headline == "other"
    assert [results.router_of(entry) for entry in ("one", "two")] == ["other", "other"]
    assert Results([row("one", "opt-6.7b", 0.5)]).headline is None


def test_the_summary_sets_the_heuristic_beside_the_learned_router():
    heuristic = {**WINDOWS[0], "agent": "steep-pair", "learned": False, **near_peak(20, 4, 2)}
    table = results_table(Results([*WINDOWS, heuristic]))
    line = next(line for line in table.rows if line[0].startswith("(b) windows at >= 99 %"))
    assert line[1:] == ("1.53 x", "-", "-", "unpredictable-1 0.50 x", "unpredictable-1 0.05 x")


@pytest.mark.usefixtures("unplaced")
def test_the_compact_report_is_small_and_whole(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(intervals, "RESAMPLES", 20)
    directory, out = tmp_path / "suite", tmp_path / "compact"
    for path in (finished / "rows").rglob("*.jsonl"):
        text = path.read_text().replace("testing-stable", "unpredictable-1")
        text = text.replace('"tags": ["testing"]', '"tags": ["availability"]')
        if path.name.startswith("random"):
            text = text.replace('"learned": false', '"learned": true')
        target = directory / "rows" / path.relative_to(finished / "rows")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    report, table = write_compact(directory, out)
    figures = re.findall(r"\]\((figures/[^)]+)\)", report.read_text())
    assert 2 <= len(figures) <= 6
    assert {out / figure for figure in figures} == set((out / FIGURES).iterdir())
    assert sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) < 1_000_000
    assert table.read_text().startswith("| result | the paper | with shedding: random |")
    assert table.read_text() in report.read_text()
    assert "### unpredictable-1\n" not in report.read_text()


def test_looseness_is_measured_and_shown(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loads = 0.25, 2.0, 16.0
    monkeypatch.setattr(measure_looseness, "looseness", partial(looseness, loads=loads))
    cell = MeasureLooseness(instances=1, seed=0)
    for name, content in cell.run({}, tmp_path).items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    (section,) = bound.sections(tmp_path)
    (table,) = (part for part in section.parts if isinstance(part, Table))
    rows = json.loads((tmp_path / cell.output).read_text())["rows"]
    assert [line[0] for line in table.rows] == [f"{r['load']:g}" for r in rows]
    assert [r["load"] for r in rows] == list(loads)
    assert all(1 - 1e-6 <= r["bound"] <= 1.2 for r in rows)
    assert bound.sections(finished) == []
