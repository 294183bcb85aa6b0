"""The first chapter of a report, what routers cost, and what networks add to their guards."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.evaluation import intervals
from benchmarks.report import added, costs, figures, headline, policies
from benchmarks.report.data import Results
from benchmarks.report.page import Picture, Table
from benchmarks.report.svg import bar_style, style
from benchmarks.report.text import closed_text, label

from .test_report import row, tuned

EPISODES = 8


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 100)


def guard(overruled: float, alone: float) -> dict[str, Any]:
    figures = {"heuristic": "steep-pair", "overruled": overruled, "utility_of_peak": alone}
    return {"guard": figures}


def entry(name: str, gain: float, **others: Any) -> list[dict[str, Any]]:
    """A learned router that earns `gain` more than the tuned heuristic, give or take 0.001."""
    noise = 0.001 * np.resize([1.0, -1.0], EPISODES)
    more = {"learned": True, **others}
    share = {"share": {"small": 0.5, "large": 0.5}}
    return [
        *(row(name, "net", i, 0.7 + gain + d, **more, **share) for i, d in enumerate(noise)),
        *(row(name, "steep", i, 0.7, **tuned(0.7), **share) for i in range(EPISODES)),
        *(row(name, "large", i, 0.4, **share) for i in range(EPISODES)),
    ]


ROWS = [*entry("one", 0.05), *entry("two", 0.03), *entry("three", 0.0), *entry("four", -0.02)]


def said(rows: list[dict[str, Any]]) -> str:
    return " ".join(headline.sentences(Results(rows)))


def test_the_report_opens_with_the_best_router_and_what_it_gains():
    text = said(ROWS)
    assert text.startswith("Best is net: over 4 entries it earns +0.0150 [")
    # (0.05 + 0.03 + 0.00 - 0.02) / 4 of a gap of 0.9 - 0.7.
    assert "The mean gain, +0.0150, is 7.5 % of the distance" in text
    assert "above zero on 2 of the 4 entries, below zero on 1, and holds zero on 1" in text
    assert "guard" not in text


def test_a_loss_is_no_share_of_the_distance_to_the_bound():
    text = said(entry("one", -0.1))
    assert text.startswith("No learned router earns more than the heuristics. The best of them is")
    assert "over one entry it earns -0.1000" in text
    assert "-0.1000: no part of the distance to the bound" in text
    assert closed_text(-2.1, 0.2) == "below the heuristic"
    assert closed_text(0.1, 0.2) == "50.0 %"
    assert closed_text(0.1, 0.0) == "-"


def test_without_learned_routers_the_best_heuristic_is_named():
    rows = [r for r in ROWS if r["agent"] != "net"]
    assert said(rows).startswith("Of 2 routers that met 4 entries, steep is best: it earns 77.8 %")


def test_routers_that_met_only_some_entries_are_not_passed_over():
    rows = [r for r in ROWS if r["agent"] != "net"]
    rows += [row("two", "counts", i, 0.8, **tuned(0.8)) for i in range(EPISODES)]
    assert said(rows).endswith("the best are steep on 3, counts on 1.")
    rows += [row("three", "large two", i, 0.1) for i in range(EPISODES)]
    assert said(rows).endswith("the best are steep on 3, counts on 1.")


def test_a_router_that_is_its_guard_is_called_so():
    rows = entry("one", 0.05, **guard(0.0, 0.75))
    assert said(rows).endswith("The network of net never overruled its guard: it is its guard.")
    results = Results(rows)
    assert label(results, "one", "net") == "net (1 seed, is its guard)"
    (section,) = added.sections(results)
    (table,) = section.parts
    assert isinstance(table, Table)
    (line,) = table.rows
    assert line[:5] == ("one", "net", "steep-pair", "1", "0.0 %")
    assert line[5].startswith("+0.0000 [")
    assert line[6] == "is its guard"


def test_what_a_network_adds_to_its_guard_is_told_by_seed():
    silent = entry("one", 0.0, **guard(0.0, 0.7))
    busy = entry("one", 0.05, **guard(0.5, 0.7), training_seed=1)
    results = Results([*silent, *(r for r in busy if r["learned"])])
    assert "overruled its guard in 25.0 % of the decisions; in 1 of 2 cases never" in said(
        [*silent, *(r for r in busy if r["learned"])]
    )
    assert label(results, "one", "net") == "net (2 seeds, 1 of them their guard)"
    (line,) = added.rows_of(results, "one")
    assert line[3:5] == ("2", "25.0 %")
    assert line[5].startswith("+0.0250 [")


def test_rows_of_older_versions_tell_of_no_guard():
    some = [{**r, **guard(0.5, 0.7)} if r["episode"] else r for r in entry("one", 0.05)]
    for rows in (ROWS, some):
        assert added.sections(Results(rows)) == []
        assert label(Results(rows), "one", "net") == "net (1 seed)"


def test_every_router_of_a_figure_can_be_told_from_the_others():
    rows = [row("one", f"router-{i}", 0, 0.5, **tuned(i / 100)) for i in range(24)]
    results = Results(rows)
    assert results.routers[0] == "router-23", "what figures show has a colour of its own"
    lines = [style(results, agent) for agent in results.routers]
    assert len({(look["color"], look["marker"]) for look in lines}) == 24
    assert len({(look["color"], look["linestyle"]) for look in lines[:21]}) == 21
    bars = [bar_style(results, agent) for agent in results.routers[:21]]
    assert len({(look["color"], look["hatch"]) for look in bars}) == 21


def test_bars_have_intervals_and_every_entry_its_bound():
    pytest.importorskip("matplotlib")
    results = Results(ROWS)
    figure = headline.scores(results, results.main)
    (axis,) = figure.axes
    widths = sorted({round(bar.get_width(), 3) for bar in axis.patches if bar.get_width()})
    assert widths == [0.4, 0.68, 0.7, 0.73, 0.75]
    bounds = [line for line in axis.lines if line.get_color() == "black"]
    assert [set(line.get_xdata()) for line in bounds] == [{0.9}] * 4
    intervals_drawn = [line for line in axis.lines if line.get_color() == "#222222"]
    assert len(intervals_drawn) == 4 * 3
    many = Results([r for i in range(20) for r in entry(f"entry-{i}", 0.01)])
    drawn = headline.scores_picture(many)
    assert isinstance(drawn, Picture)
    assert "The first 12 of 20 entries" in drawn.caption


def test_classes_that_never_occurred_take_no_room():
    pytest.importorskip("matplotlib")
    decisions = np.zeros((8, 8, 2), int)
    decisions[2:4, 1:3] = 5
    detailed = {"policy_map": decisions.tolist(), "share": {"small": 0.5, "large": 0.5}}
    results = Results([row("one", "net", 0, 0.5, **detailed)])
    met = [found.tolist() for found in policies.occurred(results, "one", ["net"])]
    assert met == [[2, 3], [1, 2]]
    (axis,) = policies.share_by_rate(results, "one", ["net"]).axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0.5-1", "1-2"]
    maps = policies.policy_maps(results, "one", ["net"]).axes
    assert [tick.get_text() for tick in maps[0].get_yticklabels()] == ["0.5-1", "1-2"]
    decisions[5, 1] = 5
    apart = Results([row("one", "net", 0, 0.5, **{**detailed, "policy_map": decisions.tolist()})])
    (axis,) = policies.share_by_rate(apart, "one", ["net"]).axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0.5-1", "1-2", "4-8"]


def test_a_second_is_drawn_as_long_as_it_is():
    pytest.importorskip("matplotlib")
    course = {"requests": [5, 5], "utility": [5.0, 4.0], "peak": [10.0, 10.0], "bound": [9.0, 9.0]}
    more = {"by_second": course, "load_1_per_s": 5.0}
    axis = figures.over_time(Results([row("one", "net", 0, 0.45, **more)]), "one", ["net"]).axes[1]
    values, edges, _ = axis.patches[-1].get_data()
    assert (values.tolist(), edges.tolist()) == ([0.5, 0.4], [0, 1, 2])


def test_training_budgets_are_those_of_run_cards_and_logs(tmp_path: Path):
    pytest.importorskip("torch")
    from torch.utils.tensorboard import SummaryWriter

    from agents.training.monitor import SCORE_BY_S

    assert costs.BY_SECONDS == SCORE_BY_S
    for seed, spent_s in ((0, 100), (1, 300)):
        run = tmp_path / "trained" / "one" / f"net-{seed}"
        run.mkdir(parents=True)
        (run / "config.json").write_text(json.dumps({"decisions": 40_000_000}))
        with SummaryWriter(str(run)) as writer:
            for second in (spent_s // 2, spent_s):
                writer.add_scalar(SCORE_BY_S, 0.9, second)
            writer.add_scalar("eval/utility_of_peak", 0.9, 40_000_000)
    (tmp_path / "trained" / "one" / "net-pairs-0").mkdir()
    (tmp_path / "trained" / "one" / "net-pairs-0" / "config.json").write_text("{}")
    table = costs.budgets(Results(ROWS), tmp_path)
    assert table.rows == (("net", "2", "40,000,000", "200 (100 to 300)"),)
    assert costs.budgets(Results(ROWS), tmp_path / "nothing").rows == ()


def test_the_time_of_a_decision_is_the_least_of_the_measurements():
    times = {"one": 4.0, "two": 2.0, "three": 9.0}
    rows = [row(e, "net", i, 0.5, decision_us={"p50": t, "p99": 50.0}) for e, t in times.items()
            for i in range(2)]  # fmt: skip
    table = costs.decisions(Results([*rows, row("one", "rollout", 0, 0.5, decision_us=None)]))
    assert table.rows == (("net", "3", "2.0", "4.0"),)
