"""Reports sort, fit, scroll, are legible in light and dark, and tell exact values."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.drawing import COLORS, MODEL_COLORS
from benchmarks.evaluation.intervals import Interval
from benchmarks.report import world
from benchmarks.report.data import Results
from benchmarks.report.headline import scores
from benchmarks.report.learned import compared, figure, limits
from benchmarks.report.look import DARK, ON_DARK, ON_LIGHT
from benchmarks.report.marks import MARKS, tell_lines
from benchmarks.report.page import Picture, Section, Table, to_html, to_markdown, without_empty
from benchmarks.report.svg import HIGHER, RIGHT, to_svg

from ..project.browser import asked
from .static_rows import row
from .test_report import RESULTS

KEPT = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*/figures/*.svg"))
SURFACES = {"#ffffff", "#bbbbbb", "#cccccc", "#e8e8e8", "#eeeeee"}
"""Of areas, grids and frames, which only have to be there."""
SVG = "{http://www.w3.org/2000/svg}"
HEAD = ("router", "gain", "share", "note")
ROWS = (
    ("opt-6.7b", "0.018 [-0.006, 0.104]", "9.5 %", "b"),
    ("opt-13b", "-0.2 [-0.3, -0.1]", "below the heuristic", ""),
    ("a", "-", "100.0 %", "a"),
    ("opt-1.3b", "+1,234 (no interval)", ">= 20.00", "c"),
)
SORT = """(document) => {
  const [table, single] = document.querySelectorAll("table");
  const heads = [...table.tHead.rows[0].cells];
  const told = heads.map((head, i) => [1, 2, 3].map(() => {
    head.querySelector("button").click();
    const rows = [...table.tBodies[0].rows];
    const sorts = heads.map((other) => other.getAttribute("aria-sort"));
    return [sorts[i], rows.map((row) => row.cells[0].textContent), sorts.filter(Boolean).length];
  }));
  return [told, single.querySelectorAll("button").length];
}"""
FIT = """(document) => [1280, 420].map((width) => {
  document.defaultView.frameElement.style.width = `${width}px`;
  return {
    page: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    tables: [...document.querySelectorAll(".scroll table")].map((table) =>
      table.scrollWidth - table.parentElement.clientWidth),
    scrolls: getComputedStyle(document.querySelector(".scroll")).overflowX,
  };
})"""


def page(folder: Path, *parts: Any) -> list[str]:
    (folder / "page.html").write_text(to_html("T", [Section("S", parts)]))
    return ["page.html"]


def test_heads_of_tables_sort(tmp_path: Path):
    parts = Table("T", HEAD, ROWS), Table("U", ("one", "row"), (("a", "b"),))
    told, single = asked(tmp_path, page(tmp_path, *parts), 800, SORT)["page.html"]
    before = ["opt-6.7b", "opt-13b", "a", "opt-1.3b"]
    ways = [[way for way, _, _ in clicks] for clicks in told]
    assert ways == [["ascending", "descending", None]] + [["descending", "ascending", None]] * 2 + [
        ["ascending", "descending", None]
    ]
    assert [[count for *_, count in clicks] for clicks in told] == [[1, 1, 0]] * 4
    assert [clicks[2][1] for clicks in told] == [before] * 4, "the third click is as it was"
    orders = [[order for _, order, _ in clicks[:2]] for clicks in told]
    assert orders[0] == [
        ["a", "opt-1.3b", "opt-6.7b", "opt-13b"],
        ["opt-13b", "opt-6.7b", "opt-1.3b", "a"],
    ]
    assert orders[1] == [
        ["opt-1.3b", "opt-6.7b", "opt-13b", "a"],
        ["opt-13b", "opt-6.7b", "opt-1.3b", "a"],
    ]
    assert orders[2] == [
        ["a", "opt-1.3b", "opt-6.7b", "opt-13b"],
        ["opt-6.7b", "opt-1.3b", "a", "opt-13b"],
    ]
    assert [order[-1] for order in orders[3]] == ["opt-13b"] * 2, "what is empty comes last"
    assert single == 0


def test_tables_fit_a_desktop_and_scroll_on_a_phone(tmp_path: Path):
    interval = "0.912 [0.895, 0.930]"
    head = ("router", "utility of peak", "minus best tuned", *(f"figure {i}" for i in range(8)))
    wide = Table("T", head, (("largest-feasible", interval, interval, *["100.0 %"] * 8),) * 3)
    desktop, phone = asked(tmp_path, page(tmp_path, wide), 1280, FIT)["page.html"]
    assert desktop["page"] <= 0
    assert desktop["tables"][0] <= 0
    assert phone["page"] <= 0, "the page itself never scrolls sideways"
    assert phone["tables"][0] > 0
    assert phone["scrolls"] == "auto"


def test_columns_and_rows_without_values_are_left_out():
    rows = (("a", "1", "- / -", ""), ("b", "2", "-", ""), ("c", "-", "-", ""))
    table = without_empty(Table("T", ("router", "met", "never met", ""), rows))
    assert table.head == ("router", "met")
    assert table.rows == (("a", "1"), ("b", "2"))
    assert "never met" not in to_html("T", [Section("S", (Table("T", HEAD, ROWS), table))])
    assert "never met" not in to_markdown("T", [Section("S", (table,))], "figures")
    assert without_empty(Table("T", HEAD, ROWS)) == Table("T", HEAD, ROWS)
    assert without_empty(Table("T", ("one",), (("a",),))).rows == (("a",),)


def titles(svg: str) -> list[str]:
    """What a figure says where it is pointed at."""
    return [
        str(found.text)
        for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect")
        if (found := rect.find(f"{SVG}title")) is not None
    ]


def boxes(svg: str) -> list[tuple[float, float, float, float]]:
    found = re.findall(r'<rect x="(.+?)" y="(.+?)" width="(.+?)" height="(.+?)" fill="none">', svg)
    return [(float(x), float(y), float(w), float(h)) for x, y, w, h in found]


def test_figures_say_exact_values_where_they_are():
    pytest.importorskip("matplotlib")
    scored = {0: (0.9, 0.8), 1: (0.5, 0.75), 60: (0.25,)}
    results = Results(
        [
            row(f"cost-signals-{value}", agent, score, episode=i)
            for value, of in scored.items()
            for agent, score in zip(("steep-pair", "reckoned-pair"), of, strict=False)
            for i in (0, 1)
        ]
    )
    drawn = world.cost_picture(results, world.COSTS[0])
    assert titles(drawn.svg) == [
        "time between scrapes, s: 0\nutility / peak:\nsteep-pair: 0.9\nreckoned-pair: 0.8",
        "time between scrapes, s: 1\nutility / peak:\nreckoned-pair: 0.75\nsteep-pair: 0.5",
        "time between scrapes, s: 60\nutility / peak:\nsteep-pair: 0.25",
    ]
    areas = boxes(drawn.svg)
    width, height = map(float, re.findall(r'viewBox="0 0 (\S+) (\S+)"', drawn.svg)[0])
    for (x, _, w, _), (after, *_) in pairwise(areas):
        assert x + w == pytest.approx(after, abs=0.2), "one begins where another ends"
    for x, y, w, h in areas:
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height
    ticks = [
        float(x) for x in re.findall(r'<text [^>]*x="(\S+)"[^>]*>(?:0|1|60)</text>', drawn.svg)
    ]
    for (x, _, w, _), tick in zip(areas, ticks, strict=True):
        assert x <= tick <= x + w, "a value is told where it is marked"


def test_lines_across_a_panel_are_told_at_every_point():
    figures = pytest.importorskip("matplotlib.figure")
    axis = figures.Figure().subplots()
    axis.plot([1, 2], [3.0, 5.0], label="ours")
    axis.axhline(4.0, label="paper")
    axis.plot([1, 2], [9.0, 9.0])
    axis.set_xlabel("load")
    tell_lines(axis, "times")
    assert [mark.text for mark in MARKS[axis]] == [
        "load: 1\ntimes:\npaper: 4\nours: 3",
        "load: 2\ntimes:\nours: 5\npaper: 4",
    ]


def test_bars_and_gains_say_their_intervals_and_axes_which_end_is_better():
    pytest.importorskip("matplotlib")
    bars = to_svg(scores(RESULTS, ["one"]), "scores")
    assert any(
        re.fullmatch(r"one, learned\nutility / peak: 0\.8000 \[.+\]\nbound: 0\.900", title)
        for title in titles(bars)
    )
    assert RIGHT in bars
    gains = figure(RESULTS, compared(RESULTS, ["one"]))
    assert re.fullmatch(r"one, learned\n\+0\.\d{4} \[.+\]", titles(gains.svg)[0])
    assert RIGHT in gains.svg
    costs = Results([row(f"cost-signals-{v}", "steep-pair", 0.5) for v in (0, 1)])
    assert HIGHER in world.cost_picture(costs, world.COSTS[0]).svg


def test_routers_a_little_below_are_in_sight_and_those_far_below_squeeze_nobody():
    def ends(*means: float) -> tuple[float, float]:
        return limits([Interval(mean, mean - 0.001, mean + 0.001) for mean in means])

    left, right = ends(0.001, 0.002, -0.009)
    assert left < -0.009
    assert right > 0.003
    left, right = ends(0.001, 0.002, -0.2)
    assert -0.02 < left < -0.001
    assert right > 0.003


def luminance(color: str) -> float:
    """Relative luminance of a colour, WCAG 2."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("color", [*COLORS, *MODEL_COLORS, "#e69f00", "#56b4e9"])
def test_colours_are_told_from_a_dark_page(color: str):
    assert contrast(DARK.get(color, color), DARK["#ffffff"]) >= 3.0
    assert contrast(DARK["#000000"], DARK["#ffffff"]) >= 12.0


@pytest.mark.parametrize("path", KEPT, ids=lambda path: "-".join(path.parts[-3::2]))
def test_kept_figures_are_legible_in_the_dark(path: Path):
    svg = path.read_text()
    style, drawing = svg.split("</style>", 1)
    assert "@media (prefers-color-scheme: dark)" in style
    dark = dict(re.findall(r'\[style\*="fill: (#\w+)"\] { fill: (#\w+) !important }', style))
    inks = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})\b", drawing))
    assert inks >= {"#ffffff", "#000000"}
    for color in inks - SURFACES - {ON_LIGHT, ON_DARK}:
        assert contrast(dark.get(color, color), dark["#ffffff"]) >= 3.0, color


def test_figures_and_pages_follow_the_reader_into_the_dark(tmp_path: Path):
    pytest.importorskip("matplotlib")
    svg = to_svg(scores(RESULTS, ["one"]), "scores")
    told = asked(
        tmp_path,
        page(tmp_path, Picture("scores", "caption", svg)),
        1280,
        """(document) => {
          const view = document.defaultView;
          const drawn = [...document.querySelectorAll("svg > g path")];
          const style = (of) => view.getComputedStyle(of);
          return {
            dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
            page: style(document.body).backgroundColor,
            figure: style(drawn[0]).fill,
            text: style(document.querySelector("svg text")).fill,
          };
        }""",
        "--blink-settings=preferredColorScheme=0",
    )["page.html"]
    paper, ink = (f"rgb({', '.join(str(int(c[i : i + 2], 16)) for i in (1, 3, 5))})"
                  for c in (DARK["#ffffff"], DARK["#000000"]))  # fmt: skip
    assert told == {"dark": True, "page": paper, "figure": paper, "text": ink}
