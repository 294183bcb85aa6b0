"""From a workload to the tape of requests that episodes are windows of."""

from __future__ import annotations

import dataclasses
import math
import zlib

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.cluster import Tape
from llmroute_env.dynamics.service.models import SERVICES
from llmroute_env.dynamics.state import Records
from llmroute_env.specs import ConfigError, require
from traces.errors import TraceError
from traces.lengths import LENGTHS, as_measured, at_least_1
from traces.trace import Trace
from traces.workloads import build, take_split, with_tasks


def workload_trace(config: EnvConfig) -> tuple[Trace, float]:
    """The trace of the configuration's split, and the load of the whole tape.

    Raises:
        ConfigError: the workload cannot be built, or has no request in this split.
    """
    if isinstance(config.workload, Trace):
        trace = config.workload
        require(len(trace) > 0, "workload", trace, "a Trace with at least one request")
        tape_load = trace.mean_rate_per_s / config.load_1_per_s
        drawn = config.resolved_mix, config.tasks, config.workload_seed
        trace = take_split(with_tasks(trace, *drawn), config.split)
    else:
        low, high = config.load_range
        tape_load = math.sqrt(low * high)
        rate_per_s = tape_load * config.load_1_per_s
        seed, tasks = config.workload_seed, config.tasks
        recipe = config.workload, rate_per_s, config.resolved_mix, tasks, config.split, seed
        try:
            trace = build(*recipe)
        except TraceError as error:
            # Whoever makes an env need not know which room finds a setting impossible.
            raise ConfigError(str(error)) from error
        if not SERVICES[config.service].reads_lengths:
            # Traces of a user's own stay as they are: fingerprints cover lengths, even unread ones.
            trace = as_measured(trace)
    if len(trace) == 0:
        raise ConfigError(f"split: {config.split!r} of the workload has no request")
    return with_lengths(trace, config), tape_load


def with_lengths(trace: Trace, config: EnvConfig) -> Trace:
    """The trace, each request as long as `lengths` says for its task, or else as it is.

    They are drawn from a stream of their own, task after task.
    """
    if not config.lengths:
        return trace
    seed = config.workload_seed, zlib.crc32(b"lengths"), zlib.crc32(config.split.encode())
    rng = np.random.default_rng(seed)
    drawn = np.stack([trace.prompt_tokens, trace.output_tokens])
    for number, task in enumerate(trace.tasks):
        if task in config.lengths:
            rows = np.flatnonzero(trace.task == number)
            drawn[:, rows] = config.lengths[task].sample(len(rows), rng)
    return dataclasses.replace(
        trace,
        prompt_tokens=drawn[0],
        output_tokens=drawn[1],
        provenance=trace.provenance.then(f"lengths by {dict(config.lengths)!r}"),
    )


def make_tape(trace: Trace, config: EnvConfig) -> Tape:
    """The trace as the dynamics read it; its tasks become rows of the accuracy table."""
    for task in trace.tasks:
        require(task in config.tasks, "workload task", task, ", ".join(config.tasks))
    rows = np.array([config.tasks.index(task) for task in trace.tasks], np.int16)
    classes = draw_classes(config, len(trace))
    read = slice(None) if SERVICES[config.service].reads_lengths else slice(0)
    lengths = [at_least_1(getattr(trace, name)[read]) for name in LENGTHS]
    times = unlocked(np.ascontiguousarray(trace.arrival_s))
    return Tape(times, rows[trace.task], classes, *lengths)


def unlocked(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same numbers as an array that is not read-only: one type, one compilation."""
    try:
        view = array.view()
        view.flags.writeable = True
    except ValueError:
        # Whoever made it does not let it change.
        return array.copy()
    return view


def most_requests(tape: Tape, rules: Records) -> int:
    """The most requests that the window of an episode can hold."""
    length_s = float(rules["window_s"] * rules["max_load"] / rules["tape_load"])
    ends = np.searchsorted(tape.arrival_s, tape.arrival_s + length_s)
    return int((ends - np.arange(len(ends))).max())


def draw_classes(config: EnvConfig, requests: int) -> NDArray[np.int16]:
    """The class of each of the requests of a split, drawn independently; shape (N,)."""
    # A stream of its own, so that classes shift neither arrivals nor tasks.
    seed = config.workload_seed, zlib.crc32(b"classes"), zlib.crc32(config.split.encode())
    shares = config.class_shares
    if len(shares) == 1:
        return np.zeros(requests, np.int16)
    return np.random.default_rng(seed).choice(len(shares), requests, p=shares).astype(np.int16)
