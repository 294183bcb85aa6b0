"""Where arrays are and who runs the threads: a device or, to try what one would do, a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Body = Callable[..., None]
"""What threads first..last-1 do (threads.py)."""


class Memory(Protocol):
    """Memory and threads of one kind."""

    name: str

    def zeros(self, nbytes: int) -> Any:
        """So many bytes, all 0."""
        ...

    def view(
        self,
        buffer: Any,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: np.dtype[Any],
        at: int = 0,
    ) -> Any:
        """An array in a buffer, `at` so many bytes from its begin."""
        ...

    def put(self, array: NDArray[Any]) -> Any:
        """A copy of an array of the host."""
        ...

    def overwrite(self, target: Any, array: NDArray[Any]) -> None:
        """Copy from the host into an array that lies in one piece."""
        ...

    def get(self, array: Any) -> NDArray[Any]:
        """A copy for the host of an array that lies in one piece."""
        ...

    def grown(self, buffer: Any, nbytes: int) -> Any:
        """A longer buffer that begins as `buffer` does, and then is 0."""
        ...

    def as_array(self, given: Any) -> Any:
        """What somebody gives, without a copy if it lies in this memory."""
        ...

    def launch(self, body: Body, threads: int, *arguments: Any) -> None:
        """Let so many threads run."""
        ...


class Host:
    """The CPU's own, and its one thread for all: the same bodies and layouts, compiled for it."""

    name = "host"

    def zeros(self, nbytes: int) -> NDArray[np.uint8]:
        """So many bytes, all 0."""
        return np.zeros(nbytes, np.uint8)

    def view(
        self,
        buffer: NDArray[np.uint8],
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: np.dtype[Any],
        at: int = 0,
    ) -> NDArray[Any]:
        """An array in a buffer."""
        return np.ndarray(shape, dtype, buffer, at, strides)

    def put(self, array: NDArray[Any]) -> NDArray[Any]:
        """A copy."""
        return array.copy()

    def overwrite(self, target: NDArray[Any], array: NDArray[Any]) -> None:
        """Copy an array into another."""
        target[...] = array

    def get(self, array: NDArray[Any]) -> NDArray[Any]:
        """A copy."""
        return array.copy()

    def grown(self, buffer: NDArray[np.uint8], nbytes: int) -> NDArray[np.uint8]:
        """A longer buffer that begins as `buffer` does."""
        found = self.zeros(nbytes)
        found[: len(buffer)] = buffer
        return found

    def as_array(self, given: Any) -> NDArray[Any]:
        """As NumPy reads it."""
        return np.asarray(given)

    def launch(self, body: Body, threads: int, *arguments: Any) -> None:
        """One thread after the other."""
        body(0, threads, *arguments)
