"""What every router is: something that turns a batch of observations into a batch of actions."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import DEFAULT_FEATURES, GPU_FEATURES
from llmroute_env.signal_specs import Signals

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


class Learned:
    """What learned routers have in common: what they read beside signals (for_agent).

    Where signals are late that is what they have sent, and where something has failed. A decision
    depends on its observation alone, unless a router remembers (routers/recurrent.py).
    """

    reckons = breaks_circuits = True

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Nothing to forget."""


def read_in(config: EnvConfig, names: tuple[str, ...]) -> tuple[str, ...]:
    """The features `names`, and the class of the user where there are several."""
    return names if len(config.classes) < 2 or "class" in names else (*names, "class")


ELSE = {
    DEFAULT_FEATURES: {
        "late": ("age", "sent"),
        "comes back": ("tries", "waited"),
        "tokens": ("prompt", "ttft", "tpot", "kv", "prefill"),
    },
    GPU_FEATURES: {
        "late": ("gpu_age", "gpu_sent", "gpu_in_flight"),
        "fails": ("gpu_up", "gpu_leaving"),
        "comes back": ("tries", "waited"),
        "tokens": ("prompt", "gpu_ttft", "gpu_tpot", "gpu_kv", "gpu_prefill", "gpu_held"),
    },
}
"""What else there is to know than what routers usually read, by what makes it so."""


def learned_in(config: EnvConfig, names: tuple[str, ...]) -> tuple[str, ...]:
    """What a learner that reads `names` reads in the environment of `config`.

    That is the class of the user where there are several and, if `names` is one of the usual
    observations, whatever else there is to know. Of a list of one's own nothing is taken as usual.
    """
    there_is = {
        "late": config.signals.are_late,
        "fails": config.failures is not None,
        "comes back": config.comes_back,
        "tokens": config.service == "continuous",
    }
    more = ELSE.get(names, {})
    return read_in(config, (*names, *(f for why in more if there_is[why] for f in more[why])))


def believed_by(router: object, signals: Signals) -> Signals:
    """Signals to which `router` adds what it knows itself, where they are late.

    One that `reckons` sees what it has sent since added to them, and to one that `breaks_circuits`
    a GPU on which something has failed since is down.
    """
    if not signals.are_late:
        return signals
    reckons = signals.dead_reckoning or getattr(router, "reckons", False)
    breaks = signals.circuit_breaker or getattr(router, "breaks_circuits", False)
    return replace(signals, dead_reckoning=reckons, circuit_breaker=breaks)


def for_agent(config: EnvConfig, agent: Agent) -> EnvConfig:
    """The environment in which `agent` can route: `config` with its observation and action."""
    signals = believed_by(agent, config.signals)
    return replace(config, observation=agent.observation, action=agent.action, signals=signals)
