"""Functions that only compiled code calls: typed and lowered once, optimised where they are used.

Numba optimises every function and turns it into machine code, with all that it calls inlined, even
if it is never called by itself. For a tree of functions that are all inlined into a few entry
points that is the greater part of the time that compiling takes, and none of it is used.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding as llvm
from llvmlite import ir
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

ENVIRONMENT = "_ZN08NumbaEnv"
"""What the variables begin with in which numba keeps a function's environment."""


class LinkedLibrary(JITCodeLibrary):
    """Code that is only linked into other code, never run by itself."""

    def add_ir_module(self, ir_module: Any) -> None:
        """Say of what is not inlined that nothing else points to the tuples it refers to."""
        for function in ir_module.functions:
            if function.blocks and "alwaysinline" not in function.attributes:
                for argument in function.args:
                    if refers_to_tuple(argument):
                        argument.add_attribute("noalias")
        super().add_ir_module(ir_module)  # type: ignore[no-untyped-call]

    def _optimize_final_module(self) -> None:
        """Nothing: whoever links this optimises the whole."""

    def _finalize_final_module(self) -> None:
        """Hand to the machine only the variables that numba sets when it loads a function."""
        whole = self._final_module
        self._final_module = _environments_of(whole)
        super()._finalize_final_module()  # type: ignore[no-untyped-call]
        self._final_module = whole


class EntryLibrary(JITCodeLibrary):
    """Code that Python calls, with all that is linked into it: nobody else calls that."""

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == llvm.Linkage.linkonce_odr:
                function.linkage = "internal"
        super()._optimize_final_module()  # type: ignore[no-untyped-call]


def refers_to_tuple(argument: Any) -> bool:
    """Whether it points to the fields of a large tuple (passed.py)."""
    pointee = getattr(argument.type, "pointee", None)
    return isinstance(pointee, ir.LiteralStructType) and len(pointee.elements) > 1


def _environments_of(module: Any) -> Any:
    variables = [str(v) for v in module.global_variables if v.name.startswith(ENVIRONMENT)]
    layout = f'target triple = "{module.triple}"\ntarget datalayout = "{module.data_layout}"'
    return llvm.parse_assembly("\n".join([layout, *variables]))


class LinkedCompiler(Compiler):
    """Numba's compiler of functions, for those that are only linked."""

    def __init__(self, typing: Any, target: Any, library: None, *rest: Any) -> None:
        linked: Any = LinkedLibrary(target.codegen(), "linked")  # type: ignore[no-untyped-call]
        linked.enable_object_caching()
        super().__init__(typing, target, linked, *rest)  # type: ignore[no-untyped-call]


class EntryCompiler(Compiler):
    """Numba's compiler of functions, for those that Python calls."""

    def __init__(self, typing: Any, target: Any, library: None, *rest: Any) -> None:
        entry: Any = EntryLibrary(target.codegen(), "entry")  # type: ignore[no-untyped-call]
        entry.enable_object_caching()
        super().__init__(typing, target, entry, *rest)  # type: ignore[no-untyped-call]
