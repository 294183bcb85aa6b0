"""The one place that says how functions are compiled."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


@lru_cache
def _sources_of(package: Path) -> int:
    """Checksum of all source files of a package, however deep they lie."""
    checksum = 0
    for source in sorted(package.rglob("*.py")):
        checksum = zlib.crc32(source.read_bytes(), checksum)
    return checksum


def _package_of(source: Path) -> Path:
    """The outermost package that a source file belongs to."""
    folder = source.parent
    while (folder.parent / "__init__.py").exists():
        folder = folder.parent
    return folder


def _stamp_for(function: Callable[..., Any]) -> tuple[int, int]:
    """Of the files that `function` may call into: its own package's, and ours.

    Whoever compiles functions in another package need not be known here.
    """
    own = _package_of(Path(function.__code__.co_filename))
    return _sources_of(Path(__file__).parent), _sources_of(own)


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


def _readable(load: Callable[[], dict[Any, Any]]) -> Callable[[], dict[Any, Any]]:
    """`load`, which finds nothing where a cache cannot be read.

    It names types by their modules: left behind by an older version of the package, in which those
    had other names, it would fail at the first step instead of being made anew.
    """

    def load_or_nothing() -> dict[Any, Any]:
        try:
            return load()
        except Exception:
            return {}

    return load_or_nothing


def _saving_own(save: Callable[..., None], packages: set[str]) -> Callable[..., None]:
    """`save`, which keeps in memory only what was compiled for classes of other packages.

    A cache names them by their modules: it could be read only where all of these can be imported.
    """

    def classes(numba_type: Any) -> set[str]:
        own = getattr(numba_type, "instance_class", None)
        parts = set().union(*map(classes, getattr(numba_type, "types", ())))
        return parts if own is None else parts | {own.__module__.partition(".")[0]}

    def save_if_own(signature: Any, data: Any) -> None:
        if set().union(*map(classes, signature)) <= packages:
            save(signature, data)

    return save_if_own


def compiled(function: Function) -> Function:
    """Compile `function` with numba, cached on disk, releasing the interpreter lock.

    With NUMBA_DISABLE_JIT=1 the function stays plain Python with the same results.
    """
    dispatcher = numba.njit(**OPTIONS)(function)
    cache: Any = getattr(dispatcher, "_cache", None)
    cache_file = getattr(cache, "_cache_file", None)
    if cache_file is not None:
        # Numba compares only the file that defines a function with its cache, not the files it
        # calls into: without this an edit of reward.py would leave a stale dynamics.py behind.
        cache_file._source_stamp = _stamp_for(function)
        cache_file._load_index = _readable(cache_file._load_index)
        packages = {function.__module__.partition(".")[0], __name__.partition(".")[0]}
        cache.save_overload = _saving_own(cache.save_overload, packages)
    compiled_function: Function = dispatcher
    return compiled_function
