"""Entries with classes of users: the scenario `priority`, and routers for other weights."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.suites.entries.entry import Entry
from llmroute_env.scenarios import PRIORITY

SCENARIO = "priority"
ONLY = (
    *("random", "opt-125m", "opt-1.3b", "opt-6.7b", "best-single"),
    *("route-balance", "largest-feasible", "priced-pair", "steep-pair"),
    *("ddqn", "ddqn-pairs", "rollout-pi"),
)
BELIEVERS = ("route-balance", "priced-pair", "steep-pair", "rollout-pi")
"""Routers that know weights: what wrong ones cost shows with these."""

WRONG = (0.2, 1.0, 25.0)
"""Weights that a router may believe priority users to have, who count 5 times."""


def priority_entries() -> list[Entry]:
    """The scenario by itself, and met by routers made for other weights."""
    true = Entry(SCENARIO, SCENARIO, frozenset({"priority", "several-seeds"}), only=ONLY)
    return [true, *(entry for weight in WRONG for entry in _wrong(true, weight))]


def _wrong(true: Entry, weight: float) -> tuple[Entry, Entry]:
    """Where a weight is believed and learned, and the scenario met by those who believe it."""
    standard, priority = PRIORITY
    believed = (standard, replace(priority, weight=weight))
    source = replace(
        true,
        id=f"priority-weight-{weight:g}-learned",
        tags=frozenset({"learned"}),
        fields={"classes": believed},
    )
    met = replace(
        true,
        id=f"priority-weight-{weight:g}",
        tags=frozenset({"priority", "wrong-weights"}),
        trained_on=source.id,
        tuned_on=source.id,
        only=BELIEVERS,
    )
    return source, met
