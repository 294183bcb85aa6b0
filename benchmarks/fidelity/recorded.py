"""What was measured on real engines: requests one by one, tables of TPOT, and times of steps.

`data/README.md` says where all of it comes from.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env.engine_specs import Line, StepTimes, Surface

DATA = Path(__file__).parent / "data"

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Setup:
    """One engine: what it may run at once, and which of the measured step times it has."""

    step_times: str
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_blocks: int


@dataclass(frozen=True)
class Assumptions:
    """What nobody measured, and no run was fitted to.

    Attributes:
        host_s, group_host_s: of every step, on one GPU and on a tensor-parallel group.
        composed_prefill_factor: of what prompts add to steps that were composed of operators
            measured one by one.
        mixed: whether attention of mixed steps is as it was measured, or a sum.
        prefix_caching: whether who was preempted finds blocks again, as both runs had it.
    """

    host_s: float = 0.5e-3
    group_host_s: float = 1e-3
    composed_prefill_factor: float = 1.15
    mixed: bool = True
    prefix_caching: bool = True


@dataclass(frozen=True, eq=False)
class Run:
    """N requests as one engine served them; all times are on one clock."""

    name: str
    setup: Setup
    arrival_s: Seconds
    queued_s: Seconds
    first_token_s: Seconds
    last_token_s: Seconds
    prompt_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]


@dataclass(frozen=True)
class TpotRow:
    """TPOT with so many requests in flight, all of the same lengths."""

    source: str
    setup: Setup
    model: str
    gpus: int
    prompt_tokens: int
    output_tokens: int
    concurrency: int
    tpot_s: float


SETUPS = {
    # One of 2588 is vLLM's `BlockPool.null_block`, which holds nothing.
    "RTX4090": Setup("RTX4090/llama3.1-8b", 256, 2048, 2587),
    # Its blocks were not recorded: 0.9 x 95.6 GiB less 16.1 GB of weights and 1.3 GiB hold more
    # than 128 of its requests ever take.
    "RTXPRO6000": Setup("RTXPRO6000/llama3.1-8b", 128, 2048, 35_728),
}
"""vLLM 0.19.0 as it was started; blocks as it said."""

LIMITS = {"h100": (1024, 8192), "a100": (256, 2048)}
"""Requests and tokens of a step, vLLM's own defaults."""


def runs() -> list[Run]:
    """Every run of which each request was recorded."""
    table = rows_of("requests.csv")
    return [_run(name, [row for row in table if row["run"] == name]) for name in SETUPS]


def _run(name: str, rows: list[dict[str, str]]) -> Run:
    def seconds(column: str) -> Seconds:
        return np.array([float(row[column]) for row in rows])

    def tokens(column: str) -> NDArray[np.int32]:
        return np.array([int(row[column]) for row in rows], np.int32)

    return Run(
        name,
        SETUPS[name],
        seconds("arrival_s"),
        seconds("queued_s"),
        seconds("first_token_s"),
        seconds("last_token_s"),
        tokens("prompt_tokens"),
        tokens("output_tokens"),
    )


def tpot_rows() -> list[TpotRow]:
    """Every row of the tables of TPOT whose requests the KV cache can hold at once."""
    found = []
    for row in rows_of("tpot.csv"):
        gpus, blocks = int(row["gpus"]), int(row["kv_blocks"])
        name = f"{row['gpu']}-tp{gpus}/{row['model']}"
        prompt, output = int(row["prompt_tokens"]), int(row["output_tokens"])
        together, tpot_s = int(row["concurrency"]), float(row["tpot_ms"]) / 1e3
        if together * (prompt + output) <= 16 * blocks:
            setup = Setup(name, *LIMITS[row["gpu"]], blocks)
            lengths = prompt, output, together
            found.append(TpotRow(row["source"], setup, row["model"], gpus, *lengths, tpot_s))
    return found


def rows_of(name: str) -> list[dict[str, str]]:
    """The rows of a table of the shipped data."""
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def step_times_of(setup: Setup, assumed: Assumptions) -> StepTimes:
    """How long the steps of an engine take."""
    measured = all_step_times()[setup.step_times]
    if "-tp" not in setup.step_times:
        if not assumed.mixed:
            measured = replace(measured, mixed=None, beside=None)
        return replace(measured, host_s=assumed.host_s)
    group = "-tp1/" not in setup.step_times
    return replace(
        measured,
        host_s=assumed.group_host_s if group else assumed.host_s,
        prefill_factor=assumed.composed_prefill_factor,
    )


@lru_cache(maxsize=1)
def all_step_times() -> Mapping[str, StepTimes]:
    """The measured step times by name, without what is assumed."""
    grids = json.loads((DATA / "step_times.json").read_text(encoding="utf-8"))
    return {name: as_step_times(grid) for name, grid in grids.items()}


def as_step_times(grids: Mapping[str, Any]) -> StepTimes:
    """Step times of one engine, of grids in microseconds."""
    return StepTimes(
        linear=as_line(grids["linear"]),
        decode=as_surface(grids["decode"]),
        prefill=as_surface(grids["prefill"]),
        mixed=as_surface(grids["mixed"]) if "mixed" in grids else None,
        beside=as_surface(grids["beside"]) if "beside" in grids else None,
        head=as_line(grids["head"]),
        source=grids["source"],
    )


def as_line(grid: Mapping[str, Any]) -> Line:
    """A line of a grid in microseconds."""
    return Line(tuple(grid["at"]), tuple(us / 1e6 for us in grid["us"]))


def as_surface(grid: Mapping[str, Any]) -> Surface:
    """A surface of a grid in microseconds."""
    seconds = tuple(tuple(us / 1e6 for us in row) for row in grid["us"])
    return Surface(tuple(grid["rows"]), tuple(grid["columns"]), seconds)
