"""Families: environments that one router learns in together, named like a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmroute_env import profiles
from llmroute_env.config import EnvConfig
from llmroute_env.engine_scenarios import ENGINE_SCENARIOS
from llmroute_env.scenarios import SCENARIOS, configure
from llmroute_env.specs import Deadline, Pool, Profile, require
from llmroute_env.world_scenarios import WORLD_SCENARIOS, crashing, scraped

Member = tuple[str, Mapping[str, Any]]
"""Scenario, and the fields of EnvConfig that differ; functions of the profile among them."""

BURSTY, REGIMES = "unpredictable-1", "unpredictable-2"


def dedicated(profile: Profile) -> tuple[Pool, ...]:
    """A GPU for every model of the profile, the largest first, which has two."""
    largest, *others = sorted(profile.models, key=lambda model: -model.parameters)
    return (Pool(2, (largest.name,)), *(Pool(1, (model.name,)) for model in others))


APART = ("stable", "paper", "priority", "admission", *ENGINE_SCENARIOS, *WORLD_SCENARIOS)
"""Scenarios that are no members of `any` as they are: other loads, rules, users, actions, services
or worlds."""

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
        (BURSTY, {"pools": dedicated}),
    ),
    "any-world": (
        *((name, {}) for name in ("crash", "stale-100ms", "stale-1s", "stale-10s")),
        *((name, {}) for name in ("spot", "mixed-gpus")),
        ("crash", {"failures": crashing(240.0)}),
        ("crash", {"failures": crashing(15.0)}),
        ("crash", {"signals": scraped(10.0)}),
        ("crash", {"pools": (Pool(2),)}),
        ("crash", {"pools": (Pool(8),)}),
        ("stale-1s", {"pools": (Pool(16),)}),
        ("stale-10s", {"pools": (Pool(2),)}),
        ("stale-1s", {"load": (0.5, 5.0)}),
    ),
}
"""`any`: every arrival pattern of users who are all alike, loads from 0.25 to 30, deadlines from
0.25 s to 1 s, hard and soft, 2, 4 and 8 GPUs, shared and dedicated.

`any-world`: static batches where signals are 0.1, 1 and 10 s apart, machines are up for 15, 60 and
240 s in the mean or leave as spot machines do, GPUs are of three kinds, and 2, 4, 5, 8 and 16 of
them."""


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
    profile = fields.get("profile", EnvConfig.profile)
    known = profiles.load(profile) if isinstance(profile, str) else profile
    return tuple(
        configure(scenario, **{**of_profile(own, known), **fields})
        for scenario, own in members(name)
    )


def of_profile(fields: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """`fields`, those that are functions of the profile replaced by what they return for it."""
    return {name: own(profile) if callable(own) else own for name, own in fields.items()}
