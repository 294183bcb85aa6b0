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
from agents.columns import hosted_pairs
from agents.compiled.balancers import balancing, two_of_each
from agents.compiled.making import largest_feasible
from agents.compiled.networks import no_network
from agents.compiled.policies import BALANCER, CompiledPolicy
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import MOST_LOG


class LeastOf:
    """The (GPU, model) pair of which a feature is least; ties to the first.

    Features of service models with tokens; others publish that they have none in use. Where
    machines fail, a GPU that is believed to be down has more than any other.
    """

    action = "gpu-model"
    feature = "gpu_held"

    def __init__(self, name: str, config: EnvConfig) -> None:
        self.name = name
        health = ("gpu_up",) if config.failures is not None else ()
        self.observation = read_in(config, (self.feature, *health))
        layout = replace(config.layout, names=self.observation)
        self.first, self.up = layout.first(self.feature), layout.first("gpu_up")
        self.hosted = hosted_pairs(config)
        self.gpu = self.hosted // len(config.models)
        self.keys = np.zeros(0, np.uint64)

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def compiled(self, config: EnvConfig) -> CompiledPolicy:
        """The router as compiled code that decides alike for `config`, in the envs of `begin`."""
        empty = largest_feasible(config, 0.0)
        return empty._replace(
            kind=BALANCER,
            # As little as there can be where nothing is hosted, which has no load.
            worths=np.full_like(empty.worths, -MOST_LOG),
            balancing=balancing(config, self.feature, self.keys),
            network=no_network(config.layout.width),
        )

    def loads(self, observations: Observations) -> NDArray[np.float32]:
        """The feature of the pairs that are hosted, shape (E, hosted)."""
        loads: NDArray[np.float32] = observations[:, self.first + self.hosted]
        if self.up >= 0:
            loads = np.where(observations[:, self.up + self.gpu] > 0, loads, np.float32(MOST_LOG))
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
        """Take a random stream for every env."""
        self.keys = rng.integers(2**64, size=envs, dtype=np.uint64)
        self.decision = 0

    def act(self, observations: Observations) -> Actions:
        """The pair for every row of `observations`, shape (E, F) -> (E,)."""
        first, other = np.empty((2, len(observations)), np.int64)
        two_of_each(len(self.hosted), self.keys, self.decision, first, other)
        self.decision += 1
        rows, loads = np.arange(len(observations)), self.loads(observations)
        fewer = loads[rows, other] < loads[rows, first]
        chosen = np.where(fewer, other, first)
        # Of two that are down neither.
        chosen = np.where(loads[rows, chosen] < MOST_LOG, chosen, loads.argmin(axis=1))
        actions: Actions = self.hosted[chosen]
        return actions
