"""How long the parts of a step take, and whole steps beside them: the tables of a profile."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from benchmarks.latency import check_device
from benchmarks.measuring.bench import Bench
from benchmarks.measuring.grid import Grid
from benchmarks.measuring.shapes import EngineShape
from llmroute_env.engine_specs import check_step_limits
from llmroute_env.profiles.step_tables import Points, Tables
from llmroute_env.specs import ConfigError, require


@dataclass(frozen=True)
class Measured:
    """Step times of a model on a machine, and what of its memory they leave.

    Attributes:
        tables: microseconds of the four tables, each with all pairs of its rows and columns.
        whole: microseconds of whole steps, at points of `decode` and of `prefill`.
        parameters: of the model.
        weights_bytes: that they take.
        kv_bytes_per_token: what a token takes in the cache.
        reserved_bytes: what neither weights nor cache can use.
    """

    tables: Tables
    whole: Tables
    parameters: int
    weights_bytes: int
    kv_bytes_per_token: int
    reserved_bytes: int

    @cached_property
    def gaps_us(self) -> list[float]:
        """Of every whole step in which requests decode: what it takes longer than its parts."""
        return [us - self.parts_us("decode", *at) for at, us in self.whole["decode"].items()]

    def parts_us(self, table: str, row: int, column: int) -> float:
        """The sum of the parts of a whole step."""
        tables, answers = self.tables, row if table == "decode" else 1
        return tables["linear"][row, 0] + tables["head"][answers, 0] + tables[table][row, column]

    def errors(self, host_s: float) -> Iterator[float]:
        """Relative error of the parts and `host_s` together, of every whole step."""
        for table, points in self.whole.items():
            for at, us in points.items():
                yield (self.parts_us(table, *at) + 1e6 * host_s) / us - 1

    def words(self, host_s: float) -> str:
        """A step, and how far parts and host are from whole ones."""
        errors, (first, *_) = list(self.errors(host_s)), self.whole["decode"].values()
        mean, worst = statistics.fmean(map(abs, errors)), max(errors, key=abs)
        said = f"one request decodes in {first / 1e3:.3f} ms; parts and host are {100 * mean:.1f} %"
        return f"{said} off {len(errors)} whole steps, at worst {100 * worst:+.1f} %"


def host_s_of(measured: Sequence[Measured]) -> float:
    """What the host adds to a step: the median over all models; where it is below 0, nothing."""
    return max(0.0, statistics.median(gap for one in measured for gap in one.gaps_us) / 1e6)


def check_grid(grid: Grid) -> None:
    """Raise a ConfigError unless there are points that rise on every axis."""
    for name, least in {"requests": 1, "contexts": 1, "chunks": 1, "cached": 0}.items():
        axis = getattr(grid, name)
        valid = len(axis) > 0 and axis[0] >= least and sorted(set(axis)) == list(axis)
        require(valid, name, axis, f"integers >= {least} that rise")
    require(grid.cached[0] == 0, "cached", grid.cached, "0 first: the beginning of a prompt")
    check_step_limits("measured", grid.requests[-1], grid.tokens[-1])


def measure_steps(shape: EngineShape, device: str, grid: Grid, repeats: int = 30) -> Measured:
    """Step times of a decoder of a shape, with random weights.

    Args:
        shape: of the decoder.
        device: `cuda`, in bfloat16; or `cpu`, in float32.
        grid: where to measure; of contexts only those that the model has.
        repeats: of each point; the median counts.

    Raises:
        ConfigError: a grid or device that is none, or a model or cache larger than the memory.
    """
    check_device(device, repeats)
    check_grid(grid)
    try:
        with torch.inference_mode():
            return measured_of(Bench(shape, device, grid.within(shape.context_tokens), repeats))
    except torch.OutOfMemoryError as error:
        accepted = "a smaller model, fewer requests or shorter contexts"
        raise ConfigError(f"memory of {device!r}: {error}; accepted: {accepted}") from error


def measured_of(bench: Bench) -> Measured:
    """All points of the grid, part by part and whole."""
    grid = bench.grid
    tables: Tables = {
        "linear": {(n, 0): bench.dense_us(n) for n in grid.tokens},
        "decode": over(grid.requests, grid.contexts, bench.decode_us),
        "prefill": over(grid.chunks, grid.cached, bench.prefill_us),
        "head": {(s, 0): bench.head_us(s) for s in grid.requests},
    }
    whole = {
        "decode": over(grid.requests, grid.contexts, bench.whole_decode_us),
        "prefill": over(grid.chunks, (0,), bench.whole_prompt_us),
    }
    check_times(tables | {f"whole {name}": points for name, points in whole.items()})
    return Measured(tables, whole, *bench.sizes())


def over(
    rows: tuple[int, ...], columns: tuple[int, ...], value: Callable[[int, int], float]
) -> Points:
    """A value at every pair."""
    return {(row, column): value(row, column) for row in rows for column in columns}


def check_times(tables: Tables) -> None:
    """Raise a ConfigError unless all that was measured took time."""
    for table, points in tables.items():
        for (row, column), us in points.items():
            valid = math.isfinite(us) and us > 0
            where = f"measured {table} at row {row}, column {column}"
            require(valid, where, us, "microseconds > 0; measure again with more repeats")
