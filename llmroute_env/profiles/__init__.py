"""Latency and accuracy tables as data: one TOML file per profile, each figure with its source.

A file that `extends` another says only what differs: its own keys, and of models those named alike.
Files of your own are named by their path, which ends in `.toml`; `llmroute latency` writes one. A
model whose latencies on another kind of GPU are not those of the first, scaled, has them in a table
`on.GPU`, with `base_s` and `per_request_s`.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from llmroute_env.specs import ConfigError, GpuSpec, ModelSpec, Profile, require


def names() -> tuple[str, ...]:
    """Names of the profiles that ship with the package."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(f.name[: -len(".toml")] for f in files if f.name.endswith(".toml")))


def load(name: str) -> Profile:
    """The shipped profile called `name`, or that of a `.toml` file as it is now.

    Raises:
        ConfigError: no such profile, or not one.
    """
    return _read(name) if name.endswith(".toml") else _shipped(name)


@lru_cache
def _shipped(name: str) -> Profile:
    return _read(name)


def _read(name: str) -> Profile:
    try:
        return _profile(tables(name))
    except (KeyError, TypeError) as error:
        accepted = "the form of llmroute_env/profiles/opt-a100.toml"
        raise ConfigError(f"profile {name!r}: {error!r}; accepted: {accepted}") from error


def tables(name: str) -> dict[str, Any]:
    """The tables of the profile called `name`, completed by what it extends.

    Raises:
        ConfigError: no such profile, or no TOML.
    """
    try:
        own = tomllib.loads(_text(name))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"profile {name!r}: {error}; accepted: a TOML file") from error
    if "extends" not in own:
        return own
    extended = own["extends"]
    require(extended in names(), f"profile {name!r} extends", extended, ", ".join(names()))
    base, changes = tables(extended), {row["name"]: row for row in own["models"]}
    models = [row | changes.get(row["name"], {}) for row in base["models"]]
    return base | own | {"models": models}


def _text(name: str) -> str:
    if name.endswith(".toml"):
        return Path(name).read_text(encoding="utf-8")
    if name not in names():
        accepted = f"{', '.join(names())}, or the path of a .toml file"
        raise ConfigError(f"profile: {name!r} is unknown; accepted: {accepted}")
    return resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")


def _profile(table: dict[str, Any]) -> Profile:
    return Profile(
        name=table["name"],
        tasks=tuple(table["tasks"]),
        task_items=tuple(table["task_items"]),
        models=tuple(_model(row, table["largest_batch"]) for row in table["models"]),
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
