"""Entries: the environments that routers are compared on. Data with stable ids and tags.

Every router meets an entry's test split. Routers learn on the train split and are tuned on the
validation split of the entries named by `trained_on` and `tuned_on`: itself, but for shifts, where
the point is that it is another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agents.settings.families import dedicated
from agents.settings.presets import SCENARIO
from benchmarks.suites.entries.entry import Entry
from benchmarks.suites.entries.priority import priority_entries
from benchmarks.suites.entries.scenarios import continuous_entries
from benchmarks.suites.entries.static import static_entries
from benchmarks.suites.entries.world import generalist_entries, world_entries
from llmroute_env import profiles
from llmroute_env.specs import Deadline, Pool
from traces.tasks import TaskMix

STABLE_LOADS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 11.0, 14.0, 17.0, 20.0, 25.0, 30.0)

MIXES = {
    "equal": TaskMix(),
    "knowledge": TaskMix((4.0, 4.0, 1.0, 1.0)),
    "choice": TaskMix((1.0, 1.0, 4.0, 4.0)),
}
"""Task mixes of the robustness matrix."""

EIGHT = (Pool(8),)
OPT = profiles.load("opt-a100")

ARRIVALS = ("stable-any", "unpredictable-1", "unpredictable-2", "azure-conv")
"""Entries whose arrivals the robustness matrix crosses."""


def _entry(id: str, scenario: str, tags: str, **fields: Any) -> Entry:
    return Entry(id, scenario, frozenset(tags.split()), fields)


def _stable() -> list[Entry]:
    any_load = _entry("stable-any", "stable", "stable main", load=(0.25, 30.0))
    loads = [
        _entry(f"stable-{load:g}", "stable", "availability", load=load) for load in STABLE_LOADS
    ]
    eight = [
        replace(
            _entry(f"8gpu-stable-{load:g}", "stable", "availability-8gpu", load=load, pools=EIGHT),
            only=("opt-6.7b", "largest-feasible"),
        )
        for load in STABLE_LOADS[:6]
    ]
    return [any_load, *(replace(entry, trained_on="stable-any") for entry in loads), *eight]


def _variants() -> list[Entry]:
    base = "unpredictable-1"
    return [
        _entry("unpredictable-1", "unpredictable-1", "unpredictable main"),
        _entry("unpredictable-2", "unpredictable-2", "unpredictable main"),
        _entry("azure-conv", "azure-conv", "real main"),
        _entry("azure-code", "azure-code", "real main"),
        _entry("task-shift", "task-shift", "shift main"),
        _entry("soft", "soft", "soft main"),
        _entry("soft-steep", base, "soft main", deadline=Deadline(0.4, "linear", grace_s=0.1)),
        _entry("overload", "overload", "main"),
        _entry("deadline-tight", base, "sensitivity main", deadline=Deadline(0.25)),
        _entry("deadline-loose", base, "sensitivity main", deadline=Deadline(1.0)),
        _entry("batch-small", base, "sensitivity", max_batch={"opt-6.7b": 4}),
        _entry("batch-large", base, "sensitivity", max_batch={"opt-6.7b": 32}),
        _entry("placement-dedicated", base, "sensitivity main", pools=dedicated(OPT)),
        _entry("gpus-2", base, "gpus main", pools=(Pool(2),)),
        _entry("gpus-8", base, "gpus main", pools=EIGHT),
    ]


def _mix_matrix() -> list[Entry]:
    return [
        replace(
            _entry(f"mix-{train}-to-{test}", "unpredictable-1", "mix-matrix", mix=MIXES[test]),
            trained_on=f"mix-{train}-to-{train}",
            tuned_on=f"mix-{train}-to-{train}",
        )
        for train in MIXES
        for test in MIXES
    ]


def _arrival_matrix(entries: list[Entry]) -> list[Entry]:
    known = {entry.id: entry for entry in entries}
    return [
        replace(
            known[test],
            id=f"arrivals-{train}-to-{test}",
            tags=frozenset({"arrival-matrix"}),
            trained_on=train,
            tuned_on=train,
        )
        for train in ARRIVALS
        for test in ARRIVALS
        if train != test
    ]


def _unseen() -> list[Entry]:
    """Numbers of GPUs, deadlines, mixes and latencies that a generalist does not learn on."""
    regimes = "unpredictable-2"
    return [
        _entry("unseen-gpus-3", regimes, "unseen", pools=(Pool(3),), mix=MIXES["knowledge"]),
        _entry("unseen-gpus-6", "azure-code", "unseen", pools=(Pool(6),)),
        _entry("unseen-deadline", "azure-conv", "unseen", deadline=Deadline(0.3)),
        _entry("unseen-soft", regimes, "unseen", deadline=Deadline(0.5, "linear", grace_s=0.2)),
        _entry("unseen-h100", "unpredictable-1", "unseen", profile="opt-h100"),
    ]


def _testing() -> list[Entry]:
    return [
        _entry("testing-stable", "stable", "testing", load=2.0, window_s=3.0),
        _entry("testing-overload", "overload", "testing", window_s=2.0),
    ]


def _entries() -> dict[str, Entry]:
    single = [*_stable(), *_variants()]
    every = [*single, *_mix_matrix(), *_arrival_matrix(single), *static_entries(STABLE_LOADS)]
    every += [*priority_entries(), *world_entries(), *continuous_entries()]
    every += [*_unseen(), *generalist_entries(), *_testing()]
    return {entry.id: entry for entry in every}


ENTRIES = _entries()


def training_entry(entry: Entry, algorithm: str) -> Entry:
    """What a router that meets `entry` is trained on: another entry, or the algorithm's family."""
    family = SCENARIO.get(algorithm)
    if family is None:
        return ENTRIES[entry.trained_on] if entry.trained_on else entry
    return Entry(family, family, frozenset({"main"}))


def tagged(*tags: str) -> tuple[str, ...]:
    """Ids of the entries that have one of `tags`, in their order."""
    return tuple(entry.id for entry in ENTRIES.values() if entry.tags & set(tags))
