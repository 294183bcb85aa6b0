"""What larger budgets are worth: figures by hand from rows."""

from typing import Any

import numpy as np

from agents.settings.presets import COMBINATIONS, SCALING
from benchmarks.report.data import Results
from benchmarks.report.page import Picture, Table
from benchmarks.report.scaling import AXES, BASE, budget, figure, place, sections

from .test_report import row, tuned


def rows(agent: str, gains: list[float], seeds: int = 1) -> list[dict[str, Any]]:
    """A router that gains so much on the rule in each episode, a hundredth more by each seed."""
    return [
        row("one", agent, i, 0.5 + gain + seed / 100, learned=True, training_seed=seed)
        for seed in range(seeds)
        for i, gain in enumerate(gains)
    ]


RESULTS = Results(
    [
        *(row("one", "steep-pair", i, 0.5, **tuned(0.5)) for i in range(4)),
        *rows(BASE, [0.1, 0.1, 0.1, 0.1], seeds=2),
        *rows("rollout-pi-large", [0.1, 0.1, 0.1, 0.3]),
        *rows("rollout-pi-of-5", [0.2, 0.2, 0.2, 0.2]),
        *rows("rollout-pi-student", [0.15, 0.15, 0.15, 0.15]),
        *rows("ddqn", [0.0, 0.0, 0.0, 0.0]),
    ]
)


def test_every_router_of_the_suite_has_a_place() -> None:
    placed = {agent for axis in AXES for agent in axis.routers}
    assert placed == {BASE, *SCALING, *COMBINATIONS}
    for axis in AXES:
        places = [place(axis, agent) for agent in axis.routers]
        assert len(set(places)) == len(places)
    assert place(AXES[0], "rollout-pi-quarter") == "10"
    assert place(AXES[1], BASE) == "128, 64"
    assert place(AXES[2], "rollout-pi-of-2") == "2"
    assert place(AXES[3], "rollout-pi-fourfold-large") == "fourfold\nlarge"


def test_what_differs_beside_each_other_is_one_thing() -> None:
    for axis in AXES[:3]:
        budgets = [budget(agent) for agent in axis.routers]
        differing = [i for i in range(4) if len({took[i] for took in budgets}) > 1]
        assert len(differing) == 1


def test_the_table_says_what_each_took_and_earns() -> None:
    (section,) = sections(RESULTS)
    table, picture = section.parts
    assert isinstance(table, Table)
    assert isinstance(picture, Picture)
    said = {line[0]: line[1:] for line in table.rows}
    assert list(said) == ["rollout-pi-of-5", "rollout-pi-student", "rollout-pi-large", BASE]
    assert said["rollout-pi-large"][:4] == ("40 million", "256, 128", "1", "1")
    assert said["rollout-pi-student"][2] == "5, taught to one"
    assert said[BASE][3] == "2"
    # Of both trainings; and on the mean of the two.
    assert said[BASE][4].startswith("+0.1050")
    assert said["rollout-pi-of-5"][5].startswith("+0.0950")
    assert said["rollout-pi-of-5"][6:] == ("2.0", "5.0")
    assert picture.name == "scaling-one"
    assert "rollout-pi-of-5: 0.7000" in picture.svg


def test_the_figure_shows_every_training() -> None:
    panels = figure(RESULTS, "one", "steep-pair").axes
    assert [panel.get_xlabel() for panel in panels] == [axis.label for axis in AXES]
    (own, _, mean, *_), networks = panels[0].lines, panels[2].lines
    np.testing.assert_allclose(own.get_ydata(), [0.1, 0.11])
    np.testing.assert_allclose(mean.get_ydata(), [0.105])
    np.testing.assert_allclose([line.get_ydata()[-1] for line in networks[3:4]], [0.2])
    ticks = [label.get_text() for label in panels[1].get_xticklabels()]
    assert ticks == ["128, 64", "256, 128"]


def test_without_other_budgets_there_is_no_chapter() -> None:
    alone = [r for r in RESULTS.rows if r["agent"] in ("steep-pair", BASE, "ddqn")]
    assert sections(Results(alone)) == []
