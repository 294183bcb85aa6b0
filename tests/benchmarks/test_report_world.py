"""The chapter on a world that breaks and is seen late says what rows say, and its entries do."""

import pytest

from benchmarks.report.data import Results
from benchmarks.report.page import Picture
from benchmarks.report.report import by_themselves
from benchmarks.report.world import COSTS, cost_figure, sections
from benchmarks.suites.entries.every import ENTRIES, tagged
from benchmarks.suites.suite import SUITES

from .static_rows import row, tables

SCORES = {
    ("cost-signals-0", "steep-pair"): 0.9,
    ("cost-signals-1", "steep-pair"): 0.5,
    ("cost-signals-60", "steep-pair"): 0.25,
    ("cost-signals-1", "reckoned-pair"): 0.8,
    ("cost-signals-60", "reckoned-pair"): 0.75,
    ("signals-0-to-0", "ddqn"): 0.9,
    ("signals-0-to-1", "ddqn"): 0.4,
    ("signals-1-to-0", "ddqn"): 0.7,
    ("signals-1-to-1", "ddqn"): 0.65,
}
ROWS = [
    row(entry, agent, score, episode=i) for (entry, agent), score in SCORES.items() for i in (0, 1)
]


def test_costs_and_shifts_are_those_of_the_rows():
    (section,) = sections(Results(ROWS))
    found = tables(list(section.parts))
    cost = found["What it costs: signals that are late"]
    assert cost.head == ("time between scrapes, s", "0", "1", "60")
    assert {name: values for name, *values in cost.rows} == {
        "steep-pair": ["0.900", "0.500", "0.250"],
        "reckoned-pair": ["-", "0.800", "0.750"],
    }
    shift = found["Signals, scraped every so many seconds: ddqn"]
    assert shift.rows == (("0", "0.900", "0.400"), ("1", "0.700", "0.650"))
    assert "At worst -0.250 against the diagonal" in shift.note
    assert [part.name for part in section.parts if isinstance(part, Picture)] == ["cost-signals"]
    assert sections(Results([row("unpredictable-1", "steep-pair", 0.5)])) == []


def test_lines_have_the_values_of_the_rows_and_entries_stand_in_no_other_chapter():
    results = Results(ROWS)
    (axis,) = cost_figure(results, COSTS[0]).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert lines["steep-pair"] == [[0.0, 0.9], [1.0, 0.5], [60.0, 0.25]]
    assert by_themselves(results) == []
    # Rows alone have the order of their names, in which 10 comes before 3.
    rows = [row(f"cost-signals-{value}", "steep-pair", 0.5) for value in (10, 3, 60)]
    (axis,) = cost_figure(Results(rows), COSTS[0]).axes
    assert axis.lines[0].get_xdata().tolist() == [3.0, 10.0, 60.0]
    assert tables(list(sections(Results(rows))[0].parts)).popitem()[1].head[1:] == ("3", "10", "60")


@pytest.mark.parametrize("tag", ["signals-shift", "crash-shift"])
def test_who_meets_a_shift_was_tuned_and_trained_on_the_other_end(tag):
    for id in tagged(tag):
        entry = ENTRIES[id]
        kind, train, _, test = id.rsplit("-", 3)
        if train == test:
            assert (entry.trained_on, entry.tuned_on) == ("", "")
            continue
        source = ENTRIES[f"{kind}-{train}-to-{train}"]
        assert entry.trained_on == entry.tuned_on == source.id
        assert source.config("train") != entry.config("train")
        assert entry.config("test") == ENTRIES[f"{kind}-{test}-to-{test}"].config("test")


def test_the_suite_has_all_of_it_and_the_papers_has_none():
    assert set(SUITES["world"].entries) == set(tagged("world"))
    assert not set(SUITES["paper"].entries) & set(tagged("world", "continuous"))
    assert set(SUITES["continuous"].entries) == set(tagged("continuous"))
    for tag in ("signals-shift", "crash-shift", *(varied.tag for varied in COSTS)):
        assert len(tagged(tag)) >= 5
