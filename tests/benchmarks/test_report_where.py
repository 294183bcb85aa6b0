"""Where learned routers gain, and what they do otherwise: figures by hand from rows."""

from typing import Any

import numpy as np
import pytest

from benchmarks.report.data import Results
from benchmarks.report.where import gains_table, thirds, ways_table

from .test_report import row, tuned

AGAINST = {"one": "rule"}


def done(episode: int, **others: Any) -> dict[str, Any]:
    """What an episode of 100 requests more than the one before came to."""
    shares = {"share": {"small": 0.75, "large": 0.25}, "deadline_met": 0.5, "p99_s": 2.0}
    dropped = {"rejected": 0.1, "shed": 0.2}
    return {"requests": 100 * (episode + 1), **shares, **dropped, **others}


def rows(gains: list[float], **others: Any) -> Results:
    """A learned router that gains so much in each episode, the fuller the later."""
    net = {"learned": True, **others}
    return Results(
        [
            *(row("one", "net", i, 0.5 + g, **done(i, **net)) for i, g in enumerate(gains)),
            *(row("one", "rule", i, 0.5, **tuned(0.5), **done(i)) for i in range(len(gains))),
        ]
    )


def test_gains_are_told_by_how_many_requests_came():
    table = gains_table(rows([0.3, 0.1, 0.0, 0.0, -0.1, 0.0, -0.2, -0.4, -0.6]), AGAINST)
    assert table.head[2:5] == ("episodes: quiet", "episodes: middle", "episodes: busy")
    (told,) = table.rows
    assert told[:2] == ("one", "net")
    assert told[5:] == ("", "", "", "")
    assert [float(text) for text in told[2:5]] == pytest.approx([0.4 / 3, -0.1 / 3, -0.4], abs=1e-4)


def test_seconds_weigh_as_much_as_they_could_earn():
    results = rows([0.1, 0.1])
    of_net, of_rule = results.cells["one", "net"].rows, results.cells["one", "rule"].rows
    ours = [0.5, 0.5, 4.0, 2.0, 9.0, 0.0, 3.0]
    theirs = [1.0, 0.5, 2.0, 2.0, 4.5, 0.0, 3.0]
    requests, peak = [1, 2, 4, 5, 9, 9, 8], [1.0, 1.0, 4.0, 4.0, 9.0, 0.0, 8.0]
    course = {"requests": requests, "peak": peak}
    of_net[0]["by_second"] = {**course, "utility": ours}
    of_rule[0]["by_second"] = {**course, "utility": theirs}
    (told,) = gains_table(results, AGAINST).rows
    # Two episodes are too few for thirds; six seconds in which something could be earned are not.
    expected = [-0.5 / 2, 2.0 / 8, 4.5 / 17]
    assert told[2:5] == ("", "", "")
    assert [float(text) for text in told[5:8]] == pytest.approx(expected, abs=1e-4)


def test_nothing_is_told_apart_of_too_few():
    assert gains_table(rows([0.1] * 5), AGAINST) is None
    assert thirds(np.arange(5.0), np.ones(5), np.ones(5)) is None


def test_classes_have_their_own_gains():
    def users(high: float, low: float) -> dict[str, Any]:
        return {"high": {"utility_of_peak": high}, "low": {"utility_of_peak": low}}

    results = rows([0.1] * 6, classes=users(0.9, 0.3))
    for row_of_rule in results.cells["one", "rule"].rows:
        row_of_rule["classes"] = users(0.5, 0.5)
    (told,) = gains_table(results, AGAINST).rows
    assert told[-1] == "high +0.4000, low -0.2000"


def test_what_routers_do_stands_beside_what_the_heuristic_does():
    table = ways_table(rows([0.1] * 2), AGAINST)
    assert [line[:2] for line in table.rows] == [("one", "rule"), ("one", "net")]
    assert table.rows[0][2:] == ("small 75.0 %, large 25.0 %", "50.0 %", "30.0 %", "2.00")
    assert ways_table(Results([]), {}) is None
