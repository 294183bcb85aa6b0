"""The service models by name: from a configuration to their tables and their arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.service import batches, published, static_batching
from llmroute_env.dynamics.service.border import ServiceModel
from llmroute_env.dynamics.service.continuous.model import ContinuousBatching
from llmroute_env.dynamics.service.queues import (
    REQUEST,
    Rings,
    ring_slots,
    used_slots,
    waiting_slots,
)
from llmroute_env.dynamics.state import Records, State
from llmroute_env.specs import TICK_S, ModelSpec, Pool, to_ticks_s


class BatchTimes(NamedTuple):
    """What static batching reads, for P pools, M models and batches of up to B."""

    batch_s: NDArray[np.float64]  # (P, M, B + 1): seconds of a batch of b; entry 0 is 0


class StaticBatching(BatchTimes):
    """A free GPU takes the queue with the oldest head and runs a batch to completion."""

    empty = staticmethod(static_batching.empty)
    admit = staticmethod(static_batching.admit)
    handle_event = staticmethod(static_batching.finish)
    evict = staticmethod(static_batching.evict)
    copy_requests = staticmethod(static_batching.copy_requests)
    added_work_s = staticmethod(published.added_work_s)
    remaining_s = staticmethod(published.remaining_s)
    tightest = staticmethod(published.tightest)
    prospect = staticmethod(published.prospect)
    show = staticmethod(static_batching.show)
    reckon = staticmethod(static_batching.reckon)
    reads_lengths = False

    @staticmethod
    def check(config: Any) -> None:
        """Raise a ConfigError unless every pool has latencies and memory for what it hosts."""
        batches.check(config)

    @staticmethod
    def batch_limit(config: Any, model: ModelSpec, pool: Pool) -> int:
        """The most requests that a batch of `model` may hold in `pool`."""
        return batches.batch_limit(config, model, pool)

    @staticmethod
    def sustained_per_s(config: Any, model: ModelSpec) -> float:
        """Requests per second that `model` alone serves in time, on all that host it."""
        return batches.sustained_per_s(config, model)

    @classmethod
    def tables(cls, config: Any) -> StaticBatching:
        """How long batches take, in whole ticks and at least one."""
        largest = largest_limit(config)
        table = np.zeros((len(config.pools), len(config.models), largest + 1))
        for p, pool in enumerate(config.pools):
            for m, model in enumerate(config.models):
                # Beyond a model's measured batches the table is never read: its limit is lower.
                for b, latency_s in enumerate(model.latency_s(config.gpu_of(pool))[:largest], 1):
                    table[p, m, b] = max(to_ticks_s(latency_s), TICK_S)
        return cls(table)

    @staticmethod
    def allocate(config: Any, envs: int) -> Rings:
        """Rings for the longest queues that there can be."""
        queues = config.gpus * len(config.models)
        slots = queues * ring_slots(config.queue_capacity, largest_limit(config))
        return Rings(np.zeros((envs, slots), REQUEST))

    @staticmethod
    def in_use(state: State) -> Rings:
        """The slots that the longest ring has reached."""
        return Rings(state.service.requests[:, : used_slots(state)])

    @staticmethod
    def waiting(state: State, e: int, gpu: int, model: int, most: int) -> Records:
        """The first requests that wait there, at most so many."""
        found: Records = state.service.requests[e, waiting_slots(state, e, gpu, model, most)]
        return found


def largest_limit(config: Any) -> int:
    """The largest batch limit of any model on any GPU of an EnvConfig."""
    limits = [
        config.batch_limit(config.resolved_profile.model(name), pool)
        for pool in config.pools
        for name in pool.models
    ]
    return int(max(limits))


SERVICES: dict[str, type[ServiceModel]] = {
    "static": StaticBatching,
    "continuous": ContinuousBatching,
}
"""What EnvConfig.service accepts; a service model of your own can be added."""
