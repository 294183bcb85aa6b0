"""Named configurations with tags: the problems that everybody compares on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import DEFAULT_FEATURES, PAPER_FEATURES
from llmroute_env.engine_scenarios import ENGINE_SCENARIOS
from llmroute_env.errors import UnknownKeywordError
from llmroute_env.recording.serialization import from_plain
from llmroute_env.simulation.tape import workload_trace
from llmroute_env.specs import ConfigError, Deadline, Pool, RequestClass
from llmroute_env.world_scenarios import WORLD_SCENARIOS
from traces.tasks import AbruptMix
from traces.typed import conform, nearest
from traces.workloads import CountsReplay, PoissonArrivals, RegimeSwitching, TraceReplay

USUAL = "unpredictable-1"
"""The scenario of who names none."""


@dataclass(frozen=True)
class Scenario:
    """A named configuration."""

    name: str
    summary: str
    tags: frozenset[str]
    config: EnvConfig


def _scenario(name: str, tags: str, summary: str, config: EnvConfig) -> Scenario:
    return Scenario(name, summary, frozenset(tags.split()), config)


SHIFTS = AbruptMix(
    mixes=((3.0, 3.0, 1.0, 1.0), (1.0, 1.0, 3.0, 3.0), (1.0, 1.0, 6.0, 0.0)),
    shifts_s=(3840.0, 4320.0),
)
"""Of the 4800 s of `task-shift`: where the test split begins, the mix moves from the tasks that
gain most from a larger model to those that gain least, and half-way through it again."""

STATIC: dict[str, Any] = {"shed_expired": False, "queue_capacity": 100_000}
"""Static serving as in the paper: it drops nothing, and no queue ever holds so many requests."""

PRIORITY = (
    RequestClass("standard"),
    RequestClass("priority", weight=5.0, deadline=Deadline(0.2)),
)
"""The classes of the scenario `priority`."""

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        _scenario(
            "stable",
            "hard synthetic testing",
            "Poisson arrivals at a constant rate",
            EnvConfig(workload=PoissonArrivals(), load=1.0),
        ),
        _scenario(
            "unpredictable-1",
            "hard real testing",
            "bursty Azure Functions 2019 counts, a minute in 10 s, Gamma cv 4 within",
            EnvConfig(workload=CountsReplay(), load=2.5),
        ),
        _scenario(
            "unpredictable-2",
            "hard fitted testing",
            "Poisson arrivals in two regimes, calm and burst, fitted to Azure Functions 2021",
            EnvConfig(workload=RegimeSwitching(), load=1.5),
        ),
        _scenario(
            "soft",
            "soft real testing",
            "the arrivals of unpredictable-1; utility falls linearly to 0 over 0.4 s of lateness",
            EnvConfig(
                workload=CountsReplay(), load=2.5, deadline=Deadline(0.4, "linear", grace_s=0.4)
            ),
        ),
        _scenario(
            "overload",
            "hard synthetic testing",
            "Poisson arrivals, one load per episode between 4 and 16: no model fits all of it",
            EnvConfig(workload=PoissonArrivals(span_s=300.0), load=(4.0, 16.0)),
        ),
        _scenario(
            "admission",
            "hard synthetic reject",
            "the arrivals of overload; a router may turn requests away, which earns nothing",
            EnvConfig(workload=PoissonArrivals(span_s=300.0), load=(4.0, 16.0), reject=True),
        ),
        _scenario(
            "task-shift",
            "hard real shift",
            "the arrivals of unpredictable-1; the task mix of the test split is another",
            EnvConfig(workload=CountsReplay(), load=2.5, mix=SHIFTS),
        ),
        _scenario(
            "azure-conv",
            "hard real",
            "Azure LLM inference 2023, conversations, each request filled up to many",
            EnvConfig(workload=TraceReplay("azure-conv"), load=2.5),
        ),
        _scenario(
            "azure-code",
            "hard real",
            "Azure LLM inference 2023, coding, a minute in 15 s, some silent, filled up likewise",
            EnvConfig(workload=TraceReplay("azure-code", second_s=0.25), load=2.5),
        ),
        _scenario(
            "paper",
            "hard real static",
            "unpredictable-1 in the paper's setting: nothing is shed, no queue is full",
            EnvConfig(workload=CountsReplay(), load=(1.0, 2.5), **STATIC),
        ),
        _scenario(
            "priority",
            "hard real classes",
            "the arrivals of unpredictable-1; a tenth of the users count 5 times, in half the time",
            EnvConfig(
                workload=CountsReplay(),
                load=2.5,
                observation=(*DEFAULT_FEATURES, "class"),
                classes=PRIORITY,
                class_mix={"standard": 0.9, "priority": 0.1},
            ),
        ),
    )
}
"""All scenarios, by name."""

SCENARIOS |= {
    name: _scenario(name, *said) for name, said in (ENGINE_SCENARIOS | WORLD_SCENARIOS).items()
}

TESTING = tuple(name for name, scenario in SCENARIOS.items() if "testing" in scenario.tags)
"""Names of a few that differ much, for quick comparisons."""

PAPER_SETTINGS: dict[str, Any] = {"observation": PAPER_FEATURES, "shed_expired": False}
"""What `LLMRoutePaper-v0` changes about a scenario: the paper's 8 numbers, and no shedding."""


def scenario(name: str) -> Scenario:
    """The scenario called `name`, or a ConfigError."""
    if not isinstance(name, str) or name not in SCENARIOS:
        accepted = f"{nearest(str(name), SCENARIOS)}accepted: {', '.join(SCENARIOS)}"
        raise ConfigError(f"scenario: {name!r} is unknown; {accepted}")
    return SCENARIOS[name]


def arrival_rates(name: str) -> NDArray[np.float64]:
    """Arrival rate in each second of the whole workload, in units of load 1; shape (seconds,)."""
    config = configure(name, split="all")
    trace, _ = workload_trace(config)
    counts, _ = np.histogram(trace.arrival_s, np.arange(int(trace.span_s) + 1))
    rates: NDArray[np.float64] = counts / config.load_1_per_s
    return rates


def rate_spread(name: str) -> tuple[float, float]:
    """Arrival rate over 1 s in units of load 1: 5 % and 95 % quantiles of the whole workload."""
    low, high = np.quantile(arrival_rates(name), [0.05, 0.95])
    return float(low), float(high)


def configure(name: str, plain: Mapping[str, Any] | None = None, **fields: Any) -> EnvConfig:
    """The configuration of scenario `name` with some fields of EnvConfig replaced.

    `plain` are further fields as plain data (serialization.to_plain), as from JSON.

    Raises:
        ConfigError: unknown scenario or field, or a value that a field does not accept.
    """
    if plain is not None:
        fields = from_plain(conform(plain, dict[str, Any], "plain", ConfigError), "plain") | fields
    known = [field.name for field in dataclasses.fields(EnvConfig)]
    for field in fields:
        if field not in known:
            accepted = f"{nearest(field, known)}accepted: {', '.join(known)}"
            raise UnknownKeywordError(
                f"{field}: is not a setting; {accepted} (unexpected keyword argument {field!r})"
            )
    usual = scenario(name).config
    if "profile" in fields:
        fields = {"pools": unnamed(usual), **fields}
    return dataclasses.replace(usual, **fields)


def named(
    scenario: str | Mapping[str, Any], fields: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The name of a scenario and what is said beside it; a mapping says both, and more `fields`."""
    if not isinstance(scenario, Mapping):
        return scenario, dict(fields)
    every = {**fields, **scenario}
    return str(every.pop("scenario", USUAL)), every


def unnamed(config: EnvConfig) -> tuple[Pool, ...]:
    """The pools of `config`; those that host all models of its profile, as all of any profile."""
    every = config.resolved_profile.model_names
    return tuple(
        dataclasses.replace(p, models=()) if p.models == every else p for p in config.pools
    )
