"""What routers cost: decisions and seconds of trainings, and the time of a decision."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks.evaluation.rows import Row
from benchmarks.report.data import Results
from benchmarks.report.page import Section, Table
from benchmarks.report.text import number

TITLE = "What routers cost"
TRAINED, CARD = "trained", "config.json"
"""In a suite's directory: the folder of its run directories; in each of these the run card."""
BY_SECONDS = "by_seconds/utility_of_peak"
"""The scalar that a training writes over seconds: agents.training.monitor.SCORE_BY_S."""


def sections(results: Results, directory: Path) -> list[Section]:
    """The chapter: trainings where the suite has any, and the time of a decision."""
    tables = (budgets(results, directory), decisions(results))
    found = tuple(table for table in tables if table.rows)
    return [Section(TITLE, found)] if found else []


def budgets(results: Results, directory: Path) -> Table:
    """Decisions and seconds of the trainings of each router."""
    rows = []
    for agent in (a for a in results.routers if runs(directory, a)):
        cards = {run: json.loads((run / CARD).read_bytes()) for run in runs(directory, agent)}
        trained_for = sorted({card["decisions"] for card in cards.values()})
        known = [s for run in cards if (s := seconds(run)) is not None]
        rows.append((agent, f"{len(cards)}", span(trained_for), spent(known)))
    return Table(
        "Training budgets",
        ("router", "trainings", "decisions", "seconds"),
        tuple(rows),
        "Decisions: of one training, those of rollouts included. Seconds: wall-clock until its "
        "last validation, beside whatever else the machine did; median, and least to most.",
    )


def decisions(results: Results) -> Table:
    """Time of one decision of each router."""
    rows = []
    for agent in results.routers:
        taken = measured_us([r for r in results.rows if r["agent"] == agent])
        if taken:
            rows.append((agent, f"{len(taken)}", number(min(taken), 1), number(median(taken), 1)))
    return Table(
        "Time of a decision",
        ("router", "measurements", "least p50, microseconds", "median p50"),
        tuple(rows),
        "Wall-clock, one request at a time on one core, in the process that evaluated and beside "
        "whatever else the machine did: the least says what a router takes.",
    )


def measured_us(rows: Sequence[Row]) -> list[float]:
    """The p50 of each measurement, of which there is one for every entry and training seed."""
    found = {(r["entry"], r["training_seed"]): r["decision_us"] for r in rows}
    return [taken["p50"] for taken in found.values() if taken]


def runs(directory: Path, agent: str) -> list[Path]:
    """Run directories of the trainings of a router, for every entry and seed."""
    found = (directory / TRAINED).glob(f"*/{agent}-*/{CARD}")
    return sorted(p.parent for p in found if p.parent.name.removeprefix(f"{agent}-").isdecimal())


def span(numbers: list[int]) -> str:
    """A number, or the least and the most."""
    ends = dict.fromkeys((numbers[0], numbers[-1]))
    return " to ".join(f"{number:,}" for number in ends)


def spent(seconds: list[int]) -> str:
    """Median, least and most; a dash where no run tells."""
    if not seconds:
        return "-"
    return f"{median(seconds):,.0f} ({min(seconds):,} to {max(seconds):,})"


def seconds(run: Path) -> int | None:
    """Seconds of a training until its last validation, as its TensorBoard files tell."""
    found = [step for path in run.glob("events.out.tfevents.*") for step in steps(path)]
    return max(found, default=None)


def steps(path: Path) -> Iterator[int]:
    """The seconds at which a run's TensorBoard file holds a score."""
    from tensorboard.compat.proto.event_pb2 import Event

    # A record is its length (8 bytes), a checksum (4), the event, and another checksum (4).
    content, start = path.read_bytes(), 0
    while start + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        event = content[start + 12 : start + 12 + length]
        # Most are of other scalars, and reading them takes long.
        if BY_SECONDS.encode() in event:
            yield int(Event.FromString(event).step)
        start += length + 16
