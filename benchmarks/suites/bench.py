"""Runs a suite into a directory, and what was run can be continued: `llmroute bench`.

suite.json      what the directory holds: it may grow, another suite is refused
bounds/         upper bounds of the test episodes
tuned/          settings of the controls and how they were found
trained/        run directories of learned routers, and of those that are made of them
given/          copies of run directories that the user brought
rows/           one file per (entry, router, training seed), one line per episode
scratch/        what interrupted trainings left
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from agents.heuristics.models import HEURISTICS
from agents.heuristics.table import CONTROLS, TUNABLE
from agents.loading import is_heuristic, run_of, shipped
from agents.settings.presets import COMBINATIONS, SETTINGS
from benchmarks.evaluation.row_files import ROWS, SUITE
from benchmarks.evaluation.tuned_controls import BEST_SINGLE, FOLLOWED
from benchmarks.suites.cells import Bound, Cell, TrainRouter, TuneControl
from benchmarks.suites.combine import CombineRouters
from benchmarks.suites.entries.entry import Entry
from benchmarks.suites.entries.every import ENTRIES, training_entry
from benchmarks.suites.evaluate import EvaluateRouter
from benchmarks.suites.measure_looseness import MeasureLooseness
from benchmarks.suites.suite import TUNED, UNTUNED, Suite
from benchmarks.suites.workers import Workers, run_cells
from llmroute_env.recording.files import alone, write_atomically
from llmroute_env.recording.serialization import anywhere, to_plain
from llmroute_env.specs import ConfigError, require

SEVERAL_SEEDS = {"main", "static", "several-seeds", "testing"}
"""Tags of the entries on which learned routers are trained with all seeds of the suite."""

ROWS_IGNORE = {"summary", "main_only", "rollout_on"}
"""Fields of a suite on which no row depends."""

MEASURES_LOOSENESS, INSTANCES = {"paper"}, 10
"""Suites that also measure how loose their bounds are, and on how many instances per load."""


NEEDED, SOURCE = ("config.json", "weights.safetensors"), "source.txt"
"""Files of a router that the user brought, and where it was brought from."""

OWN_NAMES = {*HEURISTICS, *CONTROLS, *SETTINGS, *COMBINATIONS, *UNTUNED, *TUNED, *FOLLOWED}
"""Names of rows that a router brought by the user cannot have."""


@dataclasses.dataclass(frozen=True)
class Work:
    """The cells of a suite: those that prepare, that combine what was trained, that yield rows."""

    prepare: tuple[Cell, ...]
    combine: tuple[CombineRouters, ...]
    evaluate: tuple[EvaluateRouter, ...]

    def __len__(self) -> int:
        """Number of distinct cells."""
        return len({cell.output for cell in (*self.prepare, *self.combine, *self.evaluate)})


def bench(suite: Suite, out: Path, workers: Workers, given: Sequence[Path] = ()) -> int:
    """Run what is missing of `suite` in `out`; returns how many cells that was.

    Args:
        suite: what to compare on what.
        out: the directory; an interrupted suite goes on in its own.
        workers: who does the work.
        given: run directories of routers to compare as well, each under its name; a shipped one
            is `pretrained:NAME`.

    Raises:
        ConfigError: the directory holds another suite, or another process is in it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with alone(out):
        write_suite(suite, out)
        adopt(given, out)
        work = plan(suite, out)
        ran = run_cells(work.prepare, out, workers, "prepare")
        ran += run_cells(work.combine, out, workers, "combine")
        return ran + run_cells(work.evaluate, out, workers, "evaluate")


def write_suite(suite: Suite, out: Path) -> None:
    """Say what the directory holds, or check that it holds a part of the suite."""
    wanted = definition(suite)
    path = out / SUITE
    held = json.loads(path.read_bytes()) if path.exists() else None
    if held is not None and not is_part(held, wanted):
        raise ConfigError(
            f"out: got {str(out)!r}, which holds another suite or another version of "
            f"{suite.name!r}; accepted: a new directory, or one with a part of the suite"
        )
    if held != wanted:
        write_atomically(path, json.dumps(wanted, indent=1).encode())


def is_part(held: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether `wanted` only adds seeds, routers or entries: all rows that are there remain."""
    held, wanted = anywhere(held), anywhere(wanted)
    before, after = held["suite"], wanted["suite"]
    grows = before["seeds"] <= after["seeds"] and all(
        set(before[name]) <= set(after[name]) for name in ("agents", "entries")
    )
    others = before.keys() - {"seeds", "agents", "entries"} - ROWS_IGNORE
    configs = held["test_configs"].items()
    return (
        grows
        and all(before[name] == after.get(name) for name in others)
        and all(config == wanted["test_configs"].get(id) for id, config in configs)
    )


def definition(suite: Suite) -> dict[str, Any]:
    """A suite as data, with the whole environment of every entry."""
    settings = {**dataclasses.asdict(suite), "entries": list(suite.entries)}
    for name in ("agents", "main_only", "rollout_on"):
        settings[name] = list(settings[name])
    configs = {entry.id: to_plain(entry.config("test")) for entry in suite.resolved_entries}
    return {"suite": settings, "test_configs": configs}


def adopt(given: Sequence[Path], out: Path) -> None:
    """Copy the routers that the user brought, so that the directory holds all that rows need."""
    for path in given:
        source = run_of(str(path)).resolve()
        accepted = "a run directory, with config.json and weights.safetensors"
        complete = all((source / name).is_file() for name in NEEDED)
        require(complete, "agent", str(path), accepted)
        # Not every system has colons in the names of files.
        name = path.name.replace(":", "-") if str(path) in shipped() else source.name
        copy = place_of(source, name, out / "given")
        if copy.exists() and not is_same(source, copy):
            print(f"{path} has changed: its rows are computed anew", file=sys.stderr)
            for rows in out.glob(f"{ROWS}/*/{copy.name}-0.jsonl"):
                rows.unlink()
        for file in NEEDED:
            write_atomically(copy / file, (source / file).read_bytes())
        write_atomically(copy / SOURCE, str(source).encode())


def place_of(source: Path, name: str, given: Path) -> Path:
    """The copy of a router that may have been brought before; numbered, if others have its name."""
    for number in count(1):
        copy = given / (name if number == 1 else f"{name}-{number}")
        if copy.name in OWN_NAMES:
            continue
        if not copy.exists() or is_same(source, copy):
            return copy
        known = copy / SOURCE
        # Older versions did not say: they had one router to a name.
        if not known.exists() or known.read_text() == str(source):
            return copy
    raise AssertionError("numbers do not end")


def is_same(source: Path, copy: Path) -> bool:
    """Whether two run directories hold the same router."""
    return all(
        (copy / name).exists() and (copy / name).read_bytes() == (source / name).read_bytes()
        for name in NEEDED
    )


def plan(suite: Suite, out: Path) -> Work:
    """All cells of a suite."""
    prepare: list[Cell] = []
    if suite.name in MEASURES_LOOSENESS:
        prepare.append(MeasureLooseness(INSTANCES, suite.seed))
    combine: list[CombineRouters] = []
    evaluate: list[EvaluateRouter] = []
    brought = [path.name for path in sorted((out / "given").glob("*"))]
    for entry in suite.resolved_entries:
        if entry.bounded:
            prepare.append(Bound(entry, episodes_of(suite, entry), suite.seed))
        for agent in (*(entry.only or suite.agents), *entry.also):
            if agent in COMBINATIONS:
                made = combinations(suite, entry, agent)
                prepare += [member for cell in made for member in cell.members]
                combine += made
                evaluate += [made_rows(suite, entry, cell) for cell in made]
                continue
            added, cells = cells_of(suite, entry, agent)
            prepare += added
            evaluate += cells
        for name in brought:
            base = evaluation(suite, entry, name)
            evaluate.append(dataclasses.replace(base, given=f"given/{name}"))
    return Work(tuple(prepare), tuple(combine), tuple(evaluate))


def episodes_of(suite: Suite, entry: Entry) -> int:
    """Test episodes of an entry."""
    return min(suite.episodes, entry.episodes or suite.episodes)


def evaluation(suite: Suite, entry: Entry, agent: str) -> EvaluateRouter:
    """The rows of a router without training on an entry."""
    return EvaluateRouter(suite.name, entry, agent, 0, episodes_of(suite, entry), suite.seed)


def combinations(suite: Suite, entry: Entry, agent: str) -> list[CombineRouters]:
    """The routers `agent` that can be made of the suite's trainings, each of its own."""
    algorithm, size, _ = COMBINATIONS[agent]
    trained = trainings(suite, entry, algorithm)
    groups = range(len(trained) // size)
    parts = [tuple(trained[size * group : size * (group + 1)]) for group in groups]
    return [CombineRouters(agent, part, group, suite.timesteps) for group, part in enumerate(parts)]


def made_rows(suite: Suite, entry: Entry, cell: CombineRouters) -> EvaluateRouter:
    """The rows of a router that is made of trained ones."""
    base = evaluation(suite, entry, cell.agent)
    return dataclasses.replace(base, seed=cell.seed, given=cell.directory)


def trainings(suite: Suite, entry: Entry, algorithm: str) -> list[TrainRouter]:
    """The trainings of a learner for an entry: one per seed."""
    source = training_entry(entry, algorithm)
    seeds = suite.seeds if source.tags & SEVERAL_SEEDS else min(suite.seeds, 1)
    return [TrainRouter(source, algorithm, seed, suite.timesteps) for seed in range(seeds)]


def cells_of(suite: Suite, entry: Entry, agent: str) -> tuple[list[Cell], list[EvaluateRouter]]:
    """What has to be prepared for one router on one entry, and the evaluations."""
    base = evaluation(suite, entry, agent)
    if agent in FOLLOWED and entry.id not in suite.rollout_on:
        return [], []
    if agent in suite.main_only and not entry.tags & {"main", "static"}:
        return [], []
    if agent in (BEST_SINGLE, *TUNABLE, *FOLLOWED):
        control = FOLLOWED.get(agent, agent)
        source = ENTRIES[entry.tuned_on] if entry.tuned_on else entry
        window_s = source.tuning_window_s or suite.tuning_window_s
        cell = TuneControl(source, control, suite.tuning_episodes, window_s)
        most = suite.rollout_episodes if agent in FOLLOWED else base.episodes
        episodes = min(most, base.episodes)
        return [cell], [dataclasses.replace(base, tuned=cell.output, episodes=episodes)]
    if is_heuristic(agent, entry.config("test")):
        return [], [base]
    trained = trainings(suite, entry, agent)
    evaluations = [
        dataclasses.replace(base, seed=cell.seed, given=cell.directory) for cell in trained
    ]
    return list(trained), evaluations
