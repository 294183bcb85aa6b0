"""Requests of instances that serve many at once, as slices of a timeline.

Every instance is a group of tracks. A request takes the first track that is free when it is
admitted: its prompt until the first token, then its answer until the last. In front of them are
how many run and how many wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.state import COMES_BACK, LOST, OUTCOMES, REJECTED, Records

FIRST_INSTANCE = 10
"""Number of the group of instance 0; those before are of the whole cluster."""

Event = dict[str, Any]


def request_slices(completions: Records, tokens: Records, config: EnvConfig) -> Iterable[Event]:
    """The tracks of all instances: what was admitted there, and the names of the groups."""
    pools = [pool for pool in config.pools for _ in range(pool.gpus)]
    for gpu, pool in enumerate(pools):
        group = FIRST_INSTANCE + gpu
        title = f"instance {gpu}: {pool.models[0]} on {config.gpu_of(pool).name}"
        yield named("process_name", group, name=title)
        yield named("process_sort_index", group, sort_index=group)
        elsewhere = np.isin(completions["outcome"], (REJECTED, LOST, *COMES_BACK))
        rows = np.flatnonzero((completions["gpu"] == gpu) & ~elsewhere)
        rows = rows[np.lexsort((completions["decision"][rows], completions["start_s"][rows]))]
        began = rows[tokens["output_tokens"][rows] + tokens["preemptions"][rows] > 0]
        for row, track in zip(began, free_tracks(completions[began]), strict=True):
            yield from slices_of(completions[row], tokens[row], config, group, track)
        yield from counts_of(completions[rows], group)


def named(kind: str, group: int, **args: Any) -> Event:
    """A name or place of a group of tracks."""
    return {"ph": "M", "name": kind, "pid": group, "tid": 0, "args": args}


def free_tracks(requests: Records) -> list[int]:
    """The lowest track that is free for each, in order of their starts."""
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    tracks = []
    for start_s, finish_s in zip(requests["start_s"], requests["finish_s"], strict=True):
        while busy and busy[0][0] <= start_s:
            heapq.heappush(free, heapq.heappop(busy)[1])
        track = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (float(finish_s), track))
        tracks.append(track)
    return tracks


def slices_of(
    request: np.void, tokens: np.void, config: EnvConfig, group: int, track: int
) -> Iterable[Event]:
    """The prompt and the answer of one request."""
    start_s, first_s, finish_s = request["start_s"], tokens["first_token_s"], request["finish_s"]
    args = {
        "decision": int(request["decision"]),
        "task": config.tasks[request["task"]],
        "outcome": OUTCOMES[request["outcome"]],
        "utility": float(request["utility"]),
        "waited, ms": 1e3 * float(start_s - request["arrival_s"]),
        "prompt tokens": int(tokens["prompt_tokens"]),
        "answered tokens": int(tokens["output_tokens"]),
        "preemptions": int(tokens["preemptions"]),
    }
    again = f", preempted {args['preemptions']} times" if args["preemptions"] else ""
    for name, begin_s, end_s in (("prefill", start_s, first_s), ("decode", first_s, finish_s)):
        begin_us, end_us = nanoseconds(begin_s) / 1e3, nanoseconds(end_s) / 1e3
        if end_us > begin_us:
            yield {
                "ph": "X",
                "cat": name,
                "name": name + (again if name == "decode" else ""),
                "pid": group,
                "tid": track + 1,
                "ts": begin_us,
                "dur": round(max(end_us - begin_us - 0.002, 0.0), 3),
                "args": args,
            }


def nanoseconds(seconds: Any) -> int:
    """Whole nanoseconds, as viewers keep them."""
    return round(float(seconds) * 1e9)


def counts_of(requests: Records, group: int) -> Iterable[Event]:
    """How many run and how many wait, whenever one of them changes.

    One who is preempted counts as running.
    """
    moments = [requests[name] for name in ("arrival_s", "start_s", "finish_s")]
    time_s: NDArray[np.float64] = np.concatenate(moments)
    count = len(requests)
    waiting = np.repeat([1, -1, 0], count)
    running = np.repeat([0, 1, -1], count)
    order = np.argsort(time_s, kind="stable")
    totals = np.cumsum(np.stack([running, waiting], axis=1)[order], axis=0)
    times = time_s[order]
    last = np.flatnonzero(np.diff(times, append=np.inf) > 0)
    for at_s, (runs, waits) in zip(times[last], totals[last].tolist(), strict=True):
        values = {"running": runs, "waiting": waits}
        at_us = nanoseconds(at_s) / 1e3
        yield {"ph": "C", "name": "requests", "pid": group, "tid": 0, "ts": at_us, "args": values}
