"""Open loops at an engine: how much it can serve, and what shares of that come to."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measuring.bench import DTYPES
from benchmarks.measuring.scheduling import PAGE, Limits
from benchmarks.measuring.serving import Engine, Requests, serve
from benchmarks.measuring.shapes import EngineShape
from traces import catalog

LOADS = (0.7, 1.1)
"""Shares of what the engine can serve."""

KEPT_BYTES = 4 * 2**30
"""Of a GPU's memory that is free beside the weights, for what steps compute with."""

MOST_PAGES = 2048


@dataclass(frozen=True)
class Effort:
    """How much is served.

    Attributes:
        at_once: requests by which it is found how much an engine can serve.
        seconds: in which requests arrive; they may take as long again to be answered.
        most_prompt, most_output: tokens.
    """

    at_once: int = 256
    seconds: float = 15.0
    most_prompt: int = 1536
    most_output: int = 256


def lengths(count: int, effort: Effort, rng: np.random.Generator) -> NDArray[np.int64]:
    """Prompts and answers of conversations (Azure 2023), cut to what fits: shape (2, count)."""
    trace = catalog.load("azure-conv")
    picks = rng.integers(len(trace), size=count)
    drawn = np.stack([trace.prompt_tokens[picks], trace.output_tokens[picks]]).astype(np.int64)
    most = np.array([[effort.most_prompt], [effort.most_output]])
    found: NDArray[np.int64] = np.clip(drawn, 1, most)
    return found


def poisson(rate_per_s: float, effort: Effort, rng: np.random.Generator) -> Requests:
    """Requests that arrive at random at a rate, for so many seconds; at least one."""
    count = max(int(rng.poisson(rate_per_s * effort.seconds)), 1)
    arrival_s = np.sort(rng.uniform(0.0, effort.seconds, count))
    return Requests(arrival_s, *lengths(count, effort, rng))


def limits_for(shape: EngineShape, device: str, weights_bytes: int) -> Limits:
    """As many pages as the memory holds beside the weights."""
    pages = 64
    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        page_bytes = shape.kv_numbers_per_token * PAGE * DTYPES[device].itemsize
        pages = min(int((free - weights_bytes - KEPT_BYTES) // page_bytes), MOST_PAGES)
    return Limits(most_running=256, most_tokens=2048, pages=max(pages, 8))


def measure_loads(
    shape: EngineShape,
    device: str,
    effort: Effort,
    weights_bytes: int,
    keep: Callable[[str, dict[str, Any]], None],
) -> None:
    """Find what an engine serves, then send shares of it; `keep` gets every run as it ends."""
    rng = np.random.default_rng(0)
    release(device)
    with torch.inference_mode():
        engine = Engine(shape, device, limits_for(shape, device, weights_bytes))
        at_once = Requests(np.zeros(effort.at_once), *lengths(effort.at_once, effort, rng))
        full = serve(engine, at_once, limit_s=4 * effort.seconds)
        answered = sum(at_s is not None for at_s in full["last_token_s"])
        rate_per_s = answered / full["spent_s"]
        own = {"limits": asdict(engine.limits), "page_tokens": PAGE, "requests_per_s": rate_per_s}
        keep("full", {**own, **full})
        for load in LOADS:
            sent = poisson(load * max(rate_per_s, 1e-3), effort, rng)
            keep(f"{load:.0%}", {**own, "load": load, **serve(engine, sent, 2 * effort.seconds)})
    del engine
    release(device)


def release(device: str) -> None:
    """Give back the memory of what nobody uses any more."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
