"""The one place that says how functions are compiled."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def _source_stamp() -> tuple[int, int]:
    here = Path(__file__).parent
    rooms = [here, here.parent / "agents"]
    checksum = 0
    for source in sorted(path for room in rooms for path in room.glob("*.py")):
        checksum = zlib.crc32(source.read_bytes(), checksum)
    return checksum, 0


_STAMP = _source_stamp()

OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "forceinline": True,
    # Nothing compiled allocates, so counting references would be pure overhead.
    "_nrt": False,
}


def entry_point(function: Function, *arguments: Any) -> Function:
    """`function`, compiled for arguments like these, which it will not look at again.

    Numba asks on every call which compilation fits. For the two dozen arrays of a simulation that
    takes 8 us, more than the step of an env. Callers must pass the same types ever after.
    """
    if not hasattr(function, "overloads"):
        return function
    signature = tuple(map(numba.typeof, arguments))
    function.compile(signature)  # type: ignore[attr-defined]
    fastest: Function = function.overloads[signature].entry_point
    return fastest


def compiled(function: Function) -> Function:
    """Compile `function` with numba, cached on disk, releasing the interpreter lock.

    With NUMBA_DISABLE_JIT=1 the function stays plain Python with the same results.
    """
    dispatcher = numba.njit(**OPTIONS)(function)
    cache_file = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if cache_file is not None:
        # Numba compares only the file that defines a function with its cache, not the files it
        # calls into: without this an edit of reward.py would leave a stale dynamics.py behind.
        cache_file._source_stamp = _STAMP
    compiled_function: Function = dispatcher
    return compiled_function
