"""Numba's compiler for CUDA (numba-cuda), told what it lacks, and how sums are to be rounded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from llmroute_env.specs import ConfigError

EXTRA = "pip install 'llmroute[cuda]'"


def check_installed() -> None:
    """Raise a ConfigError unless numba-cuda is there: numba's own old target will not do."""
    if find_spec("numba_cuda") is None:
        raise ConfigError(f"device: got 'cuda'; accepted: after `{EXTRA}`, or 'cpu'")


def check_usable() -> None:
    """Raise a ConfigError unless there is a device that runs what is compiled."""
    check_installed()
    cuda: Any = import_module("numba.cuda")
    if not cuda.is_available():
        raise ConfigError(
            "device: got 'cuda'; accepted: 'cpu', as no CUDA device, or no driver of one, is found"
        )


@lru_cache
def is_simulated() -> bool:
    """Whether numba-cuda simulates devices here (NUMBA_ENABLE_CUDASIM=1)."""
    from numba.core import config

    return bool(getattr(config, "ENABLE_CUDASIM", 0))


@lru_cache
def teach() -> None:
    """Let numba-cuda round to the nearest integer: of NumPy's functions it lacks `rint`."""
    ufuncs: Any = import_module("numba.cuda.ufuncs")
    insert: Any = cgutils.get_or_insert_function

    def rint(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = ir.DoubleType()
        kind = ir.FunctionType(number, [number])
        return builder.call(insert(builder.module, kind, "__nv_rint"), arguments)

    ufuncs.ufunc_db()[np.rint] = {"d->d": rint}


@contextmanager
def rounding_each() -> Iterator[None]:
    """Meanwhile compile products and sums as they are written, each rounded, as the CPU's are.

    Left to itself NVVM makes one operation of a product and a sum, which is rounded once: times
    would differ in their last bits, and with them whole episodes.
    """
    nvvm: Any = import_module("numba.cuda.cudadrv.nvvm")
    compile_ir = nvvm.compile_ir

    def compile_apart(modules: Any, **options: Any) -> Any:
        return compile_ir(modules, **{**options, "fma": 0})

    nvvm.compile_ir = compile_apart
    try:
        yield
    finally:
        nvvm.compile_ir = compile_ir
