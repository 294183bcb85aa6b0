"""Tables, figures and the summary of the paper's setting, and nothing where there are no rows."""

from pathlib import Path

import pytest

from benchmarks.report.compact import KEPT, MOST, kept
from benchmarks.report.data import Results
from benchmarks.report.page import Picture, Table
from benchmarks.report.paper import claims
from benchmarks.report.paper.static import gpus
from benchmarks.report.paper.static.figures import window_map
from benchmarks.report.paper.static.grid import SHEDDING, STATIC, Spot, cases
from benchmarks.report.paper.static.sensitivity import sensitivity
from benchmarks.report.paper.summary import about_the_paper, results_table, sections
from benchmarks.report.report import all_sections, by_themselves
from benchmarks.suites.entries.static import GPUS, WORKLOADS

from .static_rows import GRID, PER_GPU, SHORT, alone, near, row, tables, words

HERE = Path(__file__).parent
CARD = {"commit": None, "versions": {}}


@pytest.mark.parametrize(
    ("utility", "text"),
    [(0.5, "12.0"), (0.4, "10.0"), (0.75, "20.0"), (0.95, "> 48"), (0.1, "<= 4.0"), (0.15, "6.0")],
)
def test_four_gpus_do_the_work_of_as_many_as_earn_the_same(utility: float, text: str):
    by_gpus = dict(zip((4, *GPUS), (0.1, 0.2, 0.5, 0.7, 0.8, 0.85, 0.9), strict=True))
    by_gpus[8], by_gpus[24] = 0.3 if utility == 0.4 else 0.2, 0.8
    found = gpus.Match(Spot(STATIC, WORKLOADS[0], 1.5, 30.0), utility, by_gpus)
    assert found.gpus_text == text
    assert found.per_gpu == pytest.approx((utility / 4) / (by_gpus[8] / 8))


def test_performance_per_gpu_by_setting():
    text = words(PER_GPU, "(c)")
    static, shedding = text.split("With shedding, ")
    assert "rollout-pi: reproduced in 1 of 1 cases, unpredictable-1 6.00 at load 1.5" in static
    assert f"do the work of {8 + 16 * 0.6 / 0.7:.1f})" in static
    assert shedding.startswith("rollout-pi: not reproduced, unpredictable-1 3.00 at load 1.5")
    assert "do the work of > 8)" in shedding
    (table,) = gpus.table(Results(PER_GPU))
    first, second = table.rows
    assert first[:7] == ("nothing shed", WORKLOADS[0], "1.5", "0.900", "0.100", "0.300", "-")
    assert first[-4:] == ("6.00", "21.7", "-", "-")
    assert second[0] == "shedding"


def test_one_choice_is_changed_at_a_time():
    queue = [
        row("static-queue-64", "rollout-pi", 0.7, **near(30, 20, 10), rejected=0.02),
        row("static-queue-64", "opt-6.7b", 0.2, **near(20, 20, 20), rejected=0.5),
    ]
    (table,) = sensitivity(Results([*GRID, *queue]))
    lines = {line[0]: line[1:] for line in table.rows}
    assert lines.keys() == {"none", "queue capacity 64", "shedding on"}
    assert lines["queue capacity 64"][:3] == ("1.50 / 1.00 / 0.50",) * 3
    assert lines["queue capacity 64"][-3:-1] == ("0.700 / - / 0.200", "2.0 / - / 50.0")
    moves = "queue capacity (unbounded 5.00 / 3.00 / 2.00, 64 1.50 / 1.00 / 0.50)"
    assert moves in words([*GRID, *queue], "(b) What each choice does")
    assert sensitivity(Results(GRID[:4])) == []


def test_the_summary_has_a_column_per_setting_and_router():
    table = results_table(Results([*GRID, *PER_GPU]))
    assert table.head[2:] == (
        "paper's setting: rollout-pi",
        "paper's setting: ddqn-paper",
        "with shedding: rollout-pi",
        "with shedding: steep-pair",
    )
    lines = {line[0][:25]: line for line in table.rows}
    # Of windows of 1 s: 5 in the long episodes, 1 in the short ones.
    expected = "unpredictable-1 1.00 to 5.00 x, nearest 4.10 x"
    assert lines["(b) windows at >= 96 % of"][1:3] == ("4.1 x", expected)
    long_only = {line[0][:25]: line for line in results_table(Results(GRID)).rows}
    found = long_only["(b) windows at >= 96 % of"][2]
    assert found == "unpredictable-1 5.00 x, nearest 4.10 x", "a window of 1 s, and the nearest"
    per_gpu = ("3.9 x", "unpredictable-1 6.00 x", "-", "unpredictable-1 3.00 x", "-")
    assert lines["(c) utility per GPU, 4 GP"][1:] == per_gpu
    assert (
        "rollout-pi unpredictable-1 at load 1.5, episodes of 120 s, windows of 10 s" in table.note
    )


@pytest.mark.usefixtures("unplaced")
def test_the_papers_setting_comes_first_and_the_old_claim_is_of_shedding_only():
    pytest.importorskip("matplotlib")
    second = {"by_second": {"utility": [9.0, 5.0], "peak": [10.0, 10.0]}}
    main = [
        row("unpredictable-1", agent, **near(*found), **second)
        for agent, found in (("rollout-pi", (40, 30, 20)), ("opt-6.7b", (40, 40, 40)))
    ]
    first, other = sections(Results([*GRID, *main]))
    assert (first.title, other.title) == (
        "The paper's setting: nothing is shed", "The paper's results, with shedding",
    )  # fmt: skip
    assert isinstance(first.parts[0], Table)
    said = [part for part in other.parts if isinstance(part, str)]
    assert all("ith shedding" in text for text in said)
    assert "So with shedding opt-6.7b alone has more windows at >= 98 / 99 %" in said[0]
    assert said[0].endswith("What the paper's setting gives, without shedding: above.")
    only = claims.parts(Results(main))
    assert "above" not in " ".join(part for part in only if isinstance(part, str))


def test_a_suite_without_the_papers_entries_has_no_chapter_on_it():
    rows = [row("unpredictable-1", "opt-6.7b", 0.5, tags=["main"])]
    assert sections(Results(rows)) == []
    assert not about_the_paper(Results(rows))
    assert about_the_paper(Results([{**rows[0], "tags": ["availability"]}]))
    assert about_the_paper(Results(GRID))


@pytest.mark.usefixtures("unplaced")
@pytest.mark.parametrize("left_out", ["rollout-pi", "opt-6.7b", "ddqn-paper", "unpred", "static-"])
def test_a_partial_run_is_shown_as_far_as_it_went(left_out: str):
    pytest.importorskip("matplotlib")
    rows = [
        r
        for r in [*GRID, *PER_GPU]
        if r["agent"] != left_out and not r["entry"].startswith(left_out)
    ]
    found = sections(Results(rows))
    pages = [part for section in found for part in section.parts]
    assert all(len(line) == len(t.head) for t in tables(pages).values() for line in t.rows)
    assert not any("nan" in str(part) or "None" in str(part) for part in pages
                   if not isinstance(part, Picture))  # fmt: skip
    assert bool(found) == (left_out not in ("static-", "opt-6.7b"))


def test_entries_without_bounds_are_summed_up_only():
    pytest.importorskip("matplotlib")
    results = Results(PER_GPU)
    assert results.headline == "rollout-pi"
    assert set(results.main) == {SHORT, "unpredictable-1-load-1.5"}
    assert set(by_themselves(results)) == set(results.main)
    assert Results([alone(SHORT, 8, 0.3)]).main == []
    only = Results([{**alone(SHORT, 8, 0.3), **CARD}])
    assert not any(section.title == "Each entry" for section in all_sections(only, HERE))


def test_cells_that_reach_the_papers_figure_are_framed():
    pytest.importorskip("matplotlib")
    found = cases(Results(GRID), STATIC, "rollout-pi") | cases(
        Results(GRID), SHEDDING, "rollout-pi"
    )
    rows = list(dict.fromkeys(case.spot for case in found))
    figure = window_map(found, rows, (1.0, 10.0, 20.0))
    assert [len(axis.patches) for axis in figure.axes] == [2, 2, 1]
    assert [text.get_text() for text in figure.axes[0].texts][:3] == ["5.0", "4.1", "-"]
    assert [axis.get_title() for axis in figure.axes][1] == ">= 98 %; the paper: 2.3"


def test_the_short_form_keeps_the_figures_that_rank_highest():
    figures = [Picture(f"{kind}x", "", "") for kind in reversed(KEPT)]
    names = [figure.name for figure in kept([*figures, Picture("static-windows-2", "", "")])]
    assert names == [f"{kind}x" for kind in KEPT[:MOST]]
    assert "static-windowsx" in names
