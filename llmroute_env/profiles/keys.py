"""The keys of a profile's file, and their types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmroute_env.specs import ConfigError
from traces.typed import conform, nearest, shown

Rows = tuple[dict[str, Any], ...]

PROFILE_KEYS: dict[str, Any] = {
    "name": str,
    "extends": str,
    "prompt_tokens": int,
    "output_tokens": int,
    "largest_batch": int,
    "tasks": tuple[str, ...],
    "task_metrics": tuple[str, ...],
    "task_items": tuple[int, ...],
    "accuracy_source": str,
    "step_times": str,
    "host_s_range": tuple[float, float],
    "host_s_source": str,
    "prefill_factor": float,
    "prefill_factor_range": tuple[float, float],
    "prefill_factor_source": str,
    "gpus": Rows,
    "models": Rows,
}

GPU_KEYS: dict[str, Any] = {
    "name": str,
    "memory_bytes": int,
    "relative_speed": float,
    "source": str,
    "gpus": int,
    "reserved_bytes": int,
    "max_num_seqs": int,
    "max_num_batched_tokens": int,
    "host_s": float,
    "step_times_source": str,
}

FIT_KEYS: dict[str, Any] = {
    "base_s": float,
    "per_request_s": float,
    "latency_source": str,
    "latency_is_estimate": bool,
    "measured_batch": tuple[int, ...],
    "measured_s": tuple[float, ...],
}

MODEL_KEYS: dict[str, Any] = FIT_KEYS | {
    "name": str,
    "layers": int,
    "heads": int,
    "hidden": int,
    "parameters": int,
    "weights_bytes": int,
    "kv_bytes_per_token": int,
    "context_tokens": int,
    "architecture_source": str,
    "accuracy": tuple[float, ...],
    "accuracy_source": tuple[str, ...],
    "on": dict[str, Any],
}


def check_profile(own: Mapping[str, Any], where: str) -> None:
    """Raise a ConfigError unless the tables have only keys of profiles, each of its type."""
    check_keys(own, PROFILE_KEYS, where)
    for row in own.get("gpus", ()):
        check_keys(row, GPU_KEYS, f"{where} gpus")
    for row in own.get("models", ()):
        check_keys(row, MODEL_KEYS, f"{where} model {row.get('name')!r}")
        for gpu, fit in row.get("on", {}).items():
            conform(fit, dict[str, Any], f"{where} model {row.get('name')!r} on.{gpu}", ConfigError)
            check_keys(fit, FIT_KEYS, f"{where} model {row.get('name')!r} on.{gpu}")


def check_keys(table: Mapping[str, Any], keys: Mapping[str, Any], where: str) -> None:
    """Raise a ConfigError for a key that is not one of `keys`, or a value of another type."""
    for key, value in table.items():
        if key not in keys:
            accepted = f"{nearest(key, keys)}accepted: {', '.join(keys)}"
            raise ConfigError(
                f"{where} {key}: got {shown(value)}, which no profile has; {accepted}"
            )
        found = tuple(value) if isinstance(value, list) else value
        conform(found, keys[key], f"{where} {key}", ConfigError)
