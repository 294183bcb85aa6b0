"""From a configuration to the read-only tables of the compiled dynamics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.cluster import LOGARITHMS, POOL, RULES, TERMS, Cluster
from llmroute_env.dynamics.dispatch import DISPATCHERS
from llmroute_env.dynamics.service.models import SERVICES
from llmroute_env.simulation.failures import failure_rules, machines_by_pool, periods
from llmroute_env.specs import DEADLINE_KINDS, to_ticks_s


def build_cluster(config: EnvConfig, rules: Mapping[str, float]) -> Cluster:
    """The tables for the compiled dynamics; `rules` are the entries that the caller owns."""
    limits = batch_limits(config)
    cluster = Cluster(
        rules=np.zeros(1, RULES),
        pools=pools(config),
        service=SERVICES[config.service].tables(config),
        batch_limit=limits,
        largest_limit=limits.max(axis=0),
        terms=terms(config),
        utility=config.utility,
        log_backlog=np.log1p(np.arange(LOGARITHMS) / config.gpus).astype(np.float32),
        pool_of=np.repeat(np.arange(len(config.pools)), [pool.gpus for pool in config.pools]),
        layout=config.layout.starts,
        periods=periods(config),
    )
    for name, value in {**fixed_rules(config), **rules}.items():
        cluster.rules[0][name] = value
    return cluster


def pools(config: EnvConfig) -> NDArray[np.void]:
    """Which GPUs and which machines are in each pool: POOL, shape (P,)."""
    gpus, machines = [pool.gpus for pool in config.pools], machines_by_pool(config)
    firsts = (np.cumsum([0, *counts])[:-1] for counts in (gpus, machines))
    first_gpu, first_machine = (counts.tolist() for counts in firsts)
    rows = zip(first_gpu, gpus, first_machine, machines, strict=True)
    return np.array(list(rows), POOL)


def terms(config: EnvConfig) -> NDArray[np.void]:
    """When answers count, by class and task: TERMS, shape (C, T)."""
    kinds = config.resolved_classes
    due = [users.deadline_of(task, config.deadline) for users in kinds for task in config.tasks]
    rows = [
        (
            to_ticks_s(d.deadline_s),
            to_ticks_s(d.grace_s),
            DEADLINE_KINDS.index(d.kind),
            *map(to_ticks_s, (d.ttft_s, d.tpot_s, d.patience_s)),
        )
        for d in due
    ]
    return np.array(rows, TERMS).reshape(len(kinds), len(config.tasks))


def batch_limits(config: EnvConfig) -> NDArray[np.int64]:
    """Largest batch by pool and model, shape (P, M); 0 where the pool does not host the model."""
    rows = [
        [config.batch_limit(m, pool) if m.name in pool.models else 0 for m in config.models]
        for pool in config.pools
    ]
    return np.array(rows, np.int64)


def fixed_rules(config: EnvConfig) -> dict[str, float]:
    """Entries of RULES that follow from the configuration alone."""
    low, high = config.load_range
    signals = config.signals
    return {
        "gpus": config.gpus,
        "models": len(config.models),
        "pools": len(config.pools),
        "tasks": len(config.tasks),
        "classes": max(len(config.classes), 1),
        "queue_capacity": config.queue_capacity,
        "dispatcher": DISPATCHERS.index(config.dispatcher),
        "joint_action": config.action == "gpu-model",
        "reject": config.reject,
        "reject_utility": config.reject_utility,
        "defer_s": 0.0 if config.defer is None else to_ticks_s(config.defer.wait_s),
        "most_defers": 0 if config.defer is None else config.defer.most,
        "come_back": config.comes_back,
        **failure_rules(config),
        "shed_expired": config.shed_expired,
        "deadline_aware_batching": config.deadline_aware_batching,
        "peak_model": config.models.index(config.largest_model),
        "load_1_per_s": config.load_1_per_s,
        "fast_window_s": config.rate_windows_s[0],
        "slow_window_s": config.rate_windows_s[1],
        "window_s": config.window_s,
        "min_load": low,
        "max_load": high,
        "scrape_s": to_ticks_s(signals.scrape_interval_s),
        "delay_s": to_ticks_s(signals.delay_s),
        "noise": signals.noise,
        "lost": signals.lost,
        "reckons": signals.dead_reckoning,
        "breaks_circuits": signals.circuit_breaker,
    }
