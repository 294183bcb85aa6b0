"""Entries that are scenarios as they stand, and whom they compare."""

from __future__ import annotations

from collections.abc import Iterator

from agents.heuristics.table import tunable_in
from benchmarks.suites.entries.entry import Entry
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.service.models import SERVICES
from llmroute_env.scenarios import SCENARIOS

BALANCERS = ("least-requests", "power-of-two", "least-local", "circuit-breaker")


def continuous_entries() -> list[Entry]:
    """Those of continuous batching in a world that stays and is known."""
    names = [n for n, s in SCENARIOS.items() if "tokens" in s.tags and "world" not in s.tags]
    return list(as_they_stand(names, "continuous", "several-seeds"))


def as_they_stand(names: list[str], tag: str, *more: str) -> Iterator[Entry]:
    """Entries of these scenarios, each with the routers that can route there."""
    for name in names:
        routers = routers_in(SCENARIOS[name].config)
        yield Entry(name, name, frozenset({tag, f"{tag}-scenario", *more}), only=routers)


def routers_in(config: EnvConfig) -> tuple[str, ...]:
    """Each model alone, rules with and without a setting, learners.

    Of these, who begins at the level of the best rule: rollouts over pairs, and over models where
    requests can be turned away or put off, which over pairs nobody does.
    """
    fixed = ("random", *config.model_names, *BALANCERS)
    tokens = "-tokens" if SERVICES[config.service].reads_lengths else ""
    rejects = config.reject or config.defer is not None
    over_models = (f"rollout-pi-model{tokens}",) if rejects else ()
    learners = (*over_models, f"rollout-pi{tokens}")
    return (*fixed, "best-single", *tunable_in(config), *learners)
