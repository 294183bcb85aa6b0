"""A CUDA device: its memory, and kernels that run there; or numba-cuda's simulator of one."""

from __future__ import annotations

import math
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env.cuda.kernels import kernel_of
from llmroute_env.cuda.memory import Body, Host
from llmroute_env.cuda.toolchain import is_simulated, rounding_each, teach
from llmroute_env.specs import ConfigError

cuda: Any = import_module("numba.cuda")

BLOCK = 128
"""Threads of a block: four warps, which share nothing."""


@lru_cache
def jitted(body: Body) -> Any:
    """The kernel of a body; compiling it takes a minute, so a process has one."""
    return cuda.jit(kernel_of(body), lto=False)


class Device:
    """The current device of this process."""

    name = "cuda"

    def __init__(self) -> None:
        teach()

    def zeros(self, nbytes: int) -> Any:
        """So many bytes, all 0."""
        try:
            buffer = cuda.device_array(max(nbytes, 1), np.uint8)
        except cuda.cudadrv.driver.CudaAPIError as error:
            free, there = cuda.current_context().get_memory_info()
            accepted = f"fewer: {nbytes:,} bytes are needed at once, {free:,} of {there:,} are free"
            raise ConfigError(
                f"num_envs: the device has no memory for so many; accepted: {accepted}"
            ) from error
        buffer.gpu_data.memset(0)
        return buffer

    def view(
        self,
        buffer: Any,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: np.dtype[Any],
        at: int = 0,
    ) -> Any:
        """An array in a buffer."""
        memory = buffer.gpu_data.view(at)
        return cuda.cudadrv.devicearray.DeviceNDArray(shape, strides, dtype, gpu_data=memory)

    def put(self, array: NDArray[Any]) -> Any:
        """A copy on the device."""
        return cuda.to_device(array)

    def overwrite(self, target: Any, array: NDArray[Any]) -> None:
        """Copy from the host."""
        target.copy_to_device(array)

    def get(self, array: Any) -> NDArray[Any]:
        """A copy on the host, once all that was launched is done."""
        found: NDArray[Any] = array.copy_to_host()
        return found

    def grown(self, buffer: Any, nbytes: int) -> Any:
        """A longer buffer that begins as `buffer` does."""
        found = self.zeros(nbytes)
        found[: len(buffer)].copy_to_device(buffer)
        return found

    def as_array(self, given: Any) -> Any:
        """Whatever has `__cuda_array_interface__`, as a tensor of torch has."""
        return cuda.as_cuda_array(given)

    def launch(self, body: Body, threads: int, *arguments: Any) -> None:
        """Let so many threads run, in blocks; returns before they are done."""
        with rounding_each():
            jitted(body)[math.ceil(threads / BLOCK), BLOCK](threads, *arguments)


class Simulated(Host):
    """Numba-cuda's simulator: the same kernels and grids, each thread one of Python's."""

    name = "simulator"

    def launch(self, body: Body, threads: int, *arguments: Any) -> None:
        """Let so many threads run, in blocks."""
        kernel = cuda.jit(kernel_of(body))
        kernel[math.ceil(threads / BLOCK), BLOCK](threads, *arguments)


def current() -> Device | Simulated:
    """The device at hand."""
    return Simulated() if is_simulated() else Device()
