"""Episodes at fixed moments of simulated time, whatever the arrivals between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from agents.base import Agent, for_agent
from agents.heuristics.lookahead import SeesState
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.episode import next_decision_s
from llmroute_env.recording.recording import begun
from llmroute_env.simulation.simulation import Simulation


@dataclass(frozen=True)
class Episode:
    """An episode under way, the router that decides in it, and what may end it early."""

    title: str
    simulation: Simulation
    agent: Agent
    until_s: float
    is_over: Callable[[], bool] = lambda: False

    def moments(self, per_s: float) -> Iterator[int]:
        """Let the agent route, and stop `per_s` times a simulated second; yields 0, 1, ...

        At moment i the simulation is at the last decision up to i / per_s s; the first is there
        from the beginning. The last moment is at `until_s` or the end of the episode, or the one
        after which it `is_over`.
        """
        for i in count():
            at_s = min(i / per_s, self.until_s)
            while self.next_s <= at_s:
                self.simulation.step(self.agent.act(self.simulation.outputs.observations))
            yield i
            if math.isinf(self.next_s) or at_s >= self.until_s or self.is_over():
                return

    @property
    def next_s(self) -> float:
        """When the next decision is; after the last the end is at once, and then nothing: inf."""
        simulation = self.simulation
        following_s, env = next_decision_s(simulation.world, 0), simulation.state.envs[0]
        is_last = math.isinf(following_s) and not env["over"]
        return float(env["now_s"]) if is_last else following_s


def begin(agent: Agent, config: EnvConfig, seed: int) -> Simulation:
    """The episode of `env.reset(seed=seed)` at its first request, with `agent` ready to route.

    Raises:
        ConfigError: the seed is out of range.
    """
    simulation = begun(for_agent(config, agent), seed)
    if isinstance(agent, SeesState):
        agent.attach(simulation)
    agent.begin(1, np.random.default_rng(seed))
    return simulation
