"""The one place that says how functions are compiled."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import event, types

from llmroute_env.dynamics.linked import EntryCompiler, LinkedCompiler
from llmroute_env.dynamics.once import keeps_for, one_process_at_a_time, one_process_at_a_time_in
from llmroute_env.dynamics.passed import passed

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

LINKED: dict[str, Any] = {"pipeline_class": LinkedCompiler, "no_cpython_wrapper": True}
"""Further ones of functions that only compiled code calls."""

CHOSEN: Any = {k: v for k, v in (OPTIONS | LINKED).items() if k != "cache"}
"""Of functions that are chosen by the types of a world, when their callers are compiled."""


def chosen(function: Function) -> Function:
    """`function` for compiled functions that choose it."""
    made: Function = numba.njit(**CHOSEN)(function)
    return made


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


def _saving(save: Callable[..., None], keeps: Callable[[Any], bool]) -> Callable[..., None]:
    """`save`, which leaves out what is not to be kept."""

    def save_if_kept(signature: Any, data: Any) -> None:
        if keeps(signature):
            save(signature, data)

    return save_if_kept


def compiled(function: Function) -> Function:
    """Compile `function` with numba, cached on disk, releasing the interpreter lock.

    It is compiled twice: as Python calls it, and as other compiled functions do. The latter needs
    no code that takes Python's objects apart, which for the arrays of a simulation takes longer to
    compile than most functions themselves, nor any machine code of its own (linked.py); and most
    are never called from Python.

    With NUMBA_DISABLE_JIT=1 the function stays plain Python with the same results.
    """
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return plain(function)
    inner = _dispatcher(_twin(function), **LINKED, forceinline=_is_short(function))
    inner.get_call_template = _for_few_types(inner.get_call_template)
    outer = _dispatcher(_caller(function, inner), pipeline_class=EntryCompiler)
    # What numba asks a function that is called by a compiled one.
    outer.get_call_template = inner.get_call_template
    outer.get_overload = inner.get_overload
    outer.original = function
    outer.compile = one_process_at_a_time(outer, keeps_for(function))
    compiled_function: Function = outer
    return compiled_function


def _is_short(function: Callable[..., Any]) -> bool:
    """Whether to copy it to where it is called, whatever LLVM thinks of it.

    All that is longer compiles in a third of the time if LLVM decides, and runs as fast, or 7 %
    slower in continuous batching.
    """
    return len(function.__code__.co_code) < SHORT


SHORT = 400
"""Bytes of a function for Python: some ten lines."""


def _for_few_types(get_call_template: Callable[..., Any]) -> Callable[..., Any]:
    """`get_call_template`, with which integers of any width, and constants, share a compilation.

    Numba would compile a function once for a 1, once for a -1 and once for a variable. Large tuples
    are passed by reference.
    """

    def shared(numba_type: Any) -> Any:
        of_variable: Any = types.unliteral(numba_type)  # type: ignore[no-untyped-call]
        is_integer = isinstance(of_variable, types.Integer)
        return types.int64 if is_integer and of_variable.signed else passed(of_variable)

    def get_shared_template(arguments: Any, named: dict[str, Any]) -> Any:
        few = {name: shared(numba_type) for name, numba_type in named.items()}
        return get_call_template(tuple(map(shared, arguments)), few)

    return get_shared_template


def _twin(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function by another name, so that it has a cache of its own."""
    twin = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    twin.__qualname__ = f"{function.__qualname__}.inner"
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


def _caller(function: Callable[..., Any], inner: Any) -> Callable[..., Any]:
    """A function that only calls `inner`, in place of `function`: what Python calls.

    It has the place of `function`, by which its cache is found.
    """
    names = ", ".join(function.__code__.co_varnames[: function.__code__.co_argcount])
    made: dict[str, Any] = {}
    exec(f"def caller({names}): return {INNER}({names})", made)
    code = made["caller"].__code__.replace(
        co_name=function.__name__,
        co_filename=function.__code__.co_filename,
        co_firstlineno=function.__code__.co_firstlineno,
    )
    caller = FunctionType(
        code, {**function.__globals__, INNER: inner}, function.__name__, function.__defaults__
    )
    caller.__module__, caller.__qualname__ = function.__module__, function.__qualname__
    caller.__doc__ = function.__doc__
    return caller


INNER = "_inner"


def _dispatcher(function: Callable[..., Any], **options: Any) -> Any:
    """`function` as numba compiles it when it is first called, or reads it from its cache."""
    options = {**OPTIONS, "no_cfunc_wrapper": True, **options}
    try:
        dispatcher = numba.njit(**options)(function)
    except RuntimeError:
        # No folder that a cache could be written to.
        dispatcher = numba.njit(**{**options, "cache": False})(function)
    cache: Any = getattr(dispatcher, "_cache", None)
    OURS[function] = cache_file = getattr(cache, "_cache_file", None)
    if cache_file is not None:
        # Numba compares only the file that defines a function with its cache, not the files it
        # calls into: without this an edit of reward.py would leave a stale dynamics.py behind.
        cache_file._source_stamp = _stamp_for(function)
        cache_file._load_index = _readable(cache_file._load_index)
        one_process_at_a_time_in(cache_file)
        cache.save_overload = _saving(cache.save_overload, keeps_for(function))
    return dispatcher


def plain(function: Function) -> Function:
    """`function` for Python, where only arrays of the kind `recarray` have fields as attributes."""

    @wraps(function)
    def with_attributes(*arguments: Any) -> Any:
        # Silent where compiled code is: random streams are products that overflow.
        with np.errstate(all="ignore"):
            return function(*map(_with_attributes, arguments))

    plain_function: Function = with_attributes  # type: ignore[assignment]
    return plain_function


def _with_attributes(argument: Any) -> Any:
    if isinstance(argument, np.ndarray):
        return argument if argument.dtype.names is None else argument.view(np.recarray)
    if isinstance(argument, tuple) and hasattr(argument, "_make"):
        return argument._make(map(_with_attributes, argument))
    return argument


OURS: dict[Callable[..., Any], Any] = {}
"""Functions that were compiled here, with their caches on disk; None where there is none."""


class _Announcement(event.Listener):
    """Says once a process on standard error that compiling takes its time; tells `watchers`."""

    def __init__(self) -> None:
        self.watchers: list[Callable[[], None]] = []
        self.is_made = False

    def on_start(self, event: Any) -> None:
        """Numba begins to compile a function that it did not find in its cache."""
        function = event.data["dispatcher"].py_func
        if function not in OURS:
            return
        if not self.is_made and os.environ.get(QUIET, "") in ("", "0"):
            print(f"llmroute: {UNCACHED if OURS[function] is None else ONCE}", file=sys.stderr)
        self.is_made = True
        for watcher in self.watchers:
            watcher()

    def on_end(self, event: Any) -> None:
        """Others follow at once."""


QUIET = "LLMROUTE_QUIET"
"""Environment variable: 1 says nothing about compiling."""

ONCE = f"compiling for this machine, once: takes a minute or two ({QUIET}=1 hides this)"
UNCACHED = (
    "compiling, for a minute or two in every process, as neither the package's folder nor the home "
    f"can be written to; NUMBA_CACHE_DIR=FOLDER keeps what was compiled ({QUIET}=1 hides this)"
)

_ANNOUNCEMENT = _Announcement()
event.register("numba:compile", _ANNOUNCEMENT)  # type: ignore[no-untyped-call]


@contextmanager
def compilations(watcher: Callable[[], None]) -> Iterator[None]:
    """Meanwhile call `watcher` whenever a function begins to be compiled."""
    _ANNOUNCEMENT.watchers.append(watcher)
    try:
        yield
    finally:
        _ANNOUNCEMENT.watchers.remove(watcher)
