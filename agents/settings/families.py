"""Families: environments that one router learns in together, named like a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmroute_env.config import EnvConfig
from llmroute_env.scenarios import SCENARIOS, configure
from llmroute_env.specs import Deadline, Pool, require

Member = tuple[str, Mapping[str, Any]]
"""Scenario, and the fields of EnvConfig that differ from it."""

BURSTY, REGIMES = "unpredictable-1", "unpredictable-2"
DEDICATED = (Pool(2, ("opt-6.7b",)), Pool(1, ("opt-1.3b",)), Pool(1, ("opt-125m",)))

APART = ("stable", "paper", "priority")
"""Scenarios that are no members of `any` as they are: other loads, other rules, other users."""

FAMILIES: dict[str, tuple[Member, ...]] = {
    "any": (
        *((name, {}) for name in SCENARIOS if name not in APART),
        ("stable", {"load": (0.25, 30.0)}),
        (BURSTY, {"deadline": Deadline(0.25)}),
        (REGIMES, {"deadline": Deadline(0.6)}),
        (BURSTY, {"deadline": Deadline(1.0)}),
        (BURSTY, {"deadline": Deadline(0.4, "linear", grace_s=0.1)}),
        (BURSTY, {"pools": (Pool(2),)}),
        (REGIMES, {"pools": (Pool(2),)}),
        (BURSTY, {"pools": (Pool(8),)}),
        (REGIMES, {"pools": (Pool(8),)}),
        (BURSTY, {"pools": DEDICATED}),
    )
}
"""`any`: every arrival pattern of users who are all alike, loads from 0.25 to 30, deadlines from
0.25 s to 1 s, hard and soft, 2, 4 and 8 GPUs, shared and dedicated."""


def members(name: str) -> tuple[Member, ...]:
    """The environments of family `name`, or the one of scenario `name`.

    Raises:
        ConfigError: it is neither.
    """
    accepted = ", ".join([*SCENARIOS, *FAMILIES])
    require(name in SCENARIOS or name in FAMILIES, "scenario", name, accepted)
    return FAMILIES.get(name, ((name, {}),))


def configurations(name: str, fields: Mapping[str, Any]) -> tuple[EnvConfig, ...]:
    """Those environments, with `fields` replaced in each.

    Raises:
        ConfigError: unknown name or field, or a value that a field does not accept.
    """
    return tuple(configure(scenario, **{**own, **fields}) for scenario, own in members(name))
