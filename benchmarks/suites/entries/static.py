"""Entries in the paper's own setting: static serving, which drops nothing.

Jha et al. (arXiv 2401.07886) do not say that a request is ever dropped, and static serving drops
none: after a burst a large model works off a queue of hopeless requests and misses the calm seconds
too. Our own default sheds them, which helps whoever falls behind. Here nothing is shed and no queue
is full. Routers learn and controls are tuned over a range of loads, and meet each load by itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.suites.entries.entry import Entry
from llmroute_env import profiles
from llmroute_env.scenarios import STATIC
from llmroute_env.specs import Deadline, Pool, Profile

WORKLOADS = ("unpredictable-1", "unpredictable-2")
LOADS = (1.0, 1.5, 2.5)
LENGTHS_S = (30.0, 120.0)
SEVERAL: dict[str, Any] = {"load": (LOADS[0], LOADS[-1])}
"""Where routers learn: an episode has one load of the range."""

GPUS = (8, 12, 16, 24, 32, 48)
"""Numbers of static GPUs that four GPUs with a router are compared with."""

FEW_EPISODES = 16
"""Of 120 s: the test split lasts 960 s, more would only be the same seconds again."""

POWERS = (4, 16)
"""To which a router takes accuracies, relative to the largest model's, for their worth."""

TUNED_ON_S = 30.0
"""Length of the episodes that controls are tuned on: what a queue that grows costs comes late."""

SENSITIVE = "rollout-pi", "steep-pair", "opt-6.7b"
"""Routers whose windows are compared under other choices."""


def static_entries(stable_loads: tuple[float, ...]) -> list[Entry]:
    """All of them; those of constant rate at `stable_loads`."""
    return [
        *(entry for name in WORKLOADS for entry in of_workload(f"static-{name}", name, STATIC)),
        *of_stable(stable_loads),
        _entry("static-soft", "soft", "static soft", **STATIC, **SEVERAL),
        _entry("static-soft-2", WORKLOADS[1], "static soft", deadline=SOFT, **STATIC, **SEVERAL),
        *(entry for name in WORKLOADS for entry in on_h100(name)),
        *(entry for name in WORKLOADS for entry in of_shedding(name)),
        *sensitivity(),
        *(entry for name in WORKLOADS for entry in per_gpu(name)),
    ]


SOFT = Deadline(0.4, "linear", grace_s=0.4)


def _entry(id: str, scenario: str, tags: str, **fields: Any) -> Entry:
    entry = Entry(id, scenario, frozenset(tags.split()), fields)
    return replace(entry, tuning_window_s=TUNED_ON_S)


def of_workload(
    id: str, scenario: str, fields: dict[str, Any], tags: str = "static"
) -> list[Entry]:
    """Where routers learn on a workload, and every load and length of episodes by itself."""
    any_load = replace(_entry(id, scenario, tags, **fields, **SEVERAL), also=("sb3-dqn",))
    each = [
        at_load(any_load, load, length_s, f"{tags} grid")
        for load in LOADS
        for length_s in LENGTHS_S
    ]
    return [any_load, *each]


def at_load(base: Entry, load: float, length_s: float, tags: str) -> Entry:
    """One load of those that `base` draws from, in episodes of another length."""
    long = length_s > LENGTHS_S[0]
    return replace(
        base,
        id=f"{base.id}-load-{load:g}{f'-{length_s:g}s' if long else ''}",
        tags=frozenset(tags.split()),
        fields={**base.fields, "load": load, "window_s": length_s},
        trained_on=base.trained_on or base.id,
        tuned_on=base.tuned_on or base.id,
        episodes=FEW_EPISODES if long else None,
    )


def of_stable(loads: tuple[float, ...]) -> list[Entry]:
    """The highest rate at which requests are answered in time."""
    any_load = _entry("static-stable-any", "stable", "static", load=(0.25, 30.0), **STATIC)
    each = [
        replace(
            _entry(f"static-stable-{load:g}", "stable", "static-stable", load=load, **STATIC),
            trained_on=any_load.id,
            tuned_on=any_load.id,
        )
        for load in loads
    ]
    return [any_load, *each]


def on_h100(name: str) -> list[Entry]:
    """Entries of the grid on faster GPUs, with fewer routers."""
    fields = {**STATIC, "profile": "opt-h100"}
    found = of_workload(f"static-h100-{name}", name, fields, "static-h100 several-seeds")
    only = ("opt-6.7b", "opt-1.3b", "opt-125m", "largest-feasible", "steep-pair")
    return [replace(e, only=(*only, "ddqn-paper", "rollout-pi"), also=()) for e in found]


def of_shedding(name: str) -> list[Entry]:
    """Our own setting at every load and length: hopeless requests are dropped, queues are short."""
    own = Entry(name, name, frozenset({"main"}))
    return [
        replace(at_load(own, load, length_s, "shedding grid"), only=SENSITIVE)
        for load in LOADS
        for length_s in LENGTHS_S
    ]


def sensitivity() -> list[Entry]:
    """One choice changed at a time, at load 1.5 in episodes of 120 s."""
    name = WORKLOADS[0]
    base = _entry(f"static-{name}", name, "static", **STATIC, **SEVERAL)
    found = [
        _changed(f"static-queue-{capacity}", replace(base, trained_on=base.id, tuned_on=base.id),
                 queue_capacity=capacity)
        for capacity in (64, 512)
    ]  # fmt: skip
    for deadline_s in (0.25, 1.0):
        change = {"deadline": Deadline(deadline_s)}
        found += _learned(base, f"static-deadline-{deadline_s:g}", change, change)
    for power in POWERS:
        seen = {"profile": sharpened(profiles.load("opt-a100"), power)}
        found += _learned(base, f"static-power-{power}", seen, {})
    return [replace(entry, only=SENSITIVE) for entry in found]


def _learned(
    base: Entry, id: str, learned: dict[str, Any], met: dict[str, Any]
) -> tuple[Entry, Entry]:
    """Where routers learn, and what they meet: `base` with some fields changed."""
    source = replace(
        base, id=f"{id}-learned", tags=frozenset({"learned"}), fields={**base.fields, **learned}
    )
    return source, _changed(id, replace(base, trained_on=source.id, tuned_on=source.id), **met)


def _changed(id: str, base: Entry, **fields: Any) -> Entry:
    entry = at_load(base, LOADS[1], LENGTHS_S[1], "static-sensitivity")
    return replace(entry, id=id, fields={**entry.fields, **fields})


def sharpened(profile: Profile, power: float) -> Profile:
    """A profile in which smaller models are worth less: what a router maximises, not what counts.

    The accuracy of a model relative to the largest model's is taken to `power`.
    """
    largest = max(profile.models, key=lambda model: model.parameters)
    models = tuple(
        replace(
            model,
            accuracy=tuple(
                best * (own / best) ** power
                for own, best in zip(model.accuracy, largest.accuracy, strict=True)
            ),
        )
        for model in profile.models
    )
    return replace(profile, name=f"{profile.name}-power-{power:g}", models=models)


def per_gpu(name: str) -> list[Entry]:
    """The largest model alone on more GPUs, at the arrivals that four GPUs with a router meet."""
    settings = {"static": ("opt-a100", STATIC), "static-h100": ("opt-h100", STATIC)}
    settings["shedding"] = ("opt-a100", {})
    return [
        Entry(
            f"{setting}-{name}-load-{load:g}-on-{gpus}",
            name,
            frozenset({"per-gpu", setting}),
            {**fields, "profile": profile, "load": 4 * load / gpus, "pools": (alone(gpus),)},
            only=("opt-6.7b",),
            bounded=False,
        )
        for setting, (profile, fields) in settings.items()
        for load in LOADS
        for gpus in GPUS
    ]


def alone(gpus: int) -> Pool:
    """GPUs that host the largest model only."""
    return Pool(gpus, ("opt-6.7b",))
