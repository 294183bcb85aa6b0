"""An episode as a trace that Perfetto (ui.perfetto.dev) opens.

Trace Event Format: one track per GPU with a slice per batch, and counters over time. Times are
microseconds, here in whole nanoseconds, so that batches which touch do not overlap by rounding.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.state import (
    ABORTED,
    COMES_BACK,
    COMPLETION,
    IN_TIME,
    LATE,
    LOST,
    OUTCOMES,
    REJECTED,
    RETRIED,
    SHED,
    TOKENS,
    Completion,
    Records,
)
from llmroute_env.recording.request_slices import FIRST_INSTANCE, request_slices
from llmroute_env.recording.sights import Sights
from llmroute_env.simulation.outages import Interval
from llmroute_env.specs import require

GPUS, COUNTERS = 1, 2
"""The two groups of tracks."""

RATE_BIN_S = 0.1

Event = dict[str, Any]


def timeline(
    completions: Records | Sequence[Completion],
    config: EnvConfig,
    title: str = "LLMRoute",
    tokens: Records | None = None,
    outages: Sequence[Sequence[Interval]] = (),
    sights: Sights | None = None,
) -> dict[str, Any]:
    """The requests that ended in one episode as a trace.

    Args:
        completions: of one episode, in any order: what `info["completions"]` held in its steps.
        config: of the env.
        title: what to call the group of the GPUs.
        tokens: TOKENS of the same requests, of a service that has them: then every request has
            slices of its own, in place of batches.
        outages: of every machine, where they fail: what simulation.outages lists.
        sights: what routers saw, where signals are late: what recording.sights collects.

    Returns:
        Plain data for `json.dump`, or `write_timeline`. Requests still in flight are not in it.

    Raises:
        ConfigError: completions of several envs, or a decision that ends twice.
    """
    completions = np.asarray(completions, COMPLETION)
    envs, decisions = np.unique(completions["env"]), np.unique(completions["decision"])
    single = len(envs) <= 1 and len(decisions) == len(completions)
    require(single, "completions", f"envs {envs.tolist()}", "those of one episode of one env")
    tokens = np.zeros(0, TOKENS) if tokens is None else tokens
    has_tokens = len(tokens) > 0
    served = (
        request_slices(completions, tokens, config) if has_tokens else _batches(completions, config)
    )
    tracks = [
        (FIRST_INSTANCE + gpu, 0) if has_tokens else (GPUS, gpu) for gpu in range(config.gpus)
    ]
    events = [
        *_names(config, title, not has_tokens),
        *served,
        *_waiting(completions, config),
        *_rate(completions),
        *_missed(completions, _shown(config, has_tokens)),
        *_outages(outages, config, tracks),
        *_failed(completions, tracks),
        *(_seen(sights) if sights else ()),
        *(_scrapes(sights, config, tracks) if sights else ()),
    ]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


GAP_US = 0.002
"""By which a batch is drawn shorter: viewers cut both numbers to whole nanoseconds, and draw one
that seems to begin before its predecessor has ended as part of that."""


def write_timeline(trace: dict[str, Any], path: Path) -> None:
    """Write a trace as a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(trace, allow_nan=False), encoding="utf-8")


def _names(config: EnvConfig, title: str, has_batches: bool) -> Iterable[Event]:
    groups = {GPUS: title, COUNTERS: f"{title}: queues and arrivals"}
    for process, name in groups.items():
        yield _metadata("process_name", process, 0, name=name)
        yield _metadata("process_sort_index", process, 0, sort_index=process)
    if not has_batches:
        return
    profile = config.resolved_profile
    kinds = [profile.gpu(pool.gpu).name for pool in config.pools for _ in range(pool.gpus)]
    for gpu, kind in enumerate(kinds):
        yield _metadata("thread_name", GPUS, gpu, name=f"GPU {gpu} ({kind})")
        yield _metadata("thread_sort_index", GPUS, gpu, sort_index=gpu)


def _metadata(kind: str, process: int, thread: int, **args: Any) -> Event:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": args}


def _batches(completions: Records, config: EnvConfig) -> Iterable[Event]:
    served = completions[completions["batch"] > 0]
    served = served[np.lexsort((served["decision"], served["start_s"], served["gpu"]))]
    new = np.diff(served["gpu"], prepend=-1) != 0
    new |= np.diff(served["start_s"], prepend=-1.0) != 0
    for batch in np.split(served, np.flatnonzero(new)[1:]) if len(served) else []:
        yield _slice(batch, config)


def _slice(batch: Records, config: EnvConfig) -> Event:
    first = batch[0]
    late = int((batch["outcome"] != IN_TIME).sum())
    start_us, finish_us = microseconds(np.array([first["start_s"], first["finish_s"]])).tolist()
    name = f"{config.model_names[first['model']]} x {first['batch']}"
    tasks = np.bincount(batch["task"], minlength=len(config.tasks)).tolist()
    users = np.bincount(batch["user_class"], minlength=len(config.classes)).tolist()
    classes = dict(zip(config.class_names, users, strict=True)) if config.classes else None
    return {
        "ph": "X",
        "cat": "batch",
        "name": name + (f", {late} late" if late else ""),
        "pid": GPUS,
        "tid": int(first["gpu"]),
        "ts": start_us,
        "dur": max(round(finish_us - start_us - GAP_US, 3), 0.0),
        "args": {
            "model": config.model_names[first["model"]],
            "requests": int(first["batch"]),
            "missed deadlines": late,
            "utility": float(batch["utility"].sum()),
            "longest wait, ms": 1e3 * float(first["start_s"] - batch["arrival_s"].min()),
            "tasks": dict(zip(config.tasks, tasks, strict=True)),
            **({"classes": classes} if classes else {}),
            "decisions": batch["decision"].tolist(),
        },
    }


def microseconds(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds as microseconds with three decimals."""
    rounded: NDArray[np.float64] = np.round(seconds * 1e9) / 1e3
    return rounded


def _waiting(completions: Records, config: EnvConfig) -> Iterable[Event]:
    """How many requests wait for each model, whenever that changes."""
    # Who comes back waits on: it counts from its arrival to where it is served or dropped.
    nowhere = (REJECTED, *COMES_BACK)
    queued = completions[~np.isin(completions["outcome"], nowhere)]
    names, models = config.model_names, len(config.model_names)
    model = np.concatenate([queued["model"], queued["model"]])
    time_s = np.concatenate([queued["arrival_s"], queued["start_s"]])
    change = np.zeros((len(time_s), models), np.int64)
    change[np.arange(len(time_s)), model] = np.repeat([1, -1], len(queued))
    for at_us, counts in _last_of_each(time_s, change):
        yield _counter("waiting", at_us, dict(zip(names, counts, strict=True)))


def _shown(config: EnvConfig, has_tokens: bool) -> list[int]:
    """Ways to miss a deadline that there are."""
    return [LATE, REJECTED, SHED] + [ABORTED] * has_tokens + [LOST] * (config.failures is not None)


def _missed(completions: Records, shown: Sequence[int]) -> Iterable[Event]:
    """How many requests have missed their deadline so far, by outcome."""
    missed = completions[np.isin(completions["outcome"], shown)]
    change = np.zeros((len(missed), len(OUTCOMES)), np.int64)
    change[np.arange(len(missed)), missed["outcome"]] = 1
    for at_us, counts in _last_of_each(missed["finish_s"], change):
        yield _counter("missed so far", at_us, {OUTCOMES[k]: counts[k] for k in shown})


def _outages(
    outages: Sequence[Sequence[Interval]], config: EnvConfig, tracks: Sequence[tuple[int, int]]
) -> Iterable[Event]:
    """A slice on every GPU of a machine for as long as it is down."""
    if config.failures is None:
        return
    machines = config.failures.machines([pool.gpus for pool in config.pools])
    for number, (gpus, listed) in enumerate(zip(machines, outages, strict=False)):
        for interval in listed:
            from_us, until_us = microseconds(np.array(interval)).tolist()
            for gpu in gpus:
                process, thread = tracks[gpu]
                yield {
                    "ph": "X",
                    "cat": "outage",
                    "name": f"machine {number} down",
                    "pid": process,
                    "tid": thread,
                    "ts": from_us,
                    "dur": max(round(until_us - from_us - GAP_US, 3), 0.0),
                    "args": {"machine": number},
                }


def _failed(completions: Records, tracks: Sequence[tuple[int, int]]) -> Iterable[Event]:
    """A mark on its GPU for every request that failed there."""
    failed = completions[np.isin(completions["outcome"], (RETRIED, LOST))]
    for request, at_us in zip(failed, microseconds(failed["finish_s"]).tolist(), strict=True):
        process, thread = tracks[request["gpu"]]
        args = {"decision": int(request["decision"])}
        yield {
            "ph": "i",
            "s": "t",
            "cat": "failed",
            "name": OUTCOMES[request["outcome"]],
            "pid": process,
            "tid": thread,
            "ts": at_us,
            "args": args,
        }


def _seen(sights: Sights) -> Iterable[Event]:
    """On every GPU how many wait, and how many the router sees wait, whenever that changes."""
    for gpu in range(sights.seen.shape[1]):
        for name, counts in (("waiting", sights.waiting), ("seen waiting", sights.seen)):
            change = np.diff(counts[:, gpu], prepend=0)
            for at_us, (count,) in _last_of_each(sights.at_s, change[:, None]):
                yield _counter(f"GPU {gpu} {name}", at_us, {"requests": count})


def _scrapes(
    sights: Sights, config: EnvConfig, tracks: Sequence[tuple[int, int]]
) -> Iterable[Event]:
    """A mark on its GPU where a scrape arrives of which a decision was the first to know."""
    for gpu, (process, thread) in enumerate(tracks):
        scraped_s = np.unique(sights.scraped_s[1:, gpu])
        scraped_s = scraped_s[scraped_s > sights.scraped_s[0, gpu]]
        arrive_us = microseconds(scraped_s + config.signals.delay_s).tolist()
        for of_s, at_us in zip(scraped_s.tolist(), arrive_us, strict=True):
            yield {
                "ph": "i",
                "s": "t",
                "cat": "scrape",
                "name": "scrape",
                "pid": process,
                "tid": thread,
                "ts": at_us,
                "args": {"of, s": of_s},
            }


def _last_of_each(
    time_s: NDArray[np.float64], change: NDArray[np.int64]
) -> Iterable[tuple[float, list[int]]]:
    """The running sums of `change`, shape (N, C), at each different time, us, in order."""
    order = np.argsort(time_s, kind="stable")
    totals, times_us = np.cumsum(change[order], axis=0), microseconds(time_s[order])
    last = np.flatnonzero(np.diff(times_us, append=np.inf) > 0)
    return zip(times_us[last].tolist(), totals[last].tolist(), strict=True)


def _rate(completions: Records) -> Iterable[Event]:
    """Arrivals per second in bins of RATE_BIN_S."""
    bins = (completions["arrival_s"] // RATE_BIN_S).astype(np.int64)
    counts = np.bincount(bins) if len(bins) else np.zeros(0, np.int64)
    starts_us = microseconds(np.arange(len(counts) + 1, dtype=np.float64) * RATE_BIN_S).tolist()
    for at_us, count in zip(starts_us, [*counts.tolist(), 0], strict=True):
        rate_per_s = round(count / RATE_BIN_S, 3)
        yield _counter("arrival rate", at_us, {"requests per s": rate_per_s})


def _counter(name: str, at_us: float, values: dict[str, Any]) -> Event:
    return {"ph": "C", "name": name, "pid": COUNTERS, "tid": 0, "ts": at_us, "args": values}
