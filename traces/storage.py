"""Traces as files of ours: npz, which keeps everything, and plain CSV, which anybody can read."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError, require
from traces.trace import Provenance, Trace

COLUMNS = {
    "arrival_s": np.float64,
    "task": np.int16,
    "prompt_tokens": np.int32,
    "output_tokens": np.int32,
}
VERSION = 1


def save(trace: Trace, path: Path) -> None:
    """Write a trace as `.npz` or as `.csv`, by the name's ending.

    Raises:
        TraceError: another ending, or a place that cannot be written to.
    """
    writers = {".npz": save_npz, ".csv": save_csv}
    require(path.suffix in writers, "output file", str(path), "a name that ends in .npz or .csv")
    try:
        writers[path.suffix](trace, path)
    except OSError as error:
        found = f"{path} ({error.strerror})"
        raise TraceError(f"output file: got {found}; accepted: a writable place") from error


def save_npz(trace: Trace, path: Path) -> None:
    """Write arrays, span and provenance as npz, from which `load` makes the same trace again."""
    about = {
        "version": VERSION,
        "span_s": trace.span_s,
        "tasks": trace.tasks,
        "has_tasks": trace.has_tasks,
        "source": trace.provenance.source,
        "sha256": trace.provenance.sha256,
        "operations": trace.provenance.operations,
    }
    arrays: dict[str, Any] = {name: getattr(trace, name) for name in COLUMNS}
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, about=text, **arrays)


def save_csv(trace: Trace, path: Path) -> None:
    """Write one line a request as CSV; the silence after the last request is not kept."""
    # Importing polars takes half a second, which whoever writes npz need not wait.
    import polars as pl

    columns = {name: getattr(trace, name) for name in COLUMNS}
    columns["task"] = np.array(trace.tasks)[trace.task]
    if not trace.has_tasks:
        del columns["task"]
    pl.DataFrame(columns).write_csv(path)


def load(path: Path) -> Trace:
    """Read a trace that `save_npz` wrote; never unpickles.

    Raises:
        TraceError: it is not such a file, or is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            columns = {name: np.asarray(arrays[name], dtype) for name, dtype in COLUMNS.items()}
        return build(about, columns)
    except TraceError:
        raise
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        EOFError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        OverflowError,
        MemoryError,
    ) as error:
        found = f"{type(error).__name__} ({error})"
        message = f"{path}: got {found}; accepted: an npz that this package wrote"
        raise TraceError(message) from error


def build(about: dict[str, Any], columns: dict[str, NDArray[Any]]) -> Trace:
    """A trace from what a file says about it and its arrays.

    Raises:
        TraceError: another version, arrays of another shape, or no valid trace.
    """
    require(about["version"] == VERSION, "version of the npz", about["version"], str(VERSION))
    for name, column in columns.items():
        require(column.ndim == 1, f"shape of {name}", column.shape, "one dimension")
    provenance = Provenance(str(about["source"]), str(about["sha256"]), tuple(about["operations"]))
    tasks = tuple(str(name) for name in about["tasks"])
    return Trace(
        **columns,
        span_s=float(about["span_s"]),
        provenance=provenance,
        tasks=tasks,
        # Older files do not say; their tasks were taken as they are.
        has_tasks=bool(about.get("has_tasks", True)),
    )
