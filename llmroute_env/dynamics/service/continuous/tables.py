"""From a configuration to the tables of continuous batching.

Seconds become fine ticks once, here; docs/continuous-batching.md says how.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.service.continuous.arrays import ENGINE, FINE_PER_S, NEVER
from llmroute_env.engine_specs import Line, StepTimes, Surface
from llmroute_env.specs import Pool

NOTHING = Surface((1,), (1,), ((0.0,),))
"""A grid of what takes no time."""


def fine(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Fine ticks of times that are no less than 0."""
    ticks: NDArray[np.int64] = np.rint(np.maximum(seconds, 0.0) * FINE_PER_S).astype(np.int64)
    return ticks


def on_line(
    knots: Sequence[int], values: NDArray[np.float64], at: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Values at `at`, (N,), between those at the knots, (K, ...): shape (N, ...).

    Below the first knot they are its own, above the last they lie on the line through two.
    """
    if len(knots) == 1:
        return np.repeat(values[:1], len(at), axis=0)
    x = np.asarray(knots)
    at = np.maximum(at, x[0])
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    spread = (-1,) + (1,) * (values.ndim - 1)
    rest = (at - x[i]).astype(np.float64).reshape(spread)
    width = (x[i + 1] - x[i]).astype(np.float64).reshape(spread)
    found: NDArray[np.float64] = values[i] + (values[i + 1] - values[i]) * rest / width
    return found


def line_ticks(line: Line, most: int) -> NDArray[np.int64]:
    """Fine ticks at 0, 1, ..., most; nothing takes nothing."""
    ticks = fine(on_line(line.at, np.array(line.seconds), np.arange(most + 1)))
    ticks[0] = 0
    return ticks


def decode_ticks(grid: Surface, most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Attention of 0, 1, ..., most requests at the knots of mean context, and its slopes there."""
    requests = np.arange(most + 1)
    ticks = fine(on_line(grid.rows, np.array(grid.seconds), requests))
    slopes = np.zeros_like(ticks)
    widths = np.diff(grid.columns)
    rises = np.diff(ticks, axis=1)[1:]
    slopes[1:, :-1] = np.rint(rises / (requests[1:, None] * widths)).astype(np.int64)
    ticks[0] = 0
    return ticks, slopes


def prompt_ticks(times: StepTimes, most: int) -> NDArray[np.int64]:
    """Attention of a chunk of 0, 1, ..., most tokens that begins a prompt: of the first column."""
    grid = times.prefill
    seconds = on_line(grid.rows, np.array(grid.seconds)[:, 0], np.arange(most + 1))
    return fine(seconds * times.prefill_factor)


def stack(tables: list[NDArray[Any]]) -> NDArray[Any]:
    """Tables of different sizes as one, with zeros after the shorter ones."""
    shape = np.max([table.shape for table in tables], axis=0)
    stacked = np.zeros((len(tables), *shape), tables[0].dtype)
    for row, table in zip(stacked, tables, strict=True):
        row[tuple(map(slice, table.shape))] = table
    return stacked


def grids(name: str, surfaces: Sequence[Surface]) -> dict[str, NDArray[Any]]:
    """The knots and seconds of a grid of every pool, as EngineTables has them."""
    return {
        f"{name}_rows": stack([np.array(grid.rows, np.int64) for grid in surfaces]),
        f"{name}_columns": stack([np.array(grid.columns, np.int64) for grid in surfaces]),
        f"{name}_s": stack([np.array(grid.seconds) for grid in surfaces]),
    }


def step_times_of(config: Any, pool: Pool) -> StepTimes:
    """How long steps take in a pool, which hosts one model."""
    model = config.resolved_profile.model(pool.models[0])
    found: StepTimes = model.step_times[config.gpu_of(pool).name]
    return found


def engine_tables(config: Any, sizes: Sequence[dict[str, float]]) -> dict[str, NDArray[Any]]:
    """The arrays of EngineTables by name; `sizes` are those of ENGINE that are limits, per pool."""
    times = [step_times_of(config, pool) for pool in config.pools]
    engines = np.zeros(len(times), ENGINE)
    for row, own, step in zip(engines, sizes, times, strict=True):
        for name, value in own.items():
            row[name] = value
        row["most_leap"] = NEVER
        row["host"] = fine(np.array(step.host_s))
        row["prefill_factor"] = step.prefill_factor
        row["decode_knots"] = len(step.decode.columns)
        for name, grid in (("prefill", step.prefill), ("beside", step.beside or NOTHING)):
            row[f"{name}_rows"], row[f"{name}_columns"] = len(grid.rows), len(grid.columns)
    most = [int(own["most_running"]) for own in sizes]
    # One token more than a step has: predictions ask where all of a step's are taken.
    tokens = [int(own["most_tokens"]) + 1 for own in sizes]
    decode, slopes = zip(*map(decode_ticks, [t.decode for t in times], most), strict=True)
    of_mixed = [t.mixed or t.decode for t in times]
    mixed, mixed_slopes = zip(*map(decode_ticks, of_mixed, most), strict=True)
    return {
        "engines": engines,
        "linear": stack([line_ticks(t.linear, n) for t, n in zip(times, tokens, strict=True)]),
        "head": stack([line_ticks(t.head, n) for t, n in zip(times, most, strict=True)]),
        "decode_knots": stack([np.array(t.decode.columns, np.int64) for t in times]),
        "decode": stack(list(decode)),
        "decode_slope": stack(list(slopes)),
        "mixed": stack(list(mixed)),
        "mixed_slope": stack(list(mixed_slopes)),
        **grids("prefill", [t.prefill for t in times]),
        "prompt": stack([prompt_ticks(t, n) for t, n in zip(times, tokens, strict=True)]),
        **grids("beside", [t.beside or NOTHING for t in times]),
        "mean_output_tokens": np.ascontiguousarray(config.mean_tokens[:, 1]),
    }
