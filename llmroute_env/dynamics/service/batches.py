"""How many requests static batching takes at once, and the rate that is load 1."""

from __future__ import annotations

from collections import Counter
from typing import Any

from llmroute_env.specs import ConfigError, ModelSpec, Pool, require


def batch_limit(config: Any, model: ModelSpec, pool: Pool) -> int:
    """The most requests that a batch of `model` may hold in `pool`."""
    if model.name in config.max_batch:
        return int(config.max_batch[model.name])
    return model.sustainable_batch(config.gpu_of(pool), config.deadline.deadline_s)


def sustained_per_s(config: Any, model: ModelSpec) -> float:
    """Requests per second that `model` alone serves in time: b* / T(b*), over its GPUs."""
    hosts = Counter[str]()
    for pool in config.pools:
        if model.name in pool.models:
            hosts[config.gpu_of(pool).name] += pool.gpus
    total = 0.0
    for name, gpus in hosts.items():
        gpu = config.resolved_profile.gpu(name)
        batch = model.sustainable_batch(gpu, config.deadline.deadline_s)
        total += gpus * batch / model.latency_s(gpu)[batch - 1]
    return total


def check(config: Any) -> None:
    """Raise a ConfigError unless every pool has latencies and memory for what it hosts."""
    for pool in config.pools:
        for name in pool.models:
            _check_batches(config, config.resolved_profile.model(name), pool)
        _check_memory(config, pool)


def _check_batches(config: Any, model: ModelSpec, pool: Pool) -> None:
    measured = len(model.latency_s(config.gpu_of(pool)))
    accepted = "a profile with batch_latency_s, which static batching runs"
    require(measured > 0, f"model {model.name!r}", "no batch_latency_s", accepted)
    limit = batch_limit(config, model, pool)
    accepted = f"1 to {measured}, the largest batch of the profile"
    require(1 <= limit <= measured, f"max_batch {model.name!r}", limit, accepted)


def _check_memory(config: Any, pool: Pool) -> None:
    gpu = config.gpu_of(pool)
    models = [config.resolved_profile.model(name) for name in pool.models]
    weights = sum(model.weights_bytes for model in models)
    tokens = config.resolved_profile.tokens_per_request
    cache = max(m.kv_bytes_per_token * batch_limit(config, m, pool) * tokens for m in models)
    if weights + cache > gpu.memory_bytes:
        raise ConfigError(
            f"pool models: got {pool.models!r}, whose weights ({weights / 1e9:.1f} GB) and "
            f"largest KV cache ({cache / 1e9:.1f} GB) do not fit GPU {gpu.name!r}; "
            f"accepted: at most {gpu.memory_bytes / 1e9:.1f} GB together"
        )
