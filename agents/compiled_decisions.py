"""Compiled decisions from observations at hand, as whoever serves requests has them.

compiled_policies decides for an env of the simulator; here the observation is given. Both take the
same CompiledPolicy and decide alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.base import Actions, Observations
from agents.compiled_networks import evaluate
from agents.compiled_policies import GUARDED, CompiledPolicy, most_worth
from agents.networks import GuardedNetwork
from agents.routers import compiled_router
from agents.run_directory import TrainedRouter
from llmroute_env._compiled import compiled, entry_point
from llmroute_env.config import EnvConfig


class CompiledRouter:
    """A trained router as compiled code: an Agent.

    `decide_one` skips what NumPy and the compiler ask on every call: for one request it takes a
    tenth of what `act` takes.
    """

    def __init__(self, agent: TrainedRouter, config: EnvConfig) -> None:
        """Compile it for the observation of `config`, which the agent reads."""
        self.name, self.observation = agent.name, agent.observation
        self.action = agent.action
        router = agent.network
        self.slack = int(router.slack) if isinstance(router, GuardedNetwork) else 0
        self.policy = compiled_router(router, config)
        row = np.zeros_like(self.policy.network.observation)
        self._decide: Any = entry_point(decide_row, self.policy, self.slack, row)

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """See Agent: it remembers nothing."""

    def act(self, observations: Observations) -> Actions:
        """See Agent."""
        actions = np.empty(len(observations), np.int64)
        decide_rows(self.policy, self.slack, observations, actions)
        return actions

    def decide_one(self, row: NDArray[np.float32]) -> int:
        """The action for one observation, shape (F,), contiguous."""
        return int(self._decide(self.policy, self.slack, row))


@compiled
def decide_rows(
    policy: CompiledPolicy, slack: int, rows: NDArray[np.float32], actions: NDArray[np.int64]
) -> None:
    """Write the action for every row."""
    for i in range(len(rows)):
        actions[i] = decide_row(policy, slack, rows[i])


@compiled
def decide_row(policy: CompiledPolicy, slack: int, row: NDArray[np.float32]) -> int:
    """The action for one observation, whose slacks begin at column `slack`."""
    for column in range(len(row)):
        policy.network.observation[column] = row[column]
    evaluate(policy.network)
    outputs = policy.network.outputs
    best = 0
    for action in range(1, len(outputs)):
        if outputs[action] > outputs[best]:
            best = action
    if policy.kind == GUARDED:
        over_pairs = policy.columns[4] > 0
        usual = most_worth(policy) if over_pairs else feasible_in(policy, slack, row)
        if outputs[best] - outputs[usual] <= policy.caution:
            return usual
    return best


@compiled
def feasible_in(policy: CompiledPolicy, slack: int, row: NDArray[np.float32]) -> int:
    """The first model in `order` whose slack reaches the margin, else that with the most slack."""
    hopeful = policy.order[0]
    for model in policy.order:
        if row[slack + model] >= policy.margin:
            return int(model)
        if row[slack + model] > row[slack + hopeful]:
            hopeful = model
    return int(hopeful)
