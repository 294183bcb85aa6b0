"""Traces of a user's own: the requests of a file, and how they are found and checked again."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path

from traces import catalog
from traces.errors import TraceError, require
from traces.tasks import TASKS, Mix
from traces.trace import Trace
from traces.typed import check_fields
from traces.workloads import with_tasks


@dataclass(frozen=True)
class TraceFile:
    """Where a trace is, what it held when it was found, and how its counts become requests.

    Attributes:
        paths: one file of any known format, the name of a bundled trace, or several days of calls
            per minute.
        cv: of calls per minute: coefficient of variation of the gaps; None spreads the calls of a
            minute over it uniformly.
        mix: how tasks are drawn; None: the tasks that the file names, and where it names none,
            those that the environment's mix gives.
        tasks: names of those that are drawn.
        seed: of the drawn tasks.
        sha256: of the files' content; empty for whatever they hold.
    """

    paths: tuple[str, ...]
    cv: float | None = None
    mix: Mix | None = None
    tasks: tuple[str, ...] = TASKS
    seed: int = 0
    sha256: str = ""

    def __post_init__(self) -> None:
        check_fields(self, "trace ")
        require(self.seed >= 0, "trace seed", self.seed, ">= 0")
        require(bool(self.paths), "trace", self.paths, "at least one file")

    def open(self) -> FileTrace:
        """The requests.

        Raises:
            TraceError: no such file, no trace, other content than `sha256` says, or a `cv` for
                requests that have times.
        """
        # Importing polars takes half a second.
        from traces.readers.read import read

        if len(self.paths) == 1 and self.paths[0] in catalog.NAMES:
            reading = catalog.reading(self.paths[0])
        else:
            reading = read([self.found(path) for path in self.paths])
        name, found = ", ".join(self.paths), reading.report.sha256
        if self.sha256 not in ("", found):
            raise TraceError(
                f"trace {name}: its content has changed: got sha256 {found}; "
                f"accepted: {self.sha256}, as it was recorded"
            )
        timed = isinstance(reading.content, Trace)
        require(self.cv is None or not timed, "cv", self.cv, f"none: {name} has times of its own")
        require(self.cv is None or 0 < self.cv < math.inf, "cv", self.cv, "a finite number > 0")
        trace = self.mixed(reading.trace(self.cv))
        fields = {field.name: getattr(trace, field.name) for field in dataclasses.fields(Trace)}
        file = dataclasses.replace(self, sha256=found)
        return FileTrace(**fields, file=file, opened=trace.provenance.operations)

    def mixed(self, trace: Trace) -> Trace:
        """The trace with tasks that are drawn by the mix, if one is given, whatever the file's."""
        if self.mix is None:
            return trace
        accepted = f"one weight per task, {len(self.tasks)}"
        require(self.mix.tasks == len(self.tasks), "mix", self.mix, accepted)
        untold = dataclasses.replace(trace, has_tasks=False)
        return with_tasks(untold, self.mix, self.tasks, self.seed)

    def found(self, path: str) -> Path:
        """Where a file is: where it was, or in the folder that one is in."""
        places = [Path(path)] + [Path(Path(path).name)] * (self.sha256 != "")
        here = next((place for place in places if os.path.isfile(place)), None)
        if here is None:
            recorded = f", with the sha256 {self.sha256}" if self.sha256 else ""
            accepted = f"an existing file{recorded}, or one of {', '.join(catalog.NAMES)}"
            raise TraceError(f"trace: got {path!r}, which is not there; accepted: {accepted}")
        return here


@dataclass(frozen=True, eq=False, repr=False)
class FileTrace(Trace):
    """A trace that remembers the file of which it holds every request.

    Attributes:
        opened: operations of its provenance when it was opened; with more of them it is no longer
            what the file holds.
    """

    file: TraceFile = TraceFile(("",))
    opened: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same content, read alike, wherever it is."""
        if not isinstance(other, FileTrace):
            return NotImplemented
        return self.identity == other.identity

    def __hash__(self) -> int:
        """Equal traces have the same."""
        return hash(self.identity)

    def __repr__(self) -> str:
        """What it is of, rather than every request."""
        return f"FileTrace({self.file!r}, {len(self)} requests)"

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes the requests what they are."""
        return self.file.sha256, self.file.cv, self.provenance.operations

    @property
    def is_whole(self) -> bool:
        """Whether nothing was done to the requests since they were read."""
        return self.provenance.operations == self.opened


def read_trace(*paths: str | Path, cv: float | None = None, mix: Mix | None = None) -> FileTrace:
    """The requests of a file of any known format, for `LLMRouteEnv(workload=...)`; see TraceFile.

    Run cards and run directories hold its name and the sha256 of its content.

    Raises:
        TraceError: no such file, or no trace.
    """
    return TraceFile(tuple(map(str, paths)), cv, mix).open()
