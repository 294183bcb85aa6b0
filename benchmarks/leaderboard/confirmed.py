"""The rows of a suite's directory that may stand on a leaderboard: complete, and confirmed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.evaluation.row_files import ROWS, SUITE, read_rows
from benchmarks.report.data import Results
from benchmarks.suites.bench import definition
from benchmarks.suites.suite import Suite
from benchmarks.suites.validate import VALIDATED, sha256_of
from llmroute_env.specs import ConfigError, require

SAME = ("episodes", "seed", "tuning_episodes", "tuning_window_s")
"""Fields of a suite on which it depends what rows are of."""


def confirmed_results(directory: Path, suite: Suite) -> Results:
    """All rows of a directory of `suite`.

    Raises:
        ConfigError: it is of another suite, some cells were not confirmed or have changed since, or
            a router lacks entries.
    """
    check_suite(directory, suite)
    check_confirmed(directory)
    results = Results(read_rows(directory))
    for agent in dict.fromkeys(row["agent"] for row in results.rows):
        missing = [entry for entry in suite.entries if (entry, agent) not in results.cells]
        require(not missing, f"rows of {agent}", f"none on {', '.join(missing)}", "all entries")
    return results


def check_suite(directory: Path, suite: Suite) -> None:
    """Raise a ConfigError unless the directory's rows are of the episodes of `suite`."""
    path = directory / SUITE
    accepted = f"a directory that `llmroute bench {suite.name}` wrote"
    require(path.is_file(), "directory", str(directory), accepted)
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        settings, configs = held["suite"], held["test_configs"]
        named = settings["name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; accepted: {accepted}") from error
    require(named == suite.name, f"{path}: suite", named, suite.name)
    wanted = json.loads(json.dumps(definition(suite)))
    for name in SAME:
        found = settings.get(name)
        require(found == wanted["suite"][name], f"{path}: {name}", found, wanted["suite"][name])
    for entry, config in wanted["test_configs"].items():
        known = "none" if entry not in configs else "another environment"
        require(configs.get(entry) == config, f"{path}: entry {entry}", known, "the suite's own")


def check_confirmed(directory: Path) -> None:
    """Raise a ConfigError unless the last validation confirmed every cell as it is now."""
    accepted = f"all confirmed by `llmroute validate {directory}`"
    path = directory / VALIDATED
    require(path.is_file(), "rows", f"no {VALIDATED} in {directory}", accepted)
    confirmed: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))["confirmed"]
    for cell in sorted((directory / ROWS).rglob("*.jsonl")):
        name = cell.relative_to(directory).as_posix()
        require(name in confirmed, "rows", f"{name}, which is not confirmed", accepted)
        changed = confirmed[name] != sha256_of(cell)
        require(not changed, "rows", f"{name}, which has changed since", accepted)
