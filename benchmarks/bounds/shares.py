"""The least GPU time an answer can take: its share of the best batch it could be part of."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from benchmarks.bounds.instance import Floats
from llmroute_env.dynamics.cluster import Cluster


def least_batch_s(cluster: Cluster, pool: int, model: int) -> Floats:
    """Entry b - 1: the shortest time of any allowed batch of at least b requests."""
    limit = int(cluster.batch_limit[pool, model])
    table = cluster.service.batch_s[pool, model, 1 : limit + 1]
    shortest: Floats = np.minimum.accumulate(table[::-1])[::-1]
    return shortest


def least_s_of(cluster: Cluster) -> Floats:
    """The shortest time of any batch, by pool."""
    hosted = cluster.batch_limit > 0
    shortest: Floats = np.where(hosted, cluster.service.batch_s[:, :, 1], math.inf).min(axis=1)
    return shortest


def least_shares_s(arrival_s: Floats, batch_s: Floats, within_s: Floats, expiry_s: float) -> Floats:
    """Per request min T(b) / b over the batches it could earn in, inf if there is none, shape (N,).

    Args:
        arrival_s: sorted, shape (N,).
        batch_s: T(1), T(2), ..., never falling (least_batch_s).
        within_s: so long a batch may take that each is part of, shape (N,).
        expiry_s: the others of the batch that earn must finish so soon after theirs.
    """
    shares, longest_s = np.full(len(arrival_s), math.inf), float(within_s.max())
    for size in range(1, min(len(batch_s), len(arrival_s)) + 1):
        duration_s = batch_s[size - 1]
        if duration_s > longest_s:
            break
        together = near(arrival_s, size, expiry_s - duration_s) & (duration_s <= within_s)
        np.minimum(shares, np.where(together, duration_s / size, math.inf), out=shares)
    return shares


def near(arrival_s: Floats, size: int, span_s: float) -> NDArray[np.bool_]:
    """Which requests are among `size` consecutive ones that arrive within `span_s`, shape (N,)."""
    requests = len(arrival_s)
    fits = arrival_s[size - 1 :] - arrival_s[: requests - size + 1] <= span_s
    # Request r is in the runs that begin at r - size + 1 .. r: count those that fit.
    total = np.concatenate([[0], np.cumsum(fits)])
    begin = np.clip(np.arange(requests) - size + 1, 0, len(fits))
    end = np.clip(np.arange(requests) + 1, 0, len(fits))
    found: NDArray[np.bool_] = total[end] > total[begin]
    return found
