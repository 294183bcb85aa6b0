"""Compile once: what is kept for other processes, and how they wait while it is compiled."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

try:
    import fcntl
except ImportError:  # Not on Windows, where each process compiles for itself.
    fcntl = None  # type: ignore[assignment]


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
    `keeps` says of a signature whether there is anything to wait for: whether it is cached at all.
    """
    compile_or_load: Callable[[Any], Any] = dispatcher.compile
    folder: str | None = dispatcher._cache.cache_path

    def compile_alone(signature: Any) -> Any:
        with waited_for(folder if keeps(signature) else None):
            return compile_or_load(signature)

    return compile_alone


@contextmanager
def waited_for(folder: str | None) -> Iterator[None]:
    """Be the only process in a folder, once the others have left it; without one, go ahead.

    The system ends it with the process, however that ends.
    """
    if fcntl is None or folder is None:
        yield
        return
    descriptor = -1
    # Some file systems cannot be written to, or lock no folders: each process for itself then.
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor >= 0:
            with suppress(OSError):
                # Closing alone would not do if another thread has forked a process meanwhile.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
