"""Compile once: what is kept for other processes, and how they wait while it is compiled."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

if sys.platform != "win32":  # Where each process compiles for itself.
    import fcntl


def keeps_for(function: Callable[..., Any]) -> Callable[[Any], bool]:
    """Whether what `function` is compiled for has only classes of its own package and ours.

    A cache names them by their modules: it could be read only where all of these can be imported.
    What was compiled for classes of others is kept in memory alone.
    """
    packages = {function.__module__.partition(".")[0], __name__.partition(".")[0]}

    def classes(numba_type: Any) -> set[str]:
        own = getattr(numba_type, "instance_class", None)
        parts = set().union(*map(classes, getattr(numba_type, "types", ())))
        return parts if own is None else parts | {own.__module__.partition(".")[0]}

    return lambda signature: set().union(*map(classes, signature)) <= packages


def one_process_at_a_time(dispatcher: Any, keeps: Callable[[Any], bool]) -> Callable[[Any], Any]:
    """The `compile` of a dispatcher: what another process compiles meanwhile is then in the cache.

    Workers that start together with an empty cache would all compile the same, on the same cores.
    They wait for the same kinds of arguments only: different ones are compiled side by side.
    `keeps` says of a signature whether there is anything to wait for: whether it is cached at all.
    """
    compile_or_load: Callable[[Any], Any] = dispatcher.compile
    folder: str | None = dispatcher._cache.cache_path

    def compile_alone(signature: Any) -> Any:
        if folder is None or not keeps(signature):
            return compile_or_load(signature)
        with waited_for(os.path.join(folder, f"{_kind_of(signature):08x}.compiling")):
            return compile_or_load(signature)

    return compile_alone


def _kind_of(signature: Any) -> int:
    """The same for functions of the same first argument, which share most of what they call."""
    return zlib.crc32(str(signature[:1]).encode())


def one_process_at_a_time_in(cache_file: Any) -> None:
    """Let processes wait while another reads or writes files of functions of the same folder.

    Numba writes a function's index and then what it refers to. Two processes that write at the
    same time would choose the same name for different code, and one would run the other's.
    """
    together = os.path.join(cache_file._cache_path, "cached.lock")
    save, load = cache_file.save, cache_file.load

    def save_alone(key: Any, data: Any) -> None:
        with waited_for(together):
            save(key, data)

    def load_alone(key: Any) -> Any:
        with waited_for(together):
            return load(key)

    cache_file.save, cache_file.load = save_alone, load_alone


@contextmanager
def waited_for(path: str) -> Iterator[None]:
    """Be the only process that holds the empty file at `path`, once others no longer do.

    The system ends it with the process, however that ends.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = -1
    # Some file systems cannot be written to, or lock no files: each process for itself then.
    with suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor >= 0:
            with suppress(OSError):
                # Closing alone would not do if another thread has forked a process meanwhile.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
