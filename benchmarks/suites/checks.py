"""What cannot be done in a suite is known before any work."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agents.heuristics import table as controls
from agents.loading import load_trained
from agents.settings.presets import COMBINATIONS, SETTINGS
from benchmarks.evaluation.tuned_controls import BEST_SINGLE
from benchmarks.suites.entries.entry import Entry
from benchmarks.suites.entries.every import training_entry
from benchmarks.suites.suite import Suite
from llmroute_env.specs import ConfigError, require


def without_unable(suite: Suite) -> Suite:
    """The suite without routers that cannot route on its problem; says which, and why.

    Raises:
        ConfigError: none is left.
    """
    (entry,) = suite.resolved_entries
    refused = {agent: refusal(agent, entry) for agent in suite.agents}
    for agent, reason in refused.items():
        if reason is not None:
            print(f"{agent} is left out: {reason}", file=sys.stderr)
    able = tuple(agent for agent, reason in refused.items() if reason is None)
    require(bool(able), "suite", suite.name, "one with a router that can route on the problem")
    return replace(suite, agents=able)


def refusal(agent: str, entry: Entry) -> str | None:
    """Why a router of a suite cannot route on an entry; None if it can."""
    try:
        if agent in COMBINATIONS:
            return refusal(COMBINATIONS[agent].algorithm, entry)
        if agent in SETTINGS:
            # Here, because it imports torch.
            from agents.runs.plan import Plan

            Plan(Path(), entry.scenario, entry.fields, algorithm=agent)
        elif agent != BEST_SINGLE:
            controls.make(agent, entry.config("test"))
    except ConfigError as error:
        return str(error)
    return None


def check_trainings(suite: Suite) -> None:
    """Raise a ConfigError unless learners make something of the length that trainings shall have.

    The lengths of their own they were made for.
    """
    if suite.timesteps is None:
        return
    from agents.runs.plan import Plan

    for entry in suite.resolved_entries:
        for agent in SETTINGS.keys() & {*(entry.only or suite.agents), *entry.also}:
            source = training_entry(entry, agent)
            length = suite.timesteps
            Plan(Path(), source.scenario, source.fields, decisions=length, algorithm=agent)


def check_given(given: Sequence[Path], suite: Suite) -> None:
    """Raise a CheckpointError unless all these trained routers fit every entry of the suite."""
    configs = [entry.config("test") for entry in suite.resolved_entries] if given else []
    for config in configs:
        for path in given:
            load_trained(str(path), config)
