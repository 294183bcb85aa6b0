"""The chapter on the paper's setting says what the rows say, and nothing where there are none."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import report_static, report_static_choices, report_static_gpus, report_static_words
from benchmarks.entries import ENTRIES
from benchmarks.report import all_sections, by_themselves
from benchmarks.report_compact import KEPT, MOST, kept
from benchmarks.report_data import Results
from benchmarks.report_page import Part, Picture, Table
from benchmarks.report_static_figures import window_map
from benchmarks.report_static_grid import (
    H100,
    SETTINGS,
    SHEDDING,
    STATIC,
    Case,
    Spot,
    cases,
    chosen,
    counts,
    multiples,
    nearest,
)
from benchmarks.report_static_sensitivity import CHANGES, UNCHANGED, sensitivity
from benchmarks.report_summary import sections, summary
from benchmarks.static_entries import GPUS, LENGTHS_S, LOADS, WORKLOADS

LENGTHS = ("0.5", "1", "2", "5", "10")
LONG, SHORT = "static-unpredictable-1-load-1.5-120s", "static-unpredictable-1-load-1.5"
SHED = "unpredictable-1-load-1.5-120s"
HERE = Path(__file__).parent
QUALITY = {"rollout-pi": 0.8, "ddqn-paper": 0.5, "opt-6.7b": 0.3}
CARD = {"commit": None, "versions": {}}


def row(entry: str, agent: str, utility: float = 0.8, **others: Any) -> dict[str, Any]:
    common = {"episode": 0, "requests": 100, "training_seed": 0, "tuning": None, "setting": None}
    common |= {"rejected": 0.0, "shed": 0.0, "load": 1.0, "deadline_met": 1.0}
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


def tables(parts: list[Part]) -> dict[str, Table]:
    return {part.title: part for part in parts if isinstance(part, Table)}


def words(rows: list[dict[str, Any]], beginning: str) -> str:
    return next(text for text in report_static.words(Results(rows)) if text.startswith(beginning))


def test_every_spot_of_the_grid_is_an_entry():
    spots = [Spot(s, w, load, t) for s in SETTINGS for w in WORKLOADS for load in LOADS
             for t in LENGTHS_S]  # fmt: skip
    assert {spot.entry for spot in spots} == {e for e in ENTRIES if "grid" in tags(e)}
    for spot in spots:
        config = ENTRIES[spot.entry].config("test")
        assert config.shed_expired == (spot.setting == SHEDDING)
        assert (config.profile == "opt-h100") == (spot.setting == H100)
        assert (config.load, config.window_s) == (spot.load, spot.length_s)
    changed = {change.entry for change in CHANGES} | {UNCHANGED.entry}
    assert changed >= {e for e in ENTRIES if "static-sensitivity" in tags(e)}
    assert changed <= ENTRIES.keys()


def test_multiples_are_of_windows_of_the_same_length():
    results = Results(GRID)
    assert multiples(results, LONG, "rollout-pi", 1.0) == pytest.approx((5.0, 3.0, 2.0))
    assert multiples(results, LONG, "rollout-pi", 10.0) == pytest.approx((4.1, 2.3, 1.5))
    assert multiples(results, LONG, "best tuned", 1.0) == pytest.approx((1.0, 1.0, 0.5))
    assert multiples(results, LONG, "ddqn", 1.0) is None
    without = [{**r, **near(0, 5, 5)} if r["agent"] == "opt-6.7b" else r for r in GRID]
    assert multiples(Results(without), LONG, "rollout-pi", 1.0) == pytest.approx((None, 6.0, 4.0))


def test_the_nearest_case_is_that_of_all_three_figures_together():
    found = cases(Results(GRID), STATIC, "rollout-pi")
    assert nearest(found) == Case(Spot(STATIC, "unpredictable-1", 1.5, 120.0), 10.0)
    assert counts(found.values()) == (5, 5, 4)
    # Two figures met exactly do not make up for one that is far off.
    far = Case(Spot(STATIC, "unpredictable-2", 1.0, 30.0), 1.0)
    assert nearest({**found, far: (4.1, 2.3, 0.2)}) != far
    assert nearest({far: (4.1, 0.0, 1.5)}) is nearest({far: (4.1, None, 1.5)}) is None


def test_it_is_said_who_reaches_the_papers_windows_in_which_setting():
    text = words(GRID, "(b) Windows")
    assert "4.1 / 2.3 / 1.53 in the paper" in text
    nothing_shed, shedding = text.split("With shedding, ")
    static, recipe, best = nothing_shed.split("With nothing shed, ")[1:]
    assert static.startswith("rollout-pi: reproduced at 96, 98 and 99 % (in 5 / 5 / 4 of 5 cases,")
    assert "all three in 4)" in static
    assert "4.10 to 5.00 / 2.30 to 3.00 / 1.50 to 2.00" in static
    assert "nearest to all three 4.10 / 2.30 / 1.50 on unpredictable-1 at load 1.5, ep" in static
    assert recipe.startswith("ddqn-paper: not reproduced at 96, 98 and 99 % (in 0 / 0 / 0 of 5")
    assert "(steep-pair)" in best
    assert shedding.startswith("rollout-pi: not reproduced at 96, 98 and 99 %")
    assert "with windows of 10 s at 99 %" in text


def test_less_windows_are_not_called_reproduced():
    fewer = [{**r, **near(40, 23, 15)} if r["agent"] == "rollout-pi" else r for r in GRID]
    static = words(fewer, "(b) Windows").split("With nothing shed, ")[1]
    assert static.startswith(
        "rollout-pi: reproduced at 98 %, not reproduced at 96 and 99 % (in 0 /"
    )


def test_only_cases_that_differ_in_nothing_else_are_compared():
    elsewhere = [
        row("static-unpredictable-2-load-1", "rollout-pi", **near(90, 90, 90)),
        row("static-unpredictable-2-load-1", "opt-6.7b", **near(10, 10, 10)),
    ]
    for rows in (GRID, [*GRID, *elsewhere]):
        moves = dict(report_static_choices.over_the_grid(Results(rows)))
        assert dict(moves["shedding"])["off"] == pytest.approx((5.0, 3.0, 2.0))
        assert dict(moves["shedding"])["on"] == pytest.approx((1.1, 0.95, 0.6))
        assert moves.keys() == {"shedding", "length of windows"}
        assert [value for value, _ in moves["length of windows"]][-1] == "10 s"
    text = words(GRID, "(b) What each choice does")
    assert text.index("shedding (off 5.00") < text.index("length of windows (0.5 s")


def test_medians_are_over_the_cases_known_for_every_value():
    first = {"a": (1.0, None, 1.0), "b": (3.0, 2.0, 1.0), "c": (9.0, 9.0, 9.0)}
    second = {"a": (2.0, 5.0, 1.0), "b": (4.0, 6.0, 1.0)}
    found = report_static_choices.paired_medians([first, second])
    assert found == [(2.0, 2.0, 1.0), (3.0, 6.0, 1.0)]


@pytest.mark.parametrize(
    ("utility", "text"),
    [(0.5, "12.0"), (0.4, "10.0"), (0.75, "20.0"), (0.95, "> 48"), (0.1, "<= 4.0"), (0.15, "6.0")],
)
def test_four_gpus_do_the_work_of_as_many_as_earn_the_same(utility: float, text: str):
    by_gpus = dict(zip((4, *GPUS), (0.1, 0.2, 0.5, 0.7, 0.8, 0.85, 0.9), strict=True))
    by_gpus[8], by_gpus[24] = 0.3 if utility == 0.4 else 0.2, 0.8
    found = report_static_gpus.Match(Spot(STATIC, WORKLOADS[0], 1.5, 30.0), utility, by_gpus)
    assert found.gpus_text == text
    assert found.per_gpu == pytest.approx((utility / 4) / (by_gpus[8] / 8))


PER_GPU = [
    row(SHORT, "rollout-pi", 0.9),
    row(SHORT, "opt-6.7b", 0.1),
    alone(SHORT, 8, 0.3),
    alone(SHORT, 24, 1.0),
    row("unpredictable-1-load-1.5", "rollout-pi", 0.9),
    row("unpredictable-1-load-1.5", "opt-6.7b", 0.5),
    alone("shedding-unpredictable-1-load-1.5", 8, 0.6),
]


def test_performance_per_gpu_by_setting():
    text = words(PER_GPU, "(c)")
    static, shedding = text.split("With shedding, ")
    assert "rollout-pi: reproduced in 1 of 1 cases, unpredictable-1 6.00 at load 1.5" in static
    assert f"do the work of {8 + 16 * 0.6 / 0.7:.1f})" in static
    assert shedding.startswith("rollout-pi: not reproduced, unpredictable-1 3.00 at load 1.5")
    assert "do the work of > 8)" in shedding
    (table,) = report_static_gpus.table(Results(PER_GPU))
    first, second = table.rows
    assert first[:7] == ("nothing shed", WORKLOADS[0], "1.5", "0.900", "0.100", "0.300", "-")
    assert first[-4:] == ("6.00", "21.7", "-", "-")
    assert second[0] == "shedding"


def test_a_rate_is_reproduced_or_not():
    def rates(name: str, met: dict[float, dict[str, float]]) -> list[dict[str, Any]]:
        return [
            row(f"{name}-{load:g}", agent, QUALITY[agent], load=load, deadline_met=share)
            for load, shares in met.items()
            for agent, share in shares.items()
        ]

    met = {
        1.0: {"rollout-pi": 1.0, "ddqn-paper": 1.0, "opt-6.7b": 1.0},
        2.0: {"rollout-pi": 1.0, "ddqn-paper": 0.98, "opt-6.7b": 0.5},
        20.0: {"rollout-pi": 1.0, "ddqn-paper": 0.5, "opt-6.7b": 0.1},
    }
    text = words(rates("static-stable", met), "(a)")
    assert "it is reproduced by rollout-pi, not reproduced by ddqn-paper:" in text
    assert "rollout-pi 19.72 x (load >= 20.00), ddqn-paper 1.39 x (load 1.41)" in text
    assert "With shedding" not in text
    both = [*rates("static-stable", met), *rates("stable", met)]
    assert "With shedding: rollout-pi 19.72 x" in words(both, "(a)")
    assert report_static_words.verdict({"a": 10.0}) == "it is not reproduced by a:"
    never = [{**r, "deadline_met": 0.9} if r["agent"] == "ddqn-paper" else r for r in both]
    text = words(never, "(a)")
    assert "it is reproduced by rollout-pi, not reproduced by ddqn-paper:" in text
    assert "ddqn-paper at no load" in text
    (section, *_) = sections(Results(both))
    table = tables(list(section.parts))["(a) Highest available arrival rate, stable workload, "
                                        "nothing shed"]  # fmt: skip
    assert {line[0]: line[-1] for line in table.rows}["rollout-pi"] == "19.72"


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
    table = summary(Results([*GRID, *PER_GPU]))
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
    long_only = {line[0][:25]: line for line in summary(Results(GRID)).rows}
    found = long_only["(b) windows at >= 96 % of"][2]
    assert found == "unpredictable-1 5.00 x, nearest 4.10 x", "a window of 1 s, and the nearest"
    per_gpu = ("3.9 x", "unpredictable-1 6.00 x", "-", "unpredictable-1 3.00 x", "-")
    assert lines["(c) utility per GPU, 4 GP"][1:] == per_gpu
    assert (
        "rollout-pi unpredictable-1 at load 1.5, episodes of 120 s, windows of 10 s" in table.note
    )


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
    (only,) = sections(Results(main))
    assert "above" not in " ".join(part for part in only.parts if isinstance(part, str))


def test_routers_that_did_not_meet_everything_do_not_stand_for_the_chapter():
    rows = [*GRID, row(LONG, "better", 0.95, learned=True)]
    assert Results(rows).headline == "better"
    assert chosen(Results(rows)) == "rollout-pi"
    assert chosen(Results([r for r in rows if r["entry"] == LONG])) == "better"
    assert chosen(Results([row(LONG, "opt-6.7b")])) is None


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
