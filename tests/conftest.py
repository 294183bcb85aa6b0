"""For all tests: what spares them work, and what `make verify` shows."""

import pytest


@pytest.fixture
def unplaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are drawn as they are: to find where all of it fits draws each of them twice."""
    monkeypatch.setattr("matplotlib.figure.Figure.get_layout_engine", lambda figure: None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config):
    """At the end of `make verify`: the figures that tests recorded as their property `figure`."""
    if config.option.markexpr != "verify":
        return
    lines = [
        str(value)
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "figure"
    ]
    if lines:
        terminalreporter.section("figures")
        for line in sorted(lines):
            terminalreporter.write_line(line)
