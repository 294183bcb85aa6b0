"""A leaderboard takes rows that were confirmed, whole, and of its own episodes; no others."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.leaderboard.board import Board, read_board
from benchmarks.leaderboard.page import page
from benchmarks.suites.suite import SUITES, Suite
from benchmarks.suites.validate import VALIDATED, validate
from benchmarks.suites.workers import Workers
from llmroute_env import ConfigError

ROOT = Path(__file__).parents[2]
HERE = Workers(count=0)
RANDOM = "rows/testing-overload/random-0.jsonl"


@pytest.fixture(scope="module")
def validated(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of which every cell was confirmed; not to be changed."""
    directory = tmp_path_factory.mktemp("board") / "validated"
    shutil.copytree(finished, directory)
    assert validate(directory, None, 0, HERE).confirmed
    return directory


@pytest.fixture
def copy(validated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(validated, tmp_path / "copy"))


def test_confirmed_rows_stand_on_the_board(validated: Path, small: Suite, tmp_path: Path):
    board = Board(small.name, small.episodes).with_rows(validated, small)
    assert {standing.router for standing in board.standings} == set(small.agents)
    best, *others = board.ranked
    assert best.router == "largest-feasible"
    assert all(best.of_bound["mean"] >= other.of_bound["mean"] for other in others)
    rows = [json.loads(line) for line in (validated / RANDOM).read_text().splitlines()]
    mean = sum(row["utility_of_peak"] for row in rows) / len(rows)
    (random,) = (s for s in board.standings if s.router == "random")
    kept = random.entries["testing-overload"].utility_of_peak["mean"]
    assert kept == pytest.approx(mean, abs=1e-6)
    # Written and read again it is the same, and a second time adds nothing.
    board.save(tmp_path / "board.json")
    again = read_board(tmp_path / "board.json", small)
    assert again.with_rows(validated, small).standings == board.standings
    shown = page(board, small)
    assert shown.index("| 1 | largest-feasible |") < shown.index("| 2 |")
    assert all(router in shown for router in small.agents)


def edit(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def without_record(directory: Path) -> None:
    (directory / VALIDATED).unlink()


def a_cell_more(directory: Path) -> None:
    shutil.copy(directory / RANDOM, directory / "rows" / "testing-overload" / "mine-0.jsonl")


def another_figure(directory: Path) -> None:
    rows = [json.loads(line) for line in (directory / RANDOM).read_text().splitlines()]
    rows[0]["utility_of_peak"] += 1e-3
    (directory / RANDOM).write_text("".join(json.dumps(row) + "\n" for row in rows))


def a_refuted_figure(directory: Path) -> None:
    another_figure(directory)
    assert not validate(directory, None, 0, HERE).confirmed


def a_part_alone(directory: Path) -> None:
    assert validate(directory, 2, 0, HERE).confirmed


def an_entry_less(directory: Path) -> None:
    (directory / RANDOM).unlink()


def other_episodes(directory: Path) -> None:
    edit(directory / "suite.json", lambda held: held["suite"].update(seed=1))


def another_environment(directory: Path) -> None:
    change = {"queue_capacity": 9}
    edit(directory / "suite.json", lambda held: first_of(held["test_configs"]).update(change))


def first_of(configs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return next(iter(configs.values()))


def another_suite(directory: Path) -> None:
    edit(directory / "suite.json", lambda held: held["suite"].update(name="paper"))


def no_suite(directory: Path) -> None:
    (directory / "suite.json").unlink()


REFUSED = {
    without_record: f"no {VALIDATED} in",
    a_cell_more: "mine-0.jsonl, which is not confirmed",
    another_figure: f"{RANDOM}, which has changed since",
    a_refuted_figure: f"{RANDOM}, which is not confirmed",
    a_part_alone: "which is not confirmed",
    an_entry_less: "rows of random: got 'none on testing-overload'; accepted: all entries",
    other_episodes: "seed: got 1; accepted: 0",
    another_environment: "got 'another environment'; accepted: the suite's own",
    another_suite: "suite: got 'paper'; accepted: testing",
    no_suite: "a directory that `llmroute bench testing` wrote",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_other_rows_are_refused(copy: Path, small: Suite, change: Callable[[Path], None]):
    change(copy)
    with pytest.raises(ConfigError, match=r".") as refusal:
        Board(small.name, small.episodes).with_rows(copy, small)
    assert REFUSED[change] in str(refusal.value)


def test_a_name_stands_for_the_same_rows(validated: Path, small: Suite):
    board = Board(small.name, small.episodes).with_rows(validated, small)
    first, *others = board.standings
    board = replace(board, standings=(replace(first, rows_sha256="0" * 64), *others))
    with pytest.raises(ConfigError, match=f"router: got '{first.router}, with other rows'"):
        board.with_rows(validated, small)


def test_bounds_are_those_of_the_board(validated: Path, small: Suite):
    board = Board(small.name, small.episodes, bounds={small.entries[0]: 0.5})
    with pytest.raises(ConfigError, match=f"bound of {small.entries[0]}: got .*; accepted: 0.5"):
        board.with_rows(validated, small)


def test_a_validation_that_is_cut_off_has_confirmed_nothing(
    copy: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.suites.validate.run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        validate(copy, None, 0, HERE)
    assert not (copy / VALIDATED).exists()


def test_the_committed_page_is_that_of_the_committed_board():
    suite = SUITES["leaderboard"]
    board = read_board(ROOT / "benchmarks" / "results" / "leaderboard.json", suite)
    assert set(suite.agents) <= {standing.router for standing in board.standings}
    assert list(board.bounds) == list(suite.entries)
    assert (ROOT / "docs" / "leaderboard.md").read_text() == page(board, suite)


def test_other_files_are_no_board(tmp_path: Path, small: Suite):
    path = tmp_path / "board.json"
    path.write_text('{"suite": "testing"}')
    with pytest.raises(ConfigError, match=r"board.json: cannot be read"):
        read_board(path, small)
    Board("paper", 3).save(path)
    with pytest.raises(ConfigError, match="suite: got 'paper'; accepted: testing"):
        read_board(path, small)
