"""Entries of a world that breaks and is seen late: scenarios, shifts, and what each thing costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from agents.heuristics.table import COUNTING
from agents.heuristics.tuning import STRONGEST
from benchmarks.suites.entries.entry import Entry
from benchmarks.suites.entries.scenarios import BALANCERS, as_they_stand
from llmroute_env.scenarios import SCENARIOS, configure
from llmroute_env.signal_specs import Signals
from llmroute_env.specs import Pool
from llmroute_env.world_scenarios import OF_FAILURES, crashing, scraped

COMPARED = ("steep-pair", "largest-feasible", *COUNTING, *BALANCERS)
SHIFTED = ("steep-pair", *COUNTING, "ddqn")

INTERVALS_S = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)
UP_S = (600.0, 240.0, 60.0, 30.0, 15.0)
SLOW_GPUS = range(5)
"""Of four: L40S in place of A100."""

SHIFT_INTERVALS_S = (0.0, 0.1, 1.0, 10.0)
SHIFT_UP_S = (240.0, 60.0, 15.0)

SEEN: dict[str, tuple[str, dict[str, Any]]] = {
    name: (name, {})
    for name in ("stale-100ms", "stale-1s", "stale-10s", "crash", "spot", "mixed-gpus")
}

BASES = {"": "stale-1s", "tokens-": "tokens-stale-1s"}
"""What is varied, by what its ids begin with."""


def world_entries() -> list[Entry]:
    """All of them."""
    scenarios = [name for name, scenario in SCENARIOS.items() if "world" in scenario.tags]
    return [*as_they_stand(scenarios, "world", "several-seeds"), *_shifts(), *_costs()]


def generalist_entries() -> list[Entry]:
    """What a generalist for broken worlds learned in, and what it never met."""
    return [*_of_generalist("seen", SEEN), *_of_generalist("unseen", UNSEEN)]


def _of_generalist(
    kind: str, fields_of: Mapping[str, tuple[str, dict[str, Any]]]
) -> Iterator[Entry]:
    for name, (scenario, fields) in fields_of.items():
        late = configure(scenario, **fields).signals.are_late
        rules = (*STRONGEST, *(COUNTING if late else ()))
        tags = frozenset({"generalist-world", f"{kind}-world"})
        yield Entry(f"{kind}-{name}", scenario, tags, fields, only=(*rules, "generalist-world"))


def _shifts() -> Iterator[Entry]:
    """Routers that meet signals as late, and machines that fail as often, as others learn with."""
    for train in SHIFT_INTERVALS_S:
        for test in SHIFT_INTERVALS_S:
            yield _shift("signals", train, test, "stale-1s", {"signals": scraped(test)})
    for train in SHIFT_UP_S:
        for test in SHIFT_UP_S:
            yield _shift("crash", train, test, "crash", {"failures": crashing(test)})


def _shift(kind: str, train: float, test: float, scenario: str, fields: dict[str, Any]) -> Entry:
    source = f"{kind}-{train:g}-to-{train:g}"
    tags = frozenset({"world", f"{kind}-shift"})
    entry = Entry(f"{kind}-{train:g}-to-{test:g}", scenario, tags, fields)
    if train != test:
        entry = replace(entry, trained_on=source, tuned_on=source)
    return replace(entry, only=SHIFTED, bounded=False)


UNSEEN: dict[str, tuple[str, dict[str, Any]]] = {
    "scraped-300ms": ("stale-1s", {"signals": scraped(0.3)}),
    "scraped-3s": ("stale-1s", {"signals": scraped(3.0)}),
    "scraped-30s": ("stale-1s", {"signals": scraped(30.0)}),
    "up-30s": ("crash", {"failures": crashing(30.0)}),
    "up-120s": ("crash", {"failures": crashing(120.0)}),
    "late-gpus-3": ("stale-1s", {"pools": (Pool(3),)}),
    "crash-gpus-6": ("crash", {"pools": (Pool(6),)}),
    "late-gpus-12": ("stale-10s", {"pools": (Pool(12),)}),
    "everything": ("everything", {}),
}
"""By what is new in them."""


def _costs() -> Iterator[Entry]:
    for prefix, scenario in BASES.items():
        usual = configure(scenario)
        sees = {"observation": (*usual.observation, *OF_FAILURES)}
        fields: dict[str, Any]
        for interval_s in INTERVALS_S:
            fields = {"signals": scraped(interval_s)}
            yield _cost(f"{prefix}cost-signals-{interval_s:g}", scenario, fields)
        for up_s in UP_S:
            fields = {"failures": crashing(up_s), **sees}
            yield _cost(f"{prefix}cost-crash-{up_s:g}", scenario, fields)
    rates = [configure("stale-1s", **with_slow(slow)).load_1_per_s for slow in SLOW_GPUS]
    for slow, load_1_per_s in zip(SLOW_GPUS, rates, strict=True):
        # A load is relative to what the GPUs can do: that of the arrivals stays.
        load = configure("stale-1s").load_range[0] * rates[0] / load_1_per_s
        yield _cost(f"cost-slow-{slow}", "stale-1s", with_slow(slow) | {"load": load})


def with_slow(gpus: int) -> dict[str, Any]:
    """Fields of four GPUs of which so many are slow, seen exactly."""
    kinds = (("a100-80gb", 4 - gpus), ("l40s-48gb", gpus))
    pools = tuple(Pool(count, (), kind) for kind, count in kinds if count)
    return {"profile": "opt-mixed", "pools": pools, "signals": Signals()}


def _cost(id: str, scenario: str, fields: dict[str, Any]) -> Entry:
    """One value of what is varied, for a minute, without learning."""
    late = fields.get("signals", configure(scenario).signals).are_late
    only = COMPARED if late else tuple(a for a in COMPARED if a not in COUNTING)
    fields = {**fields, "window_s": 60.0}
    tags = frozenset({"world", id.rpartition("-")[0]})
    return Entry(id, scenario, tags, fields, only=("best-single", *only), bounded=False)
