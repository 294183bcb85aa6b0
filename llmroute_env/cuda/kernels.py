"""Kernels: what a device runs, made of what threads do; and what they are compiled to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numba

from llmroute_env.cuda.memory import Body
from llmroute_env.cuda.toolchain import rounding_each, teach

# A global: the simulator exchanges it for every thread.
cuda: Any = import_module("numba.cuda")


def kernel_of(body: Body) -> Body:
    """A kernel, not compiled yet, whose every thread calls `body` for itself alone."""

    def kernel(threads: int, world: Any, out: Any, orders: Any) -> None:
        thread = cuda.grid(1)
        if thread < threads:
            body(thread, thread + 1, world, out, orders)

    kernel.__name__ = kernel.__qualname__ = f"{body.__name__}_kernel"
    return kernel


def ptx_of(body: Body, arguments: tuple[Any, ...], capability: tuple[int, int] = (9, 0)) -> str:
    """The kernel of a body for arguments like these as a GPU's assembly: no device is needed."""
    teach()
    signature = numba.void(numba.int64, *map(numba.typeof, arguments))
    with rounding_each(), device_of(capability):
        ptx, _ = cuda.compile_ptx(kernel_of(body), signature, cc=capability)
    return str(ptx)


@contextmanager
def device_of(capability: tuple[int, int]) -> Iterator[None]:
    """Meanwhile let numba-cuda compile for a capability, which it asks of the device at hand."""
    dispatcher: Any = import_module("numba.cuda.dispatcher")
    asked = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    try:
        yield
    finally:
        dispatcher.get_current_device = asked
