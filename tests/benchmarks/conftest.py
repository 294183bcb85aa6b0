"""A small suite without learning, run once."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.suites.bench import bench
from benchmarks.suites.suite import SUITES, Suite
from benchmarks.suites.workers import Workers

HERE = Workers(count=0)
SMALL = replace(SUITES["testing"], agents=("random", "opt-6.7b", "largest-feasible"))


@pytest.fixture(scope="session")
def small() -> Suite:
    return SMALL


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its directory; not to be changed."""
    directory = tmp_path_factory.mktemp("suite")
    bench(SMALL, directory, HERE)
    return directory
