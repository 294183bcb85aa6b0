"""Latency and accuracy tables as data: one TOML file per profile, each figure with its source.

A file that `extends` another says only what differs: its own keys, and of models those named alike.
Files of your own are named by their path, which ends in `.toml`; `llmroute latency` writes one. A
model whose latencies on another kind of GPU are not those of the first, scaled, has them in a table
`on.GPU`, with `base_s` and `per_request_s`. A key that no profile has is refused, as is a model
that the extended one lacks: a typo must not leave the figures of another profile in place.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from llmroute_env.specs import ConfigError, GpuSpec, ModelSpec, Profile, require
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
    "gpus": Rows,
    "models": Rows,
}

GPU_KEYS: dict[str, Any] = {
    "name": str,
    "memory_bytes": int,
    "relative_speed": float,
    "source": str,
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
    "architecture_source": str,
    "accuracy": tuple[float, ...],
    "accuracy_source": tuple[str, ...],
    "on": dict[str, Any],
}

LARGEST_BATCH = 4096
"""Most rows that a latency table may have."""


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Names of the profiles that ship with the package."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(f.name[: -len(".toml")] for f in files if f.name.endswith(".toml")))


def load(name: str) -> Profile:
    """The shipped profile called `name`, or that of a `.toml` file as it is now.

    Raises:
        ConfigError: no such profile, or not one.
    """
    return _shipped(name) if name in names() else of_tables(_read(name), repr(name))


@lru_cache
def _shipped(name: str) -> Profile:
    return of_tables(_read(name), repr(name))


def of_tables(own: Mapping[str, Any], where: str = "") -> Profile:
    """The profile that the tables of a file describe; `where` names them in messages.

    Raises:
        ConfigError: they describe none.
    """
    try:
        return _profile(_completed(own, f"profile {where}".strip()))
    except KeyError as error:
        accepted = "the form of llmroute_env/profiles/opt-a100.toml"
        raise ConfigError(f"profile {where}: lacks {error}; accepted: {accepted}") from error


def tables(name: str) -> dict[str, Any]:
    """The tables of the profile called `name`, completed by what it extends.

    Raises:
        ConfigError: no such profile, no TOML, or a key that no profile has.
    """
    return _completed(_read(name), f"profile {name!r}")


def _read(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(name))
    except ConfigError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"profile {name!r}: {error}; accepted: a TOML file") from error


def _completed(own: Mapping[str, Any], where: str) -> dict[str, Any]:
    check_profile(own, where)
    if "extends" not in own:
        return dict(own)
    extended = own["extends"]
    require(extended in names(), f"{where} extends", extended, ", ".join(names()))
    base, changes = tables(extended), {row["name"]: row for row in own["models"]}
    known = [row["name"] for row in base["models"]]
    for name in changes:
        accepted = f"{nearest(name, known)}models of {extended}: {', '.join(known)}"
        require(name in known, f"{where} model", name, accepted)
    models = [row | changes.get(row["name"], {}) for row in base["models"]]
    return base | dict(own) | {"models": models}


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


def _text(name: str) -> str:
    if name.endswith(".toml"):
        # In UTF-8 with or without the mark that some editors put first.
        return Path(name).read_text(encoding="utf-8-sig")
    if name not in names():
        accepted = f"{', '.join(names())}, or the path of a .toml file"
        raise ConfigError(f"profile: {name!r} is unknown; accepted: {accepted}")
    return resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")


def _profile(table: dict[str, Any]) -> Profile:
    largest = table["largest_batch"]
    accepted = f"1 to {LARGEST_BATCH}"
    require(1 <= largest <= LARGEST_BATCH, "profile largest_batch", largest, accepted)
    return Profile(
        name=table["name"],
        tasks=tuple(table["tasks"]),
        task_items=tuple(table["task_items"]),
        models=tuple(_model(row, largest) for row in table["models"]),
        gpus=tuple(
            GpuSpec(row["name"], row["memory_bytes"], row["relative_speed"])
            for row in table["gpus"]
        ),
        tokens_per_request=table["prompt_tokens"] + table["output_tokens"],
    )


def _model(row: dict[str, Any], largest_batch: int) -> ModelSpec:
    return ModelSpec(
        name=row["name"],
        parameters=row["parameters"],
        weights_bytes=row["weights_bytes"],
        kv_bytes_per_token=row["kv_bytes_per_token"],
        batch_latency_s=_line(row, largest_batch),
        accuracy=tuple(row["accuracy"]),
        accuracy_source=tuple(row["accuracy_source"]),
        latency_source=row["latency_source"],
        latency_by_gpu={gpu: _line(own, largest_batch) for gpu, own in row.get("on", {}).items()},
    )


def _line(row: dict[str, Any], largest_batch: int) -> tuple[float, ...]:
    """T(1), T(2), ... of an affine fit.

    Raises:
        ConfigError: a batch would begin before it is there, or a larger one end earlier.
    """
    for name in ("base_s", "per_request_s"):
        require(row[name] >= 0, f"profile {name}", row[name], "seconds >= 0")
    return tuple(row["base_s"] + row["per_request_s"] * b for b in range(1, largest_batch + 1))
