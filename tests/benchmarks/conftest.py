"""A small suite without learning, run once."""

from dataclasses import replace
from pathlib import Path

import pytest

from agents.settings.presets import SETTINGS
from benchmarks.suites.bench import bench
from benchmarks.suites.suite import SUITES, Suite
from benchmarks.suites.workers import Workers

HERE = Workers(count=0)
SMALL = replace(SUITES["testing"], agents=("random", "opt-6.7b", "largest-feasible"))


@pytest.fixture(scope="session")
def small() -> Suite:
    return SMALL


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Suites train routers of which nobody wants to know how good they are.

    No heuristic is tuned for them to fall back on, so that another training is another router.
    """
    alone = {"guarded": False, "demonstrators": 0.0}
    tried = {"validations": 1, "validation_episodes": 4}
    monkeypatch.setitem(SETTINGS, "ddqn", replace(SETTINGS["ddqn"], **alone, **tried))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its directory; not to be changed."""
    directory = tmp_path_factory.mktemp("suite")
    bench(SMALL, directory, HERE)
    return directory
