"""Reports read rows and nothing else, stand alone, and say what the rows say."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.evaluation import intervals
from benchmarks.evaluation.row_files import read_rows
from benchmarks.report import report, tables
from benchmarks.report.data import Results, ratio
from benchmarks.report.page import Picture, Section, Table, to_html, to_markdown
from benchmarks.report.report import all_sections, on_curves, write_report
from benchmarks.report.text import number
from llmroute_env import ConfigError

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)


def row(entry: str, agent: str, episode: int, utility: float, **others: Any) -> dict[str, Any]:
    common = {
        "requests": 100,
        "training_seed": 0,
        "seed": 0,
        "trace_sha256": entry,
        "learned": False,
        "tuning": None,
        "decision_us": {"p50": 2.0, "p99": 5.0},
        "tags": ["main"],
    }
    scores = {"utility_of_peak": utility, "bound_of_peak": 0.9, "utility": utility, "bound": 0.9}
    which = {"entry": entry, "trained_on": entry, "agent": agent, "episode": episode}
    return {**which, **common, **scores, **others}


def tuned(score: float) -> dict[str, float]:
    return {"tuning": {"validation_score": score}}


RESULTS = Results(
    [
        row("one", "learned", 0, 0.8, learned=True, training_seed=0),
        row("one", "learned", 1, 0.6, learned=True, training_seed=0),
        row("one", "learned", 0, 0.9, learned=True, training_seed=1),
        row("one", "learned", 1, 0.9, learned=True, training_seed=1),
        row("one", "better", 0, 0.7, **tuned(0.72)),
        row("one", "better", 1, 0.7, **tuned(0.72)),
        row("one", "luckier", 0, 0.75, **tuned(0.71)),
        row("one", "luckier", 1, 0.75, **tuned(0.71)),
    ]
)


def test_the_heuristic_to_beat_is_chosen_by_validation_and_not_by_the_test():
    assert RESULTS.best_tuned("one") == "better"
    assert RESULTS.agents("one") == ["learned", "luckier", "better"]


def test_what_looks_at_the_state_is_no_heuristic_to_beat():
    rollout = row("one", "rollout", 0, 0.9, **tuned(0.99), decision_us=None)
    assert Results([*RESULTS.rows, rollout]).best_tuned("one") == "better"


def test_single_models_are_those_that_rows_share_requests_among():
    share = {"small": 0.2, "middle": 0.3, "large": 0.5}
    rows = [row("one", agent, 0, 0.5, share=share) for agent in ("small", "random", "large")]
    assert Results(rows).alone("one") == ["large", "small"]
    assert on_curves(Results([{**r, "tags": ["availability"]} for r in rows])) == ["large", "small"]


def test_entries_come_in_the_order_of_the_suite(tmp_path: Path):
    for entry in ("a", "b", "unknown"):
        (tmp_path / "rows" / entry).mkdir(parents=True)
        (tmp_path / "rows" / entry / "x-0.jsonl").write_text(json.dumps({"entry": entry}) + "\n")
    assert Results(read_rows(tmp_path)).entries == ["a", "b", "unknown"]
    (tmp_path / "suite.json").write_text(json.dumps({"suite": {"entries": ["b", "c", "a"]}}))
    assert Results(read_rows(tmp_path)).entries == ["b", "a", "unknown"]
    (tmp_path / "suite.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"suite\.json: cannot be read"):
        read_rows(tmp_path)


def test_gains_are_paired_and_seeds_averaged():
    gain = RESULTS.gain("one", "learned", "better")
    # Episodes: (0.8 + 0.9) / 2 - 0.7 and (0.6 + 0.9) / 2 - 0.7.
    assert gain.mean == pytest.approx((0.15 + 0.05) / 2)
    # Two episodes say next to nothing, but they say it.
    assert gain.ci_low < 0.05
    assert gain.ci_high > 0.15
    assert RESULTS.gap("one", "better") == pytest.approx(0.9 - 0.7)


def test_what_intervals_are_of_is_said():
    windows_s = [(30.0 * i, 30.0 * i + 30.0) for i in range(4)]
    apart = [row("one", "a", i, 0.5, tape_window_s=w) for i, w in enumerate(windows_s)]
    assert Results(apart).episodes_text("one") == "4 episodes."
    same = [{**r, "tape_window_s": windows_s[r["episode"] // 2]} for r in apart]
    assert "4 episodes, worth 2.0 independent ones" in Results(same).episodes_text("one")
    older = [row("one", "a", i, 0.5) for i in range(4)]
    assert "4 episodes, taken for independent" in Results(older).episodes_text("one")
    assert Results(same[:1]).cells["one", "a"].interval("utility").text() == "0.500 (no interval)"


def test_windows_that_overlap_widen_an_interval():
    scores = np.random.default_rng(0).normal(size=24)
    rows = [row("one", "a", i, score) for i, score in enumerate(scores)]
    placed = [{**r, "tape_window_s": (15.0 * i, 15.0 * i + 30.0)} for i, r in enumerate(rows)]
    before, after = (Results(r).cells["one", "a"].interval("utility") for r in (rows, placed))
    assert after.mean == before.mean
    assert after.ci_high - after.ci_low > 1.3 * (before.ci_high - before.ci_low)


def test_shares_of_requests_weigh_requests():
    rows = [
        row("one", "a", 0, 0.5, deadline_met=1.0, requests=300, share={"m": 0.2, "n": 0.8}),
        row("one", "a", 1, 0.5, deadline_met=0.6, requests=100, share={"m": 0.6, "n": 0.4}),
    ]
    cell = Results(rows).cells["one", "a"]
    assert cell.of_requests("deadline_met") == pytest.approx(0.9)
    assert cell.share() == pytest.approx({"m": 0.3, "n": 0.7})


def test_goodput_is_of_all_seconds_and_needs_no_new_rows():
    rows = [
        row("one", "a", 0, 0.5, deadline_met=1.0, requests=300, duration_s=10.0),
        row("one", "a", 1, 0.5, deadline_met=0.6, requests=100, duration_s=2.0),
    ]
    # 300 and 60 requests in time, in 12 seconds: not the mean of 30 and 30 alone.
    assert Results(rows).cells["one", "a"].goodput_per_s() == pytest.approx(30.0)
    slow = [rows[0], {**rows[1], "duration_s": 8.0}]
    assert Results(slow).cells["one", "a"].goodput_per_s() == pytest.approx(20.0)


def test_windows_are_counted_over_all_episodes():
    counts = [{"1": {"windows": 10, "0.99": 5}}, {"1": {"windows": 30, "0.99": 5}}]
    rows = [row("one", "a", i, 0.5, windows_at_least=c) for i, c in enumerate(counts)]
    assert Results(rows).cells["one", "a"].windows(0.99) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("met", "highest"),
    [
        ([1.0, 0.995, 0.985, 0.5], 8.0**0.5 * 1.0),  # between loads 2 and 4, half-way by logarithm
        ([1.0, 1.0, 1.0, 1.0], 8.0),
        ([0.98, 1.0, 1.0, 1.0], None),
    ],
)
def test_highest_available_load(met: list[float], highest: float | None):
    rows = [
        row(f"load-{load:g}", "a", 0, 0.5, load=load, deadline_met=share, tags=["availability"])
        for load, share in zip((1.0, 2.0, 4.0, 8.0), met, strict=True)
    ]
    found = Results(rows).highest_available("availability", "a")
    assert found == (None if highest is None else pytest.approx(highest))


def test_ratios_without_a_base_are_dashes():
    assert ratio(1.0, 2.0) == 0.5
    assert number(ratio(1.0, None)) == number(ratio(1.0, 0.0)) == number(ratio(None, 1.0)) == "-"


def test_pages_escape_and_link():
    table = Table("T", ("a", "b"), (("<x>", "1"),), "note")
    sections = [Section("S & T", ("text", table, Picture("p", "caption", "<svg></svg>")))]
    page = to_html("A < B", sections)
    assert "<td>&lt;x&gt;</td><td>1</td>" in page
    assert "<h2>S &amp; T</h2>" in page
    assert "<svg></svg>" in page
    assert "![caption](figures/p.svg)" in to_markdown("A", sections, "figures")


@pytest.fixture(scope="module")
def reported(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A report of rows alone: nothing else of the suite's directory is there."""
    directory = tmp_path_factory.mktemp("report")
    shutil.copytree(finished / "rows", directory / "rows")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "RESAMPLES", 100)
        write_report(directory)
        yield directory


def test_the_page_needs_nothing_else(reported: Path):
    page = (reported / "report.html").read_text()
    assert page.count("<svg") >= 4
    assert not re.search(r'(?:src|href)="(?!#|data:)', page), (
        "nothing is loaded or linked to outside"
    )
    assert page.count("<script>") == page.count("<script") == 1
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert policy
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{digest}'" in policy[1], "it alone may run"
    assert len(set(re.findall(r'\bid="([^"]+)"', page))) == len(re.findall(r'\bid="', page))


def test_the_report_says_what_the_rows_say(reported: Path):
    rows = [
        r for r in read_rows(reported) if (r["entry"], r["agent"]) == ("testing-stable", "random")
    ]
    mean = sum(r["utility_of_peak"] for r in rows) / len(rows)
    text = (reported / "report.md").read_text()
    section = text.split("### testing-stable")[1].split("###")[0]
    line = next(line for line in section.splitlines() if line.startswith("| random "))
    assert f"| {mean:.3f} [" in line
    assert rows[0]["config_sha256"][:12] not in section
    for figure in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert (reported / figure).read_text().startswith("<svg")


def test_two_reports_of_the_same_rows_are_equal(reported: Path, tmp_path: Path):
    write_report(reported, tmp_path)
    for name in ("report.html", "report.md"):
        assert (tmp_path / name).read_bytes() == (reported / name).read_bytes()


@pytest.mark.usefixtures("unplaced")
@pytest.mark.parametrize(
    "agents", [("random",), ("largest-feasible",), ("random", "opt-6.7b", "largest-feasible")]
)
def test_reports_make_do_with_what_there_is(
    finished: Path, agents: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(intervals, "RESAMPLES", 20)
    monkeypatch.setattr(report, "SHOWN_OVER_TIME", 1)
    ids = {"testing-stable": "unpredictable-1", "testing-overload": "soft"}
    rows = [
        {**r, "entry": ids[r["entry"]], "tags": ["availability", "sensitivity"]}
        for r in read_rows(finished)
        if r["agent"] in agents
    ]
    sections = {section.title: section for section in all_sections(Results(rows), finished)}
    titles = [
        p.title
        for p in sections["The paper's results, with shedding"].parts
        if isinstance(p, Table)
    ]
    assert any(title.startswith("(a) Highest available") for title in titles)
    assert any(title.startswith("(e) Deadlines") for title in titles)
    assert any(title.startswith("Sensitivity") for title in titles) == (len(agents) > 1)


def test_no_rows_no_report(tmp_path: Path):
    with pytest.raises(ConfigError, match="without rows"):
        write_report(tmp_path)


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_a_browser_shows_it(reported: Path, tmp_path: Path):
    picture = tmp_path / "page.png"
    command = [
        str(BROWSER),
        *("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"),
        *("--window-size=1200,3000", f"--screenshot={picture}", "--dump-dom"),
        (reported / "report.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert picture.stat().st_size > 30_000, done.stderr
    assert done.stdout.count("<svg") >= 4
    assert json.dumps("testing-stable")[1:-1] in done.stdout


def test_tables_say_what_failing_machines_cost_and_else_nothing(finished: Path):
    results = Results(read_rows(finished))
    entry = results.entries[0]
    plain = tables.entry_table(results, entry)
    assert plain.head == tables.COLUMNS
    rows = [row | {"lost": 0.125, "retried": row["requests"] // 10} for row in results.rows]
    found = tables.entry_table(Results(rows), entry)
    lost = found.head.index("lost")
    assert found.head[lost - 1 : lost + 2] == ("dropped", "lost", "retries per 1000 requests")
    for told, before in zip(found.rows, plain.rows, strict=True):
        assert told[lost] == "12.5 %"
        assert 95 < float(told[lost + 1]) <= 100
        assert (*told[:lost], *told[lost + 2 :]) == before
