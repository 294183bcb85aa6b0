"""Files that are whole or not there, folders of one process at a time, and what wrote them."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llmroute_env.specs import ConfigError, require

try:
    import fcntl
except ImportError:  # Not on Windows, where nobody is kept out.
    fcntl = None  # type: ignore[assignment]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(content)
    flush(draft)
    os.replace(draft, path)
    # Or a crash could leave a folder that has not heard of the new name.
    flush(path.parent)


def check_writable(path: Path) -> None:
    """Raise a ConfigError unless a file can be written there: before making it takes long."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    valid = folder.is_dir() and os.access(folder, os.W_OK) and not path.is_dir()
    require(valid, "out", str(path), "a file in a folder that can be written to")


def flush(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keep other processes that ask for the same folder out of it meanwhile.

    It ends with the process, however that ends. A folder that is not there is nobody's.

    Raises:
        ConfigError: another one is in it.
    """
    if fcntl is None or not directory.is_dir():
        yield
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        accepted = "a folder of its own, or after the other has ended"
        raise ConfigError(
            f"directory: got {str(directory)!r}, in which another process is at work; "
            f"accepted: {accepted}"
        ) from None
    except OSError:
        # Some network file systems lock no folders.
        return


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of `packages`, by name."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
