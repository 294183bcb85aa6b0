"""Machines that fail, as the dynamics read them."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.cluster import PERIOD
from llmroute_env.failure_specs import LISTED, Failures
from llmroute_env.specs import to_ticks_s


def failure_rules(config: EnvConfig) -> dict[str, float]:
    """Entries of RULES that are about failures."""
    found = config.failures
    if found is None:
        return {}
    rules: dict[str, float] = {
        "warm_up_s": to_ticks_s(found.warm_up_s),
        "notice_s": to_ticks_s(found.notice_s),
        "timeout_s": to_ticks_s(found.timeout_s),
        "tries": found.tries,
        "machines": sum(machines_by_pool(config)),
        "gpus_per_machine": found.gpus_per_machine,
    }
    for way, law in zip(("up", "down"), found.laws(config.split), strict=True):
        own = {"kind": law.kind, "mean_s": law.mean_s, "mu": law.mu, "sigma": law.sigma}
        rules |= {f"{way}_{name}": value for name, value in own.items()}
        rules[f"{way}_count"] = len(law.lengths_s)
    return rules


def machines_by_pool(config: EnvConfig) -> list[int]:
    """How many machines of each pool fail."""
    if config.failures is None:
        return [0] * len(config.pools)
    fail, width = config.failures.pools, config.failures.gpus_per_machine
    return [
        pool.gpus // width if not fail or number in fail else 0
        for number, pool in enumerate(config.pools)
    ]


def periods(config: EnvConfig) -> NDArray[np.void] | tuple[()]:
    """Times up and down that are replayed or listed: PERIOD, shape (N,)."""
    if not config.is_uncertain:
        # No array: handing one to compiled code takes time, in every step.
        return ()
    if config.failures is None:
        return np.zeros(0, PERIOD)
    up, down = config.failures.laws(config.split)
    if up.kind == LISTED:
        return np.array(listed(config.failures), PERIOD)
    pairs = zip_longest(up.lengths_s, down.lengths_s, fillvalue=0.0)
    return np.array([(0, *pair) for pair in pairs], PERIOD)


def listed(failures: Failures) -> list[tuple[int, float, float]]:
    """Machine, time up before and time down of every outage, machine by machine."""
    rows = []
    for machine in sorted({outage.machine for outage in failures.outages}):
        back_s = 0.0
        for outage in failures.outages_of(machine):
            from_s, until_s = to_ticks_s(outage.from_s), to_ticks_s(outage.until_s)
            rows.append((machine, from_s - back_s, until_s - from_s))
            back_s = until_s + to_ticks_s(failures.warm_up_s)
    return rows
