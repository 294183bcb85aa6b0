"""The cluster as the compiled dynamics see it: read-only tables, one set for all envs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.state import Records

RULES = np.dtype(
    [
        ("gpus", "i8"),
        ("models", "i8"),
        ("pools", "i8"),
        ("tasks", "i8"),
        ("classes", "i8"),
        ("queue_capacity", "i8"),
        ("dispatcher", "i8"),
        ("joint_action", "b1"),  # the action is gpu * models + model
        ("reject", "b1"),  # there is one action more, which turns the request away
        ("reject_utility", "f8"),  # of doing so
        ("defer_s", "f8"),  # how long a request is put off, by one action more; 0: there is none
        ("most_defers", "i8"),  # how often one can be
        ("come_back", "b1"),  # whether requests can become pending more than once
        ("warm_up_s", "f8"),
        ("notice_s", "f8"),
        ("timeout_s", "f8"),  # until a send to a GPU that is down has failed
        ("tries", "i8"),  # how often a request can be sent
        ("machines", "i8"),  # that fail, of so many GPUs
        ("gpus_per_machine", "i8"),
        # How long they are up, or down: see failure_specs.Law; of lists that are replayed so many.
        ("up_kind", "i8"),
        ("up_mean_s", "f8"),
        ("up_mu", "f8"),
        ("up_sigma", "f8"),
        ("up_count", "i8"),
        ("down_kind", "i8"),
        ("down_mean_s", "f8"),
        ("down_mu", "f8"),
        ("down_sigma", "f8"),
        ("down_count", "i8"),
        ("shed_expired", "b1"),
        ("deadline_aware_batching", "b1"),
        ("peak_model", "i8"),
        ("load_1_per_s", "f8"),
        ("fast_window_s", "f8"),
        ("slow_window_s", "f8"),
        ("window_s", "f8"),
        ("min_load", "f8"),
        ("max_load", "f8"),
        ("tape_load", "f8"),
        ("tape_span_s", "f8"),
        ("max_requests", "i8"),  # 0: no limit
        ("autoreset", "i8"),
        ("view_rows", "i8"),  # rows from an env to what its router sees; 0: that is what is
        ("scrape_s", "f8"),
        ("delay_s", "f8"),
        ("noise", "f8"),
        ("lost", "f8"),
        ("reckons", "b1"),
        ("breaks_circuits", "b1"),
    ],
    align=True,
)

POOL = np.dtype([("first_gpu", "i8"), ("gpus", "i8"), ("first_machine", "i8"), ("machines", "i8")])

# When an answer counts.
TERMS = np.dtype(
    [
        ("deadline_s", "f8"),
        ("grace_s", "f8"),
        ("decay", "i8"),
        ("ttft_s", "f8"),
        ("tpot_s", "f8"),
        ("patience_s", "f8"),
    ],
    align=True,
)


# Times of machines up and down: lists that are replayed, each of its own length; or the times of
# one machine after the other, where outages are listed.
PERIOD = np.dtype([("machine", "i8"), ("up_s", "f8"), ("down_s", "f8")])


LOGARITHMS = 4096
"""Backlogs whose logarithm is looked up; longer ones are computed."""


class Cluster(NamedTuple):
    """Read-only tables for P pools, M models, C classes, T tasks and G GPUs."""

    rules: Records  # (1,) RULES
    pools: Records  # (P,) POOL
    service: Any  # the service model (service/): its own tables
    batch_limit: NDArray[np.int64]  # (P, M) requests that a GPU runs at once; 0: not hosted
    largest_limit: NDArray[np.int64]  # (M,) over the pools
    terms: Records  # (C, T) TERMS
    utility: NDArray[np.float64]  # (C, T, M) of an answer in time: accuracy x weight
    log_backlog: NDArray[np.float32]  # (LOGARITHMS,): log1p of k requests per GPU
    pool_of: NDArray[np.int64]  # (G,)
    layout: NDArray[np.int64]  # first column of each feature of FEATURES; -1 if left out
    periods: Any  # (N,) PERIOD; () where nothing can fail


@compiled
def hosts(cluster: Cluster, gpu: int, model: int) -> bool:
    """Whether `gpu` can answer by `model` at all."""
    return bool(cluster.batch_limit[cluster.pool_of[gpu], model] > 0)


class Tape(NamedTuple):
    """All arrivals of a workload; an episode replays a window of it."""

    arrival_s: NDArray[np.float64]  # (N,) sorted
    task: NDArray[np.int16]  # (N,) index of the environment's tasks
    user_class: NDArray[np.int16]  # (N,) index of its classes
    prompt_tokens: NDArray[np.int32]  # (N,), or (0,) for a service that reads no lengths
    output_tokens: NDArray[np.int32]  # likewise
