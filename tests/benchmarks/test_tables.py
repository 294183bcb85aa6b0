"""Tables as wide as there is room for."""

import io
import re

import pytest

from benchmarks import tables

ROW = {
    "agent": "pretrained:unpredictable",
    "scenario": "stable",
    "split": "test",
    "load": 1.0,
    "profile": "opt-a100",
    "deadline": "hard",
    "deadline_s": 0.4,
    "episodes": 32,
    "independent_episodes": 16.0,
    "utility_of_peak": {"mean": 0.893, "ci_low": 0.88, "ci_high": 0.91},
    "deadline_met": 0.98,
    "goodput_per_s": 441.23,
    "windows_at_least": {"0.99": 0.533},
    "rejected": 0.0,
    "shed": 0.001,
    "p50_s": 0.2,
    "p99_s": 0.39,
    "share": {"opt-125m": 0.2, "opt-1.3b": 0.6, "opt-6.7b": 0.2},
}
FIGURES = ("0.893 [0.880, 0.910]", "98.0 %", "441.2", "53.3 %", "0.1 %", "200 / 390")
FIGURES += ("20 / 60 / 20",)


def shown(monkeypatch: pytest.MonkeyPatch, width: int | None) -> list[str]:
    out = io.StringIO()
    out.isatty = lambda: width is not None
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width or 40))
    tables.show([ROW, ROW | {"agent": "random"}])
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()
    on = " ".join(lines).find("stable, test split, load 1.0, opt-a100, hard deadline: 0.4 s for")
    assert on > 0
    return lines[: next(i for i, line in enumerate(lines) if "mean over" in line)]


@pytest.mark.parametrize("width", [60, 80, 120, None])
def test_no_line_is_broken_and_no_figure_cut(monkeypatch: pytest.MonkeyPatch, width: int | None):
    lines = shown(monkeypatch, width)
    assert max(map(len, lines)) <= (width or tables.WIDEST)
    for figure in FIGURES:
        assert sum(figure in line for line in lines) == 2
    in_one_line = [line for line in lines if all(figure in line for figure in FIGURES)]
    assert len(in_one_line) == (2 if width in (120, None) else 0)
