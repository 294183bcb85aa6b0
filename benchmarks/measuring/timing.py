"""Median times of repeated work."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.latency import as_graph

WARM_UP = 2
"""Runs before those that count."""

FLUSHED_BYTES = 2**28
"""Written before each run on a GPU: more than it keeps at hand (50 MB on an H100), so that every
run finds weights and keys in memory, where those of a real step are."""

Work = Callable[[], None]


def on_device_s(work: Work, device: str, repeats: int) -> float:
    """Median seconds that `work` keeps the device busy: on a GPU that of one CUDA graph."""
    if device != "cuda":
        return by_the_clock_s(work, repeats)
    run = as_graph(work)
    for _ in range(WARM_UP):
        run()
    held = torch.empty(FLUSHED_BYTES, dtype=torch.int8, device=device)
    marks = [moment() for _ in range(2 * repeats)]
    for before, after in zip(marks[::2], marks[1::2], strict=True):
        held.zero_()
        before.record()
        run()
        after.record()
    torch.cuda.synchronize()
    pairs = zip(marks[::2], marks[1::2], strict=True)
    return statistics.median([1e-3 * float(a.elapsed_time(b)) for a, b in pairs])


def moment() -> torch.cuda.Event:
    """What a GPU notes the time at."""
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def by_the_clock_s(work: Work, repeats: int) -> float:
    """Median seconds from the call of `work` to its return."""
    times_s = []
    for _ in range(WARM_UP + repeats):
        started_s = time.perf_counter()
        work()
        times_s.append(time.perf_counter() - started_s)
    return statistics.median(times_s[WARM_UP:])
