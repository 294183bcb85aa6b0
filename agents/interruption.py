"""Ctrl-C as a flag, so that what is under way comes to an end of its own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a flag, so that a round is finished and saved.

    A second one raises. Outside the main thread, where signals cannot be caught, none is noted.
    """
    raised: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    usual = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        raised.append(True)
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(raised)
    finally:
        signal.signal(signal.SIGINT, usual)
