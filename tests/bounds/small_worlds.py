"""What may happen beside the arrivals of small instances: machines fail, requests come back."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np

from llmroute_env.config import EnvConfig
from llmroute_env.failure_specs import (
    ExponentialTimes,
    Failures,
    LognormalTimes,
    Outage,
    ReplayedTimes,
)
from llmroute_env.signal_specs import Signals
from llmroute_env.specs import TICK_S, Defer, to_ticks_s
from tests.reference.continuous_adapter import config_of

from .small_engines import tiny_case
from .small_instances import UNIT_S, random_config, with_classes


def static_world(seed: int) -> EnvConfig:
    """A few requests in static batching; kinds of GPU may have tables of their own."""
    config, rng = with_classes(random_config(seed), seed), np.random.default_rng([seed, 2])
    if len(config.pools) == 2 and rng.integers(2):
        config = with_own_tables(config, rng)
    return shortened(with_world(config, rng, 4 * UNIT_S))


def engine_world(seed: int) -> EnvConfig:
    """A few requests in continuous batching."""
    case = tiny_case(seed)
    span = max(case.requests[-1].arrival - case.requests[0].arrival, 20)
    unit_s = max(round(span / len(case.requests) / 2), 1) * TICK_S
    return shortened(with_world(config_of(case), np.random.default_rng([seed, 3]), unit_s))


def with_own_tables(config: EnvConfig, rng: np.random.Generator) -> EnvConfig:
    """On the second kind of GPU the models are slow and quick in a way of their own."""
    profile = config.resolved_profile
    tables = [
        UNIT_S * np.cumsum([rng.integers(1, 25), *rng.integers(0, 10, len(model.batch_latency_s))])
        for model in profile.models
    ]
    models = tuple(
        replace(model, latency_by_gpu={"gpu-1": tuple(table)})
        for model, table in zip(profile.models, tables, strict=True)
    )
    return replace(config, profile=replace(profile, models=models))


def with_world(config: EnvConfig, rng: np.random.Generator, unit_s: float) -> EnvConfig:
    """Machines that fail, a worth of rejection, deferral and late signals: some of these."""
    largest = config.models.index(config.largest_model)
    most = float(config.utility[:, :, largest].max())
    rejects = config.reject or bool(rng.integers(2))
    worth = float(rng.choice([-0.3, 0.0, 0.2, 0.5, 1.0]))
    wait_s = to_ticks_s(unit_s * int(rng.integers(1, 9)))
    late = Signals(unit_s * float(rng.choice([0.5, 3.0])), noise=0.3)
    return replace(
        config,
        failures=failures(config, rng, unit_s) if rng.random() < 0.8 else None,
        reject=rejects,
        reject_utility=worth * most if rejects else 0.0,
        defer=Defer(wait_s, 1) if rng.random() < 0.4 else None,
        signals=late if rng.random() < 0.2 else Signals(),
    )


def failures(config: EnvConfig, rng: np.random.Generator, unit_s: float) -> Failures:
    """Outages that are listed, or drawn, of machines that take a few units to come back."""
    sizes = [pool.gpus for pool in config.pools]
    width = 2 if rng.integers(2) and all(size % 2 == 0 for size in sizes) else 1
    one = bool(len(sizes) == 2 and rng.integers(2))
    machines = sum(size // width for size in (sizes[1:] if one else sizes))
    warm_up_s = unit_s * int(rng.choice([0, 0, 1, 4]))
    after_s = unit_s * int(rng.choice([0, 1, 6]))
    return Failures(
        **times(rng, unit_s, machines, warm_up_s),
        gpus_per_machine=width,
        warm_up_s=warm_up_s,
        detection="time-out" if after_s else "fail-fast",
        timeout_s=after_s,
        tries=int(rng.choice([1, 2, 2])),
        pools=(1,) if one else (),
    )


def times(rng: np.random.Generator, unit_s: float, machines: int, warm_up_s: float) -> dict:
    """When machines are down."""
    mean_s = unit_s * float(rng.choice([2.0, 6.0, 20.0]))
    lengths_s = tuple(unit_s * rng.integers(1, 20, 5).astype(float))
    recipes = (
        {"up": ExponentialTimes(mean_s), "down": LognormalTimes(2 * unit_s, 0.6)},
        {"up": ReplayedTimes(lengths_s), "down": ExponentialTimes(mean_s)},
    )
    which = int(rng.integers(4))
    if which < len(recipes):
        return recipes[which]
    outages = []
    for machine in range(machines):
        at_s = 0.0
        for _ in range(int(rng.integers(1, 4))):
            from_s = at_s + unit_s * int(rng.integers(1, 8))
            until_s = from_s + unit_s * float(rng.choice([0.5, 2.0, 9.0, math.inf]))
            outages.append(Outage(machine, from_s, until_s))
            if until_s == math.inf:
                break
            at_s = until_s + warm_up_s
    return {"outages": tuple(outages)}


MOST_WAYS = 20_000


def shortened(config: EnvConfig) -> EnvConfig:
    """With so few requests that all that can be done about them can be tried."""
    tries = config.failures.tries if config.failures else 1
    defers = config.defer.most if config.defer else 0
    most = int(math.log(MOST_WAYS) / math.log(ways(config, tries, defers)))
    few = first_requests(config.workload, min(most, 4))
    return replace(config, workload=few, observation=("task",))


def ways(config: EnvConfig, tries: int, defers: int) -> int:
    """How many ways there are with one request at the most: if all that is sent fails."""
    sends = config.actions - config.reject - (config.defer is not None)
    found = config.reject + sends * (ways(config, tries - 1, defers) if tries > 1 else 1)
    if config.defer is not None:
        found += ways(config, tries, defers - 1) if defers else 1
    return found


def first_requests(trace, most):
    names = ("arrival_s", "task", "prompt_tokens", "output_tokens")
    return replace(trace, **{name: getattr(trace, name)[:most] for name in names})


def kinds(configs: list[EnvConfig]) -> Counter:
    """Of what there is how much."""
    found: Counter[str] = Counter()
    for config in configs:
        found["rejection that earns"] += config.reject_utility > 0
        found["rejection that costs"] += config.reject_utility < 0
        found["deferral"] += config.defer is not None
        found["late signals"] += config.signals.are_late
        found["tables by GPU"] += any(model.latency_by_gpu for model in config.models)
        failing = config.failures
        if failing is None:
            continue
        found["listed" if failing.outages else "drawn"] += 1
        found["for ever"] += any(outage.until_s == math.inf for outage in failing.outages)
        found["warm-up"] += failing.warm_up_s > 0
        found["time-out"] += failing.timeout_s > 0
        found["tried again"] += failing.tries > 1
        found["one pool"] += len(failing.pools) == 1
        found["of two"] += failing.gpus_per_machine == 2
    return found
