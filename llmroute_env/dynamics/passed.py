"""Tuples of arrays, passed between compiled functions as one address.

Numba passes a named tuple by its leaves. A world has hundreds, with the shapes and strides of its
arrays; taking them apart and together again at every call was most of what compiling took. Between
our own functions a large tuple is passed by reference, and so are those of which it is made: a
pointer to a copy in the frame of the function that Python called. Nothing can assign to it, so that
this cannot be seen, and once a function is inlined its fields are what they were before.
"""

# Numba's own code for such extensions has no types.
# mypy: disable-error-code="no-untyped-call, untyped-decorator"

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.typeconv.castgraph import Conversion
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, lower_cast, lower_getattr_generic, register_model

FEW = 8
"""Leaves of a tuple that is passed as it is."""


class Reference(types.Type):
    """Type of a reference to a named tuple of type `of`: its fields are had by name."""

    def __init__(self, of: types.NamedTuple) -> None:
        self.of = of
        super().__init__(name=f"Reference({of.name})")

    @property
    def types(self) -> tuple[types.Type, ...]:
        """Those of its fields."""
        found: tuple[types.Type, ...] = self.of.types
        return found

    @property
    def fields(self) -> tuple[str, ...]:
        """Their names."""
        found: tuple[str, ...] = self.of.fields
        return found

    @property
    def instance_class(self) -> Any:
        """The class of the tuple."""
        return self.of.instance_class

    def can_convert_from(self, typing: Any, other: Any) -> Any:
        """Only from such a tuple."""
        return Conversion.safe if other == self.of else None


def passed(numba_type: Any) -> Any:
    """How a value of this type is passed on, and how a field of this type is had."""
    return Reference(numba_type) if is_large(numba_type) else numba_type


def is_large(numba_type: Any) -> bool:
    """Whether it is a named tuple of many leaves, or of arrays, which have many themselves."""
    return isinstance(numba_type, types.NamedTuple) and leaves_of(numba_type) > FEW


def leaves_of(numba_type: Any) -> int:
    """How many values it is passed by: an array has seven and more."""
    if isinstance(numba_type, (types.Tuple, types.UniTuple, types.NamedTuple, types.NamedUniTuple)):
        return sum(leaves_of(part) for part in numba_type.types)
    return FEW if isinstance(numba_type, types.Array) else 1


@register_model(Reference)
class ReferenceModel(models.PrimitiveModel):
    """An address."""

    def __init__(self, dmm: Any, fe_type: Reference) -> None:
        super().__init__(dmm, fe_type, dmm.lookup(fe_type.of).get_value_type().as_pointer())


@infer_getattr
class ReferenceAttributes(AttributeTemplate):
    """The fields of the tuple, of which large ones are referred to in turn."""

    key = Reference

    def generic_resolve(self, reference: Any, name: Any) -> Any:  # type: ignore[override]
        """The type of a field; None if there is no such."""
        if name not in reference.fields:
            return None
        return passed(reference.types[reference.fields.index(name)])


@lower_getattr_generic(Reference)
def lower_field(context: Any, builder: Any, reference: Reference, address: Any, name: str) -> Any:
    """Load a field, or find the address of a large one."""
    place = reference.fields.index(name)
    field = cgutils.gep_inbounds(builder, address, 0, place)
    return field if is_large(reference.types[place]) else builder.load(field)


@lower_cast(types.NamedTuple, Reference)
def lower_reference(context: Any, builder: Any, tuple_type: Any, reference: Any, value: Any) -> Any:
    """Keep the tuple in the frame of the function."""
    return cgutils.alloca_once_value(builder, value)
