"""Checkpoints are whole or not there, and damage is refused with advice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from agents.runs import checkpoint
from agents.runs.checkpoint import ARRAYS, MANIFEST, NUMBERS, TENSORS, CheckpointError, Snapshot


def snapshot(value: float) -> Snapshot:
    records = np.array([(1, value)], np.dtype([("a", "i4"), ("b", "f8")]))
    tensors = {"w": torch.tensor([value, 2.0])}
    return Snapshot(tensors, {"records": records}, {"value": value, "big": 2**100})


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 7, snapshot(1.0))
    checkpoint.save(tmp_path, 20, snapshot(0.1))
    loaded = checkpoint.load_latest(tmp_path)
    assert torch.equal(loaded.tensors["w"], torch.tensor([0.1, 2.0]))
    assert np.array_equal(loaded.arrays["records"], snapshot(0.1).arrays["records"])
    assert loaded.numbers == {"value": 0.1, "big": 2**100}


def test_keeps_the_last_two(tmp_path: Path) -> None:
    for decisions in (9, 10, 1_000_000_000, 11):
        checkpoint.save(tmp_path, decisions, snapshot(1.0))
    names = [int(path.name) for path in checkpoint.list_checkpoints(tmp_path)]
    assert names == [11, 1_000_000_000]


@pytest.mark.parametrize("name", [TENSORS, ARRAYS, NUMBERS, MANIFEST])
@pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
def test_damage_is_refused_naming_the_last_good_one(tmp_path: Path, name: str, damage: str) -> None:
    good = checkpoint.save(tmp_path, 1, snapshot(1.0))
    bad = checkpoint.save(tmp_path, 2, snapshot(2.0)) / name
    content = bytearray(bad.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "delete":
        bad.unlink()
    else:
        bad.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    with pytest.raises(CheckpointError) as error:
        checkpoint.load_latest(tmp_path)
    assert str(bad.parent) in str(error.value)
    assert f"last good checkpoint: {good}" in str(error.value)


def test_says_so_when_nothing_is_good(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpoint.load_latest(tmp_path / "missing")
    (checkpoint.save(tmp_path, 1, snapshot(1.0)) / ARRAYS).unlink()
    with pytest.raises(CheckpointError, match="last good checkpoint: none; train anew"):
        checkpoint.load_latest(tmp_path)


def test_a_killed_save_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever step fails, what a process killed there leaves is the whole old checkpoint."""
    checkpoint.save(tmp_path, 1, snapshot(1.0))
    for name in ("sha256", "flush"):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, name, fail)
            with pytest.raises(KeyboardInterrupt):
                checkpoint.save(tmp_path, 2, snapshot(2.0))
        assert checkpoint.load_latest(tmp_path).numbers["value"] == 1.0
    checkpoint.save(tmp_path, 2, snapshot(2.0))
    assert checkpoint.load_latest(tmp_path).numbers["value"] == 2.0


def fail(*_: object) -> None:
    raise KeyboardInterrupt


def test_arrays_of_objects_are_never_unpickled(tmp_path: Path) -> None:
    where = checkpoint.save(tmp_path, 1, snapshot(1.0))
    np.savez(where / ARRAYS, evil=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        checkpoint.read(where)


def test_unreadable_tensors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(CheckpointError, match="is missing"):
        checkpoint.read_tensors(path)
    path.write_bytes(b"not tensors")
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: is not a readable"):
        checkpoint.read_tensors(path)
