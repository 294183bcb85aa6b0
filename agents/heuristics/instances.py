"""Heuristics of load balancers: which instance has least to do, whatever model it hosts.

Requests, KV cache and predicted time to a first token are what routers in production compare
(llm-d, NVIDIA Dynamo, the vLLM production stack). With several sizes of model they fill the
quickest first, so they are what a router that knows of quality must beat, or what chooses within a
model's instances.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agents.base import Actions, Observations, read_in
from llmroute_env.config import EnvConfig
from llmroute_env.simulation.tables import batch_limits


class LeastOf:
    """The (GPU, model) pair of which a feature is least; ties to the first.

    Features of service models with tokens; others publish that they have none in use.
    """

    action = "gpu-model"
    feature = "gpu_held"

    def __init__(self, name: str, config: EnvConfig) -> None:
        self.name = name
        self.observation = read_in(config, (self.feature,))
        self.first = replace(config.layout, names=self.observation).first(self.feature)
        self.hosted = hosted_pairs(config)

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def loads(self, observations: Observations) -> NDArray[np.float32]:
        """The feature of the pairs that are hosted, shape (E, hosted)."""
        loads: NDArray[np.float32] = observations[:, self.first + self.hosted]
        return loads

    def act(self, observations: Observations) -> Actions:
        """The pair for every row of `observations`, shape (E, F) -> (E,)."""
        actions: Actions = self.hosted[self.loads(observations).argmin(axis=1)]
        return actions


class LeastRequests(LeastOf):
    """The pair with the fewest requests, waiting and running."""


class LeastKV(LeastOf):
    """The pair whose KV cache is least in use."""

    feature = "gpu_kv"


class LeastTTFT(LeastOf):
    """The pair with the least predicted time to a first token."""

    feature = "gpu_ttft"


class PowerOfTwo(LeastOf):
    """Of two pairs at random the one with fewer requests (Mitzenmacher 2001)."""

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Take the source of randomness."""
        self.rng = rng

    def act(self, observations: Observations) -> Actions:
        """The pair for every row of `observations`, shape (E, F) -> (E,)."""
        rows, pairs = np.arange(len(observations)), len(self.hosted)
        first = self.rng.integers(pairs, size=len(rows))
        other = (first + 1 + self.rng.integers(max(pairs - 1, 1), size=len(rows))) % pairs
        loads = self.loads(observations)
        fewer = loads[rows, other] < loads[rows, first]
        actions: Actions = self.hosted[np.where(fewer, other, first)]
        return actions


def hosted_pairs(config: EnvConfig) -> NDArray[np.int64]:
    """The numbers of the pairs of which the GPU hosts the model, GPU-major."""
    hosts = np.repeat(batch_limits(config) > 0, [pool.gpus for pool in config.pools], axis=0)
    return np.flatnonzero(hosts.ravel())
