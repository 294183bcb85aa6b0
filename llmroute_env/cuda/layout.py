"""Where numbers lie on a device: neighbouring threads read neighbouring words.

A warp of 32 threads has a tile of 32 envs. Of the records of a tile first all first words lie side
by side, then all second ones, and so on; of arrays of records, tile after tile all first records,
then all second ones. The fields of a record are still at fixed distances from where it begins, so
the dynamics read them as they do on a CPU: only the record type and the strides are others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env.cuda.memory import Memory
from llmroute_env.dynamics.records import WORD_BYTES

WARP = 32
"""Threads that run in step, and envs of a tile."""


def tiles_of(envs: int) -> int:
    """Tiles that hold so many envs; the last may be partly empty."""
    return -(-envs // WARP)


def interleaved(dtype: np.dtype[Any], width: int) -> np.dtype[Any]:
    """A record type whose words lie so far apart that `width` of its records fit between them.

    Types that are no records stay as they are.
    """
    if dtype.names is None:
        return dtype
    fields = [(name, *dtype.fields[name][:2]) for name in dtype.names]  # type: ignore[index]
    apart = width * WORD_BYTES
    return np.dtype(
        {
            "names": [name for name, _, _ in fields],
            "formats": [kind for _, kind, _ in fields],
            "offsets": [at // WORD_BYTES * apart + at % WORD_BYTES for _, _, at in fields],
            "itemsize": (words_of(dtype) - 1) * apart + WORD_BYTES,
        },
        align=True,
    )


def words_of(dtype: np.dtype[Any]) -> int:
    """Words of a record; 1 of what is none."""
    return 1 if dtype.names is None else -(-dtype.itemsize // WORD_BYTES)


@dataclass(frozen=True)
class Layout:
    """How the rows of an array lie in tiles: `rows` of each, of shape `inner`, of type `dtype`."""

    tiles: int
    rows: int
    inner: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def like(cls, of_tile: NDArray[Any], tiles: int) -> Layout:
        """So many tiles of what one has."""
        return cls(tiles, len(of_tile), of_tile.shape[1:], of_tile.dtype)

    @property
    def unit(self) -> int:
        """Bytes from a row to the next one of its tile."""
        return WORD_BYTES if self.dtype.names is not None else self.dtype.itemsize

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole array."""
        return self.tiles, self.rows, *self.inner

    @property
    def strides(self) -> tuple[int, ...]:
        """In bytes, of the axes of `shape`: the last ones, within a row, are the longest."""
        of_tile = self.rows * self.unit * words_of(self.dtype)
        inner = [of_tile * self.tiles * math.prod(self.inner[k + 1 :]) for k in range(self.depth)]
        return of_tile, self.unit, *inner

    @property
    def depth(self) -> int:
        """Axes within a row."""
        return len(self.inner)

    @property
    def kind(self) -> np.dtype[Any]:
        """The type as it lies there."""
        return interleaved(self.dtype, self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all."""
        return self.strides[0] * self.tiles * math.prod(self.inner)


@dataclass
class Tiled:
    """An array in tiles, and the bytes of a device that it lies in."""

    layout: Layout
    buffer: Any
    memory: Memory

    @property
    def array(self) -> Any:
        """As threads read it: shape (tiles, rows, ...)."""
        layout = self.layout
        return self.memory.view(self.buffer, layout.shape, layout.strides, layout.kind)

    def by_env(self, envs: int) -> Any:
        """Of what are no records: shape (E, ...), the same memory."""
        layout = self.layout
        shape, strides = (envs, *layout.inner), layout.strides[1:]
        return self.memory.view(self.buffer, shape, strides, layout.dtype)

    def field(self, name: str) -> Any:
        """One field of its records: shape (tiles, rows, ...), the same memory."""
        layout = self.layout
        fields: Any = layout.kind.fields
        kind, at = fields[name][:2]
        return self.memory.view(self.buffer, layout.shape, layout.strides, kind, at)


def untiled(layout: Layout, data: NDArray[np.uint8], envs: int) -> NDArray[Any]:
    """The rows of a tiled array as a CPU has them, from its bytes: shape (blocks x envs, ...).

    A tile has one row of each env, or several blocks of such rows, as State has with late signals.
    """
    there = np.ndarray(layout.shape, layout.kind, data, 0, layout.strides)
    found = np.zeros((layout.rows // WARP * envs, *layout.inner), layout.dtype)
    for block, first in enumerate(range(0, layout.rows, WARP)):
        here = found[block * envs : (block + 1) * envs]
        copy_rows(there[:, first : first + WARP], here)
    return found


def copy_rows(source: NDArray[Any], target: NDArray[Any]) -> None:
    """From rows in tiles, (tiles, WARP, ...), to rows one after the other, (E, ...)."""
    names = target.dtype.names
    if names is None:
        tiles, rows, *inner = source.shape
        target[...] = source.reshape(tiles * rows, *inner)[: len(target)]
        return
    # Field by field: what lies between the fields of one record are those of others.
    for name in names:
        copy_rows(source[name], target[name])
