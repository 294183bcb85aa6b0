"""A profile of measured steps: which models, and the two files that tell of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.latency import hardware
from benchmarks.measuring.bench import DTYPES
from benchmarks.measuring.grid import Grid
from benchmarks.measuring.shapes import SHAPES, EngineShape
from benchmarks.measuring.steps import Measured, host_s_of
from llmroute_env import profiles
from llmroute_env.problem import assign
from llmroute_env.profiles.step_tables import COLUMNS, SURFACES, Tables
from llmroute_env.specs import require
from llmroute_env.toml_values import build, toml

QUALITY = ("architecture_source", "accuracy", "accuracy_source")
"""What a model's row says that no step tells."""


@dataclass(frozen=True)
class Subject:
    """A model whose steps are measured; `told` are the entries of its row that are not measured."""

    shape: EngineShape
    told: Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """How steps are measured."""

    device: str
    grid: Grid
    repeats: int

    @property
    def gpu(self) -> str:
        """What a profile calls the device: commas and quotes would tear its table."""
        return "".join(c for c in hardware(self.device)[0] if c.isprintable() and c not in ',"\\')

    def words(self) -> str:
        """How, in a line."""
        numbers = str(DTYPES[self.device]).removeprefix("torch.")
        measured = f"medians of {self.repeats}, {numbers}, random weights"
        return f"llmroute latency --steps, {self.gpu}, torch {torch.__version__}, {measured}"


def subjects(profile: str, models: Sequence[str], own: Sequence[str]) -> dict[str, Subject]:
    """By name: those of a shipped profile, or only `models`; or the one that `own` describes.

    Raises:
        ConfigError: no such profile or model, a model of unknown shape, or a shape that is none.
    """
    require(profile in profiles.names(), "profile", profile, ", ".join(profiles.names()))
    if own:
        require(not models, "models", models, "none beside a shape of your own")
        return own_subject(own, profiles.load(profile).tasks)
    rows = {row["name"]: row for row in profiles.tables(profile)["models"]}
    known = {name: row for name, row in rows.items() if name in SHAPES}
    require(len(known) > 0, "profile", profile, "opt-a100 or qwen2.5, or a shape of your own")
    for name in models:
        require(name in known, "models", name, ", ".join(known))
    return {
        name: Subject(SHAPES[name], {key: row[key] for key in QUALITY if key in row})
        for name, row in known.items()
        if name in models or not models
    }


def own_subject(own: Sequence[str], tasks: Sequence[str]) -> dict[str, Subject]:
    """The model that KEY=VALUE describe: a name, the fields of EngineShape, accuracy by task."""
    fields = {"name": "mine"} | assign({}, own)
    name, accuracy = fields.pop("name"), fields.pop("accuracy", None)
    plain = isinstance(name, str) and name.isprintable() and not set(',"\\') & set(name)
    require(plain, "shape name", name, "a text without commas, quotes and backslashes")
    accepted = f"an array of shares, one for each task: {', '.join(tasks)}"
    given = isinstance(accuracy, list) and len(accuracy) == len(tasks)
    require(given, "shape accuracy", accuracy, accepted)
    for share in build(accuracy, tuple[float, ...], None, "shape accuracy"):
        require(0 <= share <= 1, "shape accuracy", share, "a share from 0 to 1")
    told = {
        "architecture_source": "a shape of one's own",
        "accuracy": accuracy,
        "accuracy_source": ["given by hand"] * len(tasks),
    }
    return {name: Subject(build(fields, EngineShape, None, "shape"), told)}


def table_text(measured: Mapping[str, Measured], setting: Setting) -> str:
    """The CSV file: step_tables.py says what its columns are; whole steps stand in comments."""
    lines = [
        f"# {setting.words()}.",
        "# Lines with `whole` are of whole steps, which profiles do not read.",
        ",".join(COLUMNS),
    ]
    for model, one in measured.items():
        lines += rows_of(one.tables, setting.gpu, model)
        lines += [f"# whole {row}" for row in rows_of(one.whole, setting.gpu, model)]
    return "\n".join([*lines, ""])


def rows_of(tables: Tables, gpu: str, model: str) -> list[str]:
    """Points as lines."""
    return [
        f"{table},{gpu},{model},{row},{column if table in SURFACES else ''},{us:.3f}"
        for table, points in tables.items()
        for (row, column), us in points.items()
    ]


def profile_text(
    base: str,
    of: Mapping[str, Subject],
    measured: Mapping[str, Measured],
    out: Path,
    setting: Setting,
) -> str:
    """The TOML file to be written to `out`, its table beside it: step times as they were measured.

    Tasks and accuracies are those of the shipped profile `base`.
    """
    blocks = [lines_of(head(base, list(measured.values()), out))]
    blocks.append(["", "[[gpus]]", *lines_of(gpu_row(list(measured.values()), setting))])
    for name, one in measured.items():
        blocks.append(["", "[[models]]", *lines_of(model_row(name, of[name], one))])
    return "\n".join([*(line for block in blocks for line in block), ""])


def lines_of(entries: Mapping[str, Any]) -> list[str]:
    """Keys and values as TOML has them."""
    return [f"{key} = {toml(value)}" for key, value in entries.items()]


def head(base: str, measured: Sequence[Measured], out: Path) -> dict[str, Any]:
    """What a profile says of all its models and GPUs."""
    table, keys = profiles.tables(base), ("tasks", "task_metrics", "accuracy_source")
    gaps_s = [max(0.0, gap / 1e6) for one in measured for gap in one.gaps_us]
    return {
        "name": out.stem,
        **{key: table[key] for key in keys if key in table},
        "step_times": table_path(out).name,
        "host_s_range": [min(gaps_s), max(gaps_s)],
        "host_s_source": "median of whole steps less the sum of their parts, where requests decode",
    }


def table_path(out: Path) -> Path:
    """The table beside a profile."""
    return out.with_suffix(".csv")


def gpu_row(measured: Sequence[Measured], setting: Setting) -> dict[str, Any]:
    """What a profile says of the device."""
    return {
        "name": setting.gpu,
        "memory_bytes": hardware(setting.device)[1],
        "reserved_bytes": max(one.reserved_bytes for one in measured),
        "max_num_seqs": setting.grid.requests[-1],
        "max_num_batched_tokens": setting.grid.tokens[-1],
        "host_s": host_s_of(measured),
        "source": "limits: the most requests and tokens of a step that were measured",
        "step_times_source": setting.words(),
    }


def model_row(name: str, subject: Subject, measured: Measured) -> dict[str, Any]:
    """What a profile says of a model."""
    shape = subject.shape
    return {
        "name": name,
        "layers": shape.layers,
        "heads": shape.heads,
        "hidden": shape.hidden,
        "parameters": measured.parameters,
        "weights_bytes": measured.weights_bytes,
        "kv_bytes_per_token": measured.kv_bytes_per_token,
        "context_tokens": shape.context_tokens,
        **subject.told,
    }
