"""What every router is: something that turns a batch of observations into a batch of actions."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig

Observations = NDArray[np.float32]
Actions = NDArray[np.int64]


class Agent(Protocol):
    """A router.

    Attributes:
        name: as it appears in tables.
        observation: names of the features (features.FEATURES) that it reads, in
            order; whoever runs the agent builds the env with them.
        action: what its actions are (EnvConfig.action): `model` or `gpu-model`; likewise.
    """

    name: str
    observation: tuple[str, ...]
    action: str

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Forget everything: `envs` fresh episodes begin, to be stepped side by side."""
        ...

    def act(self, observations: Observations) -> Actions:
        """One action per row of `observations`, shape (E, F) -> (E,)."""
        ...


def read_in(config: EnvConfig, names: tuple[str, ...]) -> tuple[str, ...]:
    """The features `names`, and the class of the user where there are several."""
    return names if len(config.classes) < 2 or "class" in names else (*names, "class")


def for_agent(config: EnvConfig, agent: Agent) -> EnvConfig:
    """The environment in which `agent` can route: `config` with its observation and action.

    Where signals are late, one that `reckons` sees what it has sent since added to them, and to one
    that `breaks_circuits` a GPU on which something has failed since is down.
    """
    signals = config.signals
    if signals.are_late and getattr(agent, "reckons", False):
        signals = replace(signals, dead_reckoning=True)
    if signals.are_late and getattr(agent, "breaks_circuits", False):
        signals = replace(signals, circuit_breaker=True)
    return replace(config, observation=agent.observation, action=agent.action, signals=signals)
