"""Checkpoints: a folder of safetensors, npz and JSON that is either complete or not there.

`CHECKPOINTS/000001234/` holds the state after 1234 decisions. It is written under another name,
flushed, and renamed, so that a process killed at any moment leaves only whole ones. `manifest.json`
holds the SHA-256 of every file and is checked before anything is read. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from llmroute_env.recording.files import flush
from traces.errors import InputError

KEPT = 2
"""Checkpoints that are kept; older ones are deleted."""

TENSORS, ARRAYS, NUMBERS, MANIFEST = (
    "tensors.safetensors",
    "arrays.npz",
    "numbers.json",
    "manifest.json",
)


class CheckpointError(InputError):
    """A run directory or checkpoint that cannot be used: names the file and what is wrong."""


class Snapshot(NamedTuple):
    """Everything that training needs to continue."""

    tensors: Mapping[str, Tensor]
    arrays: Mapping[str, NDArray[Any]]
    numbers: Mapping[str, Any]


T = TypeVar("T")


def prefixed(prefix: str, entries: Mapping[str, T]) -> dict[str, T]:
    """`entries` with `prefix.` before every name."""
    return {f"{prefix}.{name}": entry for name, entry in entries.items()}


def chosen(entries: Mapping[str, T], prefix: str) -> dict[str, T]:
    """The entries that `prefixed` made, without the prefix."""
    start = f"{prefix}."
    return {n.removeprefix(start): e for n, e in entries.items() if n.startswith(start)}


def save(folder: Path, decisions: int, snapshot: Snapshot) -> Path:
    """Write the checkpoint of `decisions` into `folder` and delete all but the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    final, draft = folder / f"{decisions:012d}", folder / f".draft-{decisions:012d}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        safetensors.torch.save_file(dict(snapshot.tensors), draft / TENSORS)
    except SafetensorError as error:
        raise OSError(f"{draft / TENSORS}: cannot be written: {error}") from error
    np.savez(draft / ARRAYS, **snapshot.arrays)  # type: ignore[arg-type]
    (draft / NUMBERS).write_text(json.dumps(snapshot.numbers))
    digests = {name: sha256(draft / name) for name in (TENSORS, ARRAYS, NUMBERS)}
    (draft / MANIFEST).write_text(json.dumps(digests, indent=2))
    for path in (*draft.iterdir(), draft):
        flush(path)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(draft, final)
    flush(folder)
    for old in list_checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)
    return final


def load_latest(folder: Path) -> Snapshot:
    """The newest checkpoint of `folder`, verified.

    Raises:
        CheckpointError: there is none, or it is damaged; names the last good one.
    """
    found = list_checkpoints(folder)
    if not found:
        raise CheckpointError(f"{folder}: holds no checkpoint")
    damage = find_damage(found[-1])
    if damage:
        good = [path for path in found[:-1] if not find_damage(path)]
        advice = f"delete {found[-1]} to continue from it" if good else "train anew"
        last = good[-1] if good else "none"
        raise CheckpointError(f"{damage}; last good checkpoint: {last}; {advice}")
    return read(found[-1])


def read(checkpoint: Path) -> Snapshot:
    """What `save` wrote; does not verify it."""
    tensors = safetensors.torch.load_file(checkpoint / TENSORS)
    with np.load(checkpoint / ARRAYS, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return Snapshot(tensors, arrays, json.loads((checkpoint / NUMBERS).read_text()))


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first; drafts of killed processes are not among them."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())


def find_damage(checkpoint: Path) -> str:
    """What is wrong with the files of `checkpoint`, naming the first bad one; empty if nothing."""
    try:
        digests = json.loads((checkpoint / MANIFEST).read_text())
    except (OSError, ValueError):
        return f"{checkpoint / MANIFEST}: is missing or not JSON"
    for name in (TENSORS, ARRAYS, NUMBERS):
        path = checkpoint / name
        if not path.is_file():
            return f"{path}: is missing"
        if not isinstance(digests, dict) or sha256(path) != digests.get(name):
            return f"{path}: is damaged: its SHA-256 is not the one in {MANIFEST}"
    return ""


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is missing") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is not a readable safetensors file: {error}") from None


def load_weights(network: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy `tensors`, read from `path`, into `network`.

    Raises:
        CheckpointError: they are not the network's, by name or shape, or not numbers.
    """
    expected = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise CheckpointError(
                f"{path}: {name}: got shape {found.get(name)}; accepted: {expected.get(name)}"
            )
    weights = {name for name, _ in network.named_parameters()}
    for name, tensor in tensors.items():
        # A guard may have limits that are infinite.
        bad = ~torch.isfinite(tensor) if name in weights else torch.isnan(tensor)
        if bad.any():
            raise CheckpointError(f"{path}: {name}: got {tensor[bad][0]}; accepted: finite numbers")
    network.load_state_dict(dict(tensors))
