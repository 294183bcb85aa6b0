"""NamedTuples of arrays, on a device in tiles, made of the same as one tile has them on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from llmroute_env.cuda.layout import Layout, Tiled, untiled
from llmroute_env.cuda.memory import Memory

Arrays = TypeVar("Arrays", bound=tuple[Any, ...])


def tiled(of_tile: Arrays, tiles: int, memory: Memory) -> Arrays:
    """So many tiles of everything, zeroed; NamedTuples within are kept."""
    return made_of(of_tile, [_tiled(part, tiles, memory) for part in of_tile])


def _tiled(part: Any, tiles: int, memory: Memory) -> Any:
    if isinstance(part, tuple):
        return tiled(part, tiles, memory)
    layout = Layout.like(part, tiles)
    return Tiled(layout, memory.zeros(layout.nbytes), memory)


def arrays_of(parts: Arrays) -> Arrays:
    """As threads read them."""
    found = [arrays_of(part) if isinstance(part, tuple) else part.array for part in parts]
    return made_of(parts, found)


def on_host(parts: Arrays, envs: int) -> Arrays:
    """Copies as a CPU has them."""
    found = [
        on_host(part, envs) if isinstance(part, tuple) else fetched(part, envs) for part in parts
    ]
    return made_of(parts, found)


def fetched(part: Tiled, envs: int) -> Any:
    """A copy as a CPU has it."""
    data = part.memory.get(part.buffer)
    return untiled(part.layout, data, envs)


def lengthened(part: Tiled, length: int) -> Tiled:
    """The same with rows of another length: what there is stays where it is."""
    layout = replace(part.layout, inner=(length, *part.layout.inner[1:]))
    memory: Any = part.memory
    return Tiled(layout, memory.grown(part.buffer, layout.nbytes), memory)


def moved(tables: Arrays, memory: Memory) -> Arrays:
    """Copies of tables that all read, in the memory of a device; numbers stay what they are."""
    return made_of(tables, [_moved(part, memory) for part in tables])


def _moved(part: Any, memory: Memory) -> Any:
    if isinstance(part, tuple):
        return moved(part, memory)
    return memory.put(aligned(part)) if isinstance(part, np.ndarray) else part


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """With records that say they are aligned, or a device would read every byte by itself."""
    names = array.dtype.names
    if names is None:
        return array
    found = np.zeros(array.shape, np.dtype([(n, array.dtype[n]) for n in names], align=True))
    for name in names:
        found[name] = array[name]
    return found


def nbytes_of(parts: tuple[Any, ...]) -> int:
    """Bytes of all."""
    return sum(part.layout.nbytes for part in flat(parts))


def flat(parts: tuple[Any, ...]) -> Iterator[Tiled]:
    """All arrays, those within others too."""
    for part in parts:
        if isinstance(part, tuple):
            yield from flat(part)
        else:
            yield part


def made_of(like: Arrays, parts: list[Any]) -> Arrays:
    """A tuple of the same class."""
    made: Any = getattr(type(like), "_make", type(like))
    found: Arrays = made(parts)
    return found
