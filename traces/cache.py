"""Long files are read once: their requests are kept as npz, under the fingerprint of the file."""

from __future__ import annotations

from pathlib import Path

from traces.readers.read import read, sha256_of
from traces.storage import load, save_npz
from traces.trace import Trace


def read_cached(path: Path, folder: Path, cv: float | None = None, seed: int = 0) -> Trace:
    """The requests of a file, from `folder` if they were read before.

    Args:
        path: file of any known format.
        folder: where the copies are kept; made if it does not exist.
        cv: see CountTable.arrivals.
        seed: see Reading.trace.

    Raises:
        TraceError: as read; also for a damaged copy, which may be deleted.
    """
    settings = "" if cv is None and seed == 0 else f"-{cv}-{seed}"
    copy = folder / f"{sha256_of(path)}{settings}.npz"
    if copy.exists():
        return load(copy)
    trace = read(path).trace(cv, seed)
    folder.mkdir(parents=True, exist_ok=True)
    # A copy that is interrupted must not be taken for a whole one.
    unfinished = copy.with_suffix(".part")
    save_npz(trace, unfinished)
    unfinished.replace(copy)
    return trace
