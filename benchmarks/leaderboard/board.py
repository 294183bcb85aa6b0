"""A leaderboard: what each router came to on the entries of one suite, kept as JSON.

Rows are of megabytes; the board keeps of each router its means and intervals, and the fingerprint
of the rows that they are of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evaluation.intervals import Interval
from benchmarks.evaluation.row_files import ROWS
from benchmarks.evaluation.stats import crossed_bootstrap
from benchmarks.leaderboard.confirmed import confirmed_results
from benchmarks.report.data import SEED, Results
from benchmarks.suites.suite import Suite
from benchmarks.suites.validate import sha256_of
from llmroute_env.recording.files import write_atomically
from llmroute_env.specs import ConfigError, require

DIGITS = 6
"""That are kept of every figure."""

Numbers = Mapping[str, float | None]


@dataclass(frozen=True)
class OnEntry:
    """What a router came to on one entry: utility of peak, and share of requests in time."""

    utility_of_peak: Numbers
    deadline_met: float


@dataclass(frozen=True)
class Standing:
    """A router's place.

    Attributes:
        of_bound: interquartile mean of utility / bound over all episodes of all entries.
        rows_sha256: of its files of rows, in the order of the entries.
    """

    router: str
    learned: bool
    of_bound: Numbers
    entries: Mapping[str, OnEntry]
    rows_sha256: str


@dataclass(frozen=True)
class Board:
    """All standings, and what the episodes of the entries come to at most.

    Attributes:
        bounds: mean bound of each entry, as a share of the peak.
    """

    suite: str
    episodes: int
    bounds: Mapping[str, float] = field(default_factory=dict)
    standings: Sequence[Standing] = ()

    @property
    def ranked(self) -> list[Standing]:
        """Best first."""
        return sorted(self.standings, key=lambda s: (-(s.of_bound["mean"] or 0.0), s.router))

    def with_rows(self, directory: Path, suite: Suite) -> Board:
        """The board with the routers of a directory whose rows are confirmed.

        Raises:
            ConfigError: rows that are not confirmed or not complete, other bounds than those on the
                board, or a name that stands on the board for other rows.
        """
        results = confirmed_results(directory, suite)
        bounds = {entry: bound_of(results, entry) for entry in suite.entries}
        for entry, bound in self.bounds.items():
            require(bounds[entry] == bound, f"bound of {entry}", bounds[entry], f"{bound}")
        known = {standing.router: standing for standing in self.standings}
        for standing in standings(results, directory, suite):
            before = known.setdefault(standing.router, standing)
            accepted = f"another name than one on the board, {', '.join(known)}"
            same = before.rows_sha256 == standing.rows_sha256
            require(same, "router", f"{standing.router}, with other rows", accepted)
        return replace(self, bounds=bounds, standings=tuple(known.values()))

    def save(self, path: Path) -> None:
        """Keep it."""
        write_atomically(path, (json.dumps(asdict(self), indent=1) + "\n").encode())


def read_board(path: Path, suite: Suite) -> Board:
    """The board of a file; an empty one where there is no file.

    Raises:
        ConfigError: the file is none, or of another suite.
    """
    if not path.exists():
        return Board(suite.name, suite.episodes)
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        board = Board(**(found | {"standings": tuple(map(standing_of, found["standings"]))}))
    except (ValueError, KeyError, TypeError) as error:
        accepted = "a file that `llmroute leaderboard` wrote"
        raise ConfigError(f"{path}: cannot be read: {error}; accepted: {accepted}") from error
    ours = suite.name, suite.episodes
    require((board.suite, board.episodes) == ours, f"{path}: suite", board.suite, suite.name)
    return board


def standing_of(plain: Mapping[str, Any]) -> Standing:
    """A standing from plain data."""
    entries = {name: OnEntry(**figures) for name, figures in plain["entries"].items()}
    return Standing(**{**plain, "entries": entries})


def standings(results: Results, directory: Path, suite: Suite) -> list[Standing]:
    """What every router of a directory came to."""
    agents = list(dict.fromkeys(row["agent"] for row in results.rows))
    return [
        Standing(
            router=agent,
            learned=results.cells[suite.entries[0], agent].first["learned"],
            of_bound=of_bound(results, suite.entries, agent),
            entries={entry: on_entry(results, entry, agent) for entry in suite.entries},
            rows_sha256=rows_sha256(results, directory, suite.entries, agent),
        )
        for agent in agents
    ]


def of_bound(results: Results, entries: Sequence[str], agent: str) -> Numbers:
    """Interquartile mean of utility / bound over all episodes, with its interval."""
    cells = [results.cells[entry, agent] for entry in entries]
    rng = np.random.default_rng(SEED)
    found = crossed_bootstrap(
        [cell.of_bound() for cell in cells], rng, origins=[cell.origin() for cell in cells]
    )
    return rounded(found)


def on_entry(results: Results, entry: str, agent: str) -> OnEntry:
    """What a router came to on one entry."""
    cell = results.cells[entry, agent]
    met = round(cell.of_requests("deadline_met"), DIGITS)
    return OnEntry(rounded(cell.interval("utility_of_peak")), met)


def rounded(interval: Interval) -> Numbers:
    """The numbers of an interval, as a board keeps them."""
    numbers = interval.to_json().items()
    return {name: None if v is None else round(v, DIGITS) for name, v in numbers}


def bound_of(results: Results, entry: str) -> float:
    """Mean bound of an entry's episodes, as a share of the peak; the same for every router."""
    found = {
        round(cell.mean("bound_of_peak"), DIGITS)
        for (name, _), cell in results.cells.items()
        if name == entry
    }
    require(len(found) == 1, f"bounds of {entry}", sorted(found), "the same for every router")
    return found.pop()


def rows_sha256(results: Results, directory: Path, entries: Sequence[str], agent: str) -> str:
    """The fingerprint of a router's rows."""
    paths = [
        directory / ROWS / entry / f"{agent}-{seed}.jsonl"
        for entry in entries
        for seed in results.cells[entry, agent].seeds
    ]
    return sha256("".join(map(sha256_of, paths)).encode()).hexdigest()
