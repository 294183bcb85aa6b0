"""Latency and accuracy tables as data: one TOML file per profile, each figure with its source.

A file that `extends` another says only what differs: its own keys, and of models those named alike.
Files of your own are named by their path, which ends in `.toml`; `llmroute latency` writes one. A
model whose latencies on another kind of GPU are not those of the first, scaled, has them in a table
`on.GPU`, with `base_s` and `per_request_s`. A key that no profile has is refused, as is a model
that the extended one lacks: a typo must not leave the figures of another profile in place.

For continuous batching a profile names a table of measured steps beside it (`step_times`, the form
of which step_tables.py describes); its models need no latencies of batches.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from llmroute_env.engine_specs import StepTimes
from llmroute_env.profiles import step_tables
from llmroute_env.profiles.keys import check_profile
from llmroute_env.specs import ConfigError, GpuSpec, ModelSpec, Profile, require
from traces.typed import nearest

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
    return _shipped(name) if name in names() else of_tables(_read(name), repr(name), _folder(name))


@lru_cache
def _shipped(name: str) -> Profile:
    return of_tables(_read(name), repr(name), _folder(name))


def _folder(name: str) -> Traversable:
    return Path(name).parent if name.endswith(".toml") else resources.files(__name__)


def of_tables(own: Mapping[str, Any], where: str = "", folder: Traversable = Path()) -> Profile:
    """The profile that the tables of a file describe.

    Args:
        own: the tables.
        where: names them in messages.
        folder: that of the file, beside which the steps are that it names.

    Raises:
        ConfigError: they describe none.
    """
    try:
        table = _completed(own, f"profile {where}".strip())
        steps = _steps(own, table, folder)
        if steps and "step_times" not in own:
            table["models"] = [row for row in table["models"] if steps[row["name"]]]
        return _profile(table, steps)
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


def _text(name: str) -> str:
    if name.endswith(".toml"):
        # In UTF-8 with or without the mark that some editors put first.
        return Path(name).read_text(encoding="utf-8-sig")
    if name not in names():
        accepted = f"{', '.join(names())}, or the path of a .toml file"
        raise ConfigError(f"profile: {name!r} is unknown; accepted: {accepted}")
    return resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")


Steps = Mapping[str, Mapping[str, StepTimes]]
"""Step times by model and kind of GPU."""

UNBATCHED: dict[str, Any] = {
    "prompt_tokens": 0,
    "output_tokens": 0,
    "largest_batch": 1,
    "task_items": (),
}
"""What a profile with measured steps need not say: how long batches take."""


def _steps(own: Mapping[str, Any], table: Mapping[str, Any], folder: Traversable) -> Steps:
    """The measured steps of a profile, with what it adds to all of them."""
    if "step_times" not in table:
        return {}
    source, gpus = table, {row["name"]: row for row in table["gpus"]}
    if "step_times" not in own:
        # Those of the extended profile, of which this one may leave out kinds of GPUs, and with
        # them the models that only these run.
        source, folder = tables(own["extends"]), resources.files(__name__)
    kinds = tuple(row["name"] for row in source["gpus"])
    models = tuple(row["name"] for row in table["models"])
    read = step_tables.read(folder, table["step_times"], step_tables.Known(kinds, models))
    return {
        name: {
            gpu: _step_times(parts, gpus[gpu], table)
            for (gpu, model), parts in read.items()
            if model == name and gpu in gpus
        }
        for name in models
    }


def _step_times(
    parts: step_tables.Parts, gpu: Mapping[str, Any], table: Mapping[str, Any]
) -> StepTimes:
    host_s, factor = gpu.get("host_s", 0.0), table.get("prefill_factor", 1.0)
    for name, value in {"host_s": host_s, "prefill_factor": factor}.items():
        low, high = table.get(f"{name}_range", (value, value))
        require(
            low <= value <= high, f"profile {name}", value, f"within {name}_range, {low} to {high}"
        )
    source = gpu.get("step_times_source", "")
    return StepTimes(*parts[:4], host_s, factor, source, parts.mixed, parts.beside)


def _profile(table: dict[str, Any], steps: Steps) -> Profile:
    table = UNBATCHED | table if steps else table
    largest = table["largest_batch"]
    accepted = f"1 to {LARGEST_BATCH}"
    require(1 <= largest <= LARGEST_BATCH, "profile largest_batch", largest, accepted)
    sources = [table.get("accuracy_source", "")] * len(table["tasks"])
    return Profile(
        name=table["name"],
        tasks=tuple(table["tasks"]),
        task_items=tuple(table["task_items"]),
        models=tuple(
            _model({"accuracy_source": sources} | row, largest, steps.get(row["name"], {}))
            for row in table["models"]
        ),
        gpus=tuple(_gpu({"relative_speed": 1.0} | row if steps else row) for row in table["gpus"]),
        tokens_per_request=table["prompt_tokens"] + table["output_tokens"],
    )


LIMITS = ("gpus", "reserved_bytes", "max_num_seqs", "max_num_batched_tokens")
"""What a GPU's row may say, or leave to the default of GpuSpec."""


def _gpu(row: Mapping[str, Any]) -> GpuSpec:
    limits = {name: row[name] for name in LIMITS if name in row}
    return GpuSpec(row["name"], row["memory_bytes"], row["relative_speed"], **limits)


def _model(
    row: dict[str, Any], largest_batch: int, step_times: Mapping[str, StepTimes]
) -> ModelSpec:
    unbatched = len(step_times) > 0 and "base_s" not in row
    context = {"context_tokens": row["context_tokens"]} if "context_tokens" in row else {}
    return ModelSpec(
        name=row["name"],
        parameters=row["parameters"],
        weights_bytes=row["weights_bytes"],
        kv_bytes_per_token=row["kv_bytes_per_token"],
        batch_latency_s=() if unbatched else _line(row, largest_batch),
        accuracy=tuple(row["accuracy"]),
        accuracy_source=tuple(row["accuracy_source"]),
        latency_source="" if unbatched else row["latency_source"],
        latency_by_gpu={gpu: _line(own, largest_batch) for gpu, own in row.get("on", {}).items()},
        step_times=step_times,
        **context,
    )


def _line(row: dict[str, Any], largest_batch: int) -> tuple[float, ...]:
    """T(1), T(2), ... of an affine fit.

    Raises:
        ConfigError: a batch would begin before it is there, or a larger one end earlier.
    """
    for name in ("base_s", "per_request_s"):
        require(row[name] >= 0, f"profile {name}", row[name], "seconds >= 0")
    return tuple(row["base_s"] + row["per_request_s"] * b for b in range(1, largest_batch + 1))
