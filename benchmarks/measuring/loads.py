"""Open loops at an engine: how much it can serve, and what shares of that come to."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measuring.bench import DTYPES
from benchmarks.measuring.scheduling import PAGE, Limits
from benchmarks.measuring.serving import Engine, Requests, serve
from benchmarks.measuring.shapes import EngineShape
from benchmarks.measuring.transformers_engine import TransformersEngine, installed, limits_beside
from benchmarks.measuring.transformers_model import attention_on
from traces import catalog

LOADS = (0.7, 1.1)
"""Shares of what the engine can serve."""

BESIDE_LOADS = (0.7,)
"""Shares of what transformers can serve, for which there is less time."""

KEPT_BYTES = 4 * 2**30
"""Of a GPU's memory that is free beside the weights, for what steps compute with."""

MOST_PAGES = 2048

Keep = Callable[[str, dict[str, Any]], None]
"""Gets a run's name and what it found."""


@dataclass(frozen=True)
class Effort:
    """How much is served.

    Attributes:
        at_once: requests by which it is found how much an engine can serve.
        seconds: in which requests arrive; they may take as long again to be answered.
        most_prompt, most_output: tokens.
        most_at_once_s: what those at once may take.
    """

    at_once: int = 256
    seconds: float = 15.0
    most_prompt: int = 1536
    most_output: int = 256
    most_at_once_s: float = 60.0


def briefly(effort: Effort) -> Effort:
    """As much as there is time for beside our own loop: a model takes 22 s at most, once ready.

    That is 12 s for those at once, and 5 s in which requests come with 5 s more to answer them: of
    three models about a minute of the eight that a check may take.
    """
    return replace(
        effort,
        at_once=min(effort.at_once, 128),
        seconds=min(effort.seconds, 5.0),
        most_at_once_s=min(effort.most_at_once_s, 12.0),
    )


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
    keep: Keep,
) -> None:
    """Find what an engine serves, then send shares of it; `keep` gets every run as it ends.

    Our loop is measured always, transformers after it where that is installed.
    """
    release(device)
    limits = limits_for(shape, device, weights_bytes)
    with torch.inference_mode():
        send = partial(serve, Engine(shape, device, limits))
        send_loads(send, told_limits(limits), effort, LOADS, keep)
    del send
    release(device)
    if installed():
        measure_transformers(shape, device, briefly(effort), limits, keep)
        release(device)


def measure_transformers(
    shape: EngineShape, device: str, effort: Effort, limits: Limits, keep: Keep
) -> None:
    """The same of transformers, at BESIDE_LOADS, under names that begin with `transformers`.

    It depends on a library that changes, and is beside the point of a check: if it fails, that is
    kept as the run `transformers`, with the reason.
    """
    try:
        most = effort.most_prompt + effort.most_output
        own = limits_beside(limits, most, attention_on(device))
        with torch.inference_mode():
            engine = TransformersEngine(shape, device, own)
            told = {"engine": f"transformers {engine.version}", **told_limits(own)}
            send_loads(engine.serve, told, effort, BESIDE_LOADS, beside(keep))
            engine.close()
    except Exception as error:  # The part has more to keep than this.
        keep("transformers", {"failed": f"{type(error).__name__}: {error}"})


def beside(keep: Keep) -> Keep:
    """Keeps runs of transformers beside ours."""
    return lambda run, found: keep(f"transformers-{run}", found)


def send_loads(
    send: Callable[[Requests, float], dict[str, Any]],
    told: dict[str, Any],
    effort: Effort,
    loads: Sequence[float],
    keep: Keep,
) -> None:
    """Find what one engine serves, then send shares of it.

    Args:
        send: serves requests for so many seconds at most, as `serve` does.
        told: of the engine, what is kept with every run.
        effort: how much is served.
        loads: the shares.
        keep: gets every run as it ends.
    """
    rng = np.random.default_rng(0)
    at_once = Requests(np.zeros(effort.at_once), *lengths(effort.at_once, effort, rng))
    full = send(at_once, effort.most_at_once_s)
    answered = sum(at_s is not None for at_s in full["last_token_s"])
    rate_per_s = answered / full["spent_s"]
    own = {**told, "requests_per_s": rate_per_s}
    keep("full", {**own, **full})
    for load in loads:
        sent = poisson(load * max(rate_per_s, 1e-3), effort, rng)
        keep(f"{load:.0%}", {**own, "load": load, **send(sent, 2 * effort.seconds)})


def told_limits(limits: Limits) -> dict[str, Any]:
    """What is kept of an engine's limits."""
    return {"limits": asdict(limits), "page_tokens": PAGE}


def release(device: str) -> None:
    """Give back the memory of what nobody uses any more."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
