"""Routers that need no training; what any learned one has to beat."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.base import Actions, Agent, Observations, read_in
from agents.columns import column, largest_first
from agents.compiled.rules import most_feasible_of_rows
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import DEFAULT_FEATURES
from llmroute_env.dynamics.service.models import SERVICES
from llmroute_env.specs import ConfigError, require


class Heuristic:
    """Common ground: no state, the default observation."""

    observation: tuple[str, ...] = DEFAULT_FEATURES
    action = "model"

    def __init__(self, name: str, config: EnvConfig) -> None:
        require(config.action == "model", "action", config.action, f"'model' for {name!r}")
        self.name = name
        self.models = len(config.models)
        self.observation = read_in(config, self.observation)

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Nothing to forget."""


class Random(Heuristic):
    """Every model with equal probability."""

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Take the source of randomness."""
        self.rng = rng

    def act(self, observations: Observations) -> Actions:
        """The model for every row of `observations`, shape (E, F) -> (E,)."""
        return self.rng.integers(self.models, size=len(observations))


class RoundRobin(Heuristic):
    """One model after the other."""

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Start with the first model."""
        self.turn = 0

    def act(self, observations: Observations) -> Actions:
        """The model for every row of `observations`, shape (E, F) -> (E,)."""
        self.turn += 1
        return np.full(len(observations), (self.turn - 1) % self.models)


class SingleModel(Heuristic):
    """One model for all requests."""

    def __init__(self, name: str, config: EnvConfig) -> None:
        super().__init__(name, config)
        hosted = config.model_names
        if name not in hosted:
            raise ConfigError(f"agent: {name!r} is not hosted; hosted: {', '.join(hosted)}")
        self.model = hosted.index(name)

    def act(self, observations: Observations) -> Actions:
        """The model for every row of `observations`, shape (E, F) -> (E,)."""
        return np.full(len(observations), self.model)


class RateThreshold(Heuristic):
    """The largest model while the arrival rate is low, smaller ones as it rises.

    Model number k from the largest serves loads up to its own share of capacity, `scale` times
    what the model alone sustains within the deadline.
    """

    def __init__(self, name: str, config: EnvConfig, scale: float = 0.8) -> None:
        super().__init__(name, config)
        require(scale > 0, f"{name} scale", scale, "> 0")
        self.rate_column = column(config, "slow_rate")
        self.order = largest_first(config)
        sustained = [config.sustained_per_s(config.models[m]) for m in self.order[:-1]]
        self.log_limits = [
            float(np.log1p(scale * per_s / config.load_1_per_s)) for per_s in sustained
        ]

    def act(self, observations: Observations) -> Actions:
        """The model for every row of `observations`, shape (E, F) -> (E,)."""
        rank = np.searchsorted(self.log_limits, observations[:, self.rate_column])
        actions: Actions = np.array(self.order)[rank]
        return actions


class QueueThreshold(Heuristic):
    """The largest model while few requests wait for it, smaller ones as its queue grows.

    A model is open while fewer than `batches` batches wait for it per GPU; the smallest is always.
    """

    def __init__(self, name: str, config: EnvConfig, batches: float = 0.5) -> None:
        super().__init__(name, config)
        require(batches > 0, f"{name} batches", batches, "> 0")
        self.backlog = column(config, "backlog")
        self.order = np.array(largest_first(config))
        limits = [batches * config.batch_limit(config.models[m]) for m in self.order[:-1]]
        self.log_limits = np.array([*map(math.log1p, limits), math.inf], np.float32)

    def act(self, observations: Observations) -> Actions:
        """The model for every row of `observations`, shape (E, F) -> (E,)."""
        waiting = observations[:, self.backlog : self.backlog + self.models][:, self.order]
        actions: Actions = self.order[(waiting < self.log_limits).argmax(axis=1)]
        return actions


class StaticMix(Heuristic):
    """Two neighbouring models by size at random, in fixed shares, whatever happens.

    `level` names the mix: 0 is the smallest model alone, 1 the largest alone, and the models
    between divide the way evenly. With its level tuned it is the best that a router can do that
    looks at nothing.
    """

    def __init__(self, name: str, config: EnvConfig, level: float = 0.25) -> None:
        super().__init__(name, config)
        accepted = "0 (the smallest model alone) to 1 (the largest)"
        require(0 <= level <= 1, f"{name} level", level, accepted)
        position = level * (self.models - 1)
        self.lower = min(math.floor(position), max(self.models - 2, 0))
        self.raised = position - self.lower
        self.order = np.array(largest_first(config)[::-1])

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Take the source of randomness."""
        self.rng = rng

    def act(self, observations: Observations) -> Actions:
        """The model for every row of `observations`, shape (E, F) -> (E,)."""
        raises = self.rng.random(len(observations)) < self.raised
        actions: Actions = self.order[self.lower + raises.astype(np.int64)]
        return actions


class LargestFeasible(Heuristic):
    """The largest model predicted to meet the deadline, with a margin; else the most hopeful one.

    A model is feasible if its predicted slack, 1 - latency / deadline, is at least `margin`.
    """

    def __init__(self, name: str, config: EnvConfig, margin: float = 0.2) -> None:
        super().__init__(name, config)
        require(-16 <= margin <= 1, f"{name} margin", margin, "a share of the deadline, -16 to 1")
        self.margin = margin
        self.slack = column(config, "slack")
        self.order = np.array(largest_first(config))

    def act(self, observations: Observations) -> Actions:
        """The model for every row of `observations`, shape (E, F) -> (E,)."""
        return feasible(observations, self.slack, self.margin, self.order)


def feasible(rows: Observations, slack: int, margin: float, order: NDArray[np.int64]) -> Actions:
    """`most_feasible` of every row, shape (B, F) -> (B,)."""
    actions = np.empty(len(rows), np.int64)
    most_feasible_of_rows(rows, slack, np.float32(margin), order, actions)
    return actions


@dataclass(frozen=True)
class Setting:
    """A heuristic's tunable number: its name, its default and the values worth trying.

    With continuous batching others are: what is predicted there leaves out all that a request does
    to those beside it, so that margins and prices have to be wider.
    """

    name: str
    default: float
    grid: tuple[float, ...]
    engine_grid: tuple[float, ...]

    def values(self, config: EnvConfig) -> tuple[float, ...]:
        """Those worth trying in the environment of `config`."""
        return self.engine_grid if SERVICES[config.service].reads_lengths else self.grid


HEURISTICS: dict[str, Callable[..., Agent]] = {
    "random": Random,
    "round-robin": RoundRobin,
    "static-mix": StaticMix,
    "rate-threshold": RateThreshold,
    "queue-threshold": QueueThreshold,
    "largest-feasible": LargestFeasible,
}

LEVELS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0)
SCALES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)

TUNABLE = {
    "static-mix": Setting("level", 0.25, LEVELS, LEVELS),
    "rate-threshold": Setting("scale", 0.8, SCALES, (0.1, 0.2, *SCALES, 1.5, 2.0)),
    "queue-threshold": Setting(
        "batches",
        0.5,
        (0.02, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0),
        (0.0005, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06),
    ),
    "largest-feasible": Setting(
        "margin",
        0.2,
        (-0.1, 0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6),
        (0.0, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9),
    ),
}


def make(name: str, config: EnvConfig, setting: float | None = None) -> Agent:
    """The heuristic called `name` for the cluster of `config`; `setting` replaces its default.

    The name of a model is that of the router that sends everything to it (`is_model`).

    Raises:
        ConfigError: unknown name, a model that is not hosted, or a setting that does not fit.
    """
    if name not in HEURISTICS and not is_model(name, config):
        accepted = ", ".join([*HEURISTICS, *config.model_names])
        raise ConfigError(f"agent: {name!r} is unknown; accepted: {accepted}")
    if setting is not None:
        accepted = f"none for {name!r}; tunable: {', '.join(TUNABLE)}"
        require(name in TUNABLE, "setting", setting, accepted)
        return HEURISTICS[name](name, config, setting)
    return HEURISTICS.get(name, SingleModel)(name, config)


def is_model(name: str, config: EnvConfig) -> bool:
    """Whether `name` is that of a model of the profile, hosted or not, and of no heuristic."""
    return name not in HEURISTICS and name in config.resolved_profile.model_names
