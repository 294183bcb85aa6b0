"""Compiled decisions from observations at hand, as whoever serves requests has them.

compiled.policies decides for an env of the simulator; here the observation is given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.base import Actions, Learned, Observations, for_agent
from agents.compiled.policies import CompiledPolicy, decide_observed
from agents.routers.build import compiled_router
from agents.runs.trained import Trained, memoryless
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.compiled import compiled, entry_point


class CompiledRouter(Learned):
    """A trained router as compiled code: an Agent.

    `decide_one` skips what NumPy and the compiler ask on every call: for one request it takes a
    tenth of what `act` takes.
    """

    def __init__(self, agent: Trained, config: EnvConfig) -> None:
        """Compile it for the cluster of `config`, for which it was loaded.

        Raises:
            ConfigError: it remembers, which compiled routers cannot.
        """
        agent = memoryless(agent, "compiled code")
        self.name, self.observation, self.action = agent.name, agent.observation, agent.action
        self.policy = compiled_router(agent.network, for_agent(config, agent))
        row = np.zeros_like(self.policy.network.observation)
        self._decide: Any = entry_point(decide_row, self.policy, row)

    def act(self, observations: Observations) -> Actions:
        """The action for every row of `observations`, shape (E, F) -> (E,)."""
        actions = np.empty(len(observations), np.int64)
        decide_rows(self.policy, observations, actions)
        return actions

    def decide_one(self, row: NDArray[np.float32]) -> int:
        """The action for one observation, shape (F,), contiguous."""
        return int(self._decide(self.policy, row))


@compiled
def decide_rows(
    policy: CompiledPolicy, rows: NDArray[np.float32], actions: NDArray[np.int64]
) -> None:
    """Write the action for every row."""
    for i in range(len(rows)):
        actions[i] = decide_row(policy, rows[i])


@compiled
def decide_row(policy: CompiledPolicy, row: NDArray[np.float32]) -> int:
    """The action for one observation."""
    for column in range(len(row)):
        policy.network.observation[column] = row[column]
    return decide_observed(policy)
