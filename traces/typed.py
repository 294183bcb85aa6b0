"""Values against the types that a dataclass declares: strict, but a number of NumPy is a number.

A text is no flag, a flag no number, 2.9 no integer, a list no tuple; an integer may stand for a
float. What fits is kept as it is, with NumPy's numbers turned into Python's.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Hashable, Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np

from traces.errors import InputError

MOST = 2**53
"""Of an integer: beyond it, numbers of JSON and floats are no longer told apart."""

SCALARS = {
    bool: "true or false",
    int: "an integer of at most 2**53",
    float: "a number",
    str: "a text",
}


@cache
def hints_of(cls: Hashable) -> dict[str, Any]:
    """The declared type of every field of a dataclass."""
    kind: Any = cls
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def check_fields(record: Any, where: str = "", error: type[InputError] = InputError) -> None:
    """Raise `error` unless every field of a frozen dataclass has its declared type.

    `where` stands before the names of fields in messages.
    """
    for name, hint in hints_of(record.__class__).items():
        value = getattr(record, name)
        fitted = conform(value, hint, f"{where}{name}", error)
        if fitted is not value:
            object.__setattr__(record, name, fitted)


def conform(value: Any, hint: Any, where: str, error: type[InputError] = InputError) -> Any:
    """`value`, if it is of the type `hint`.

    Raises:
        error: it is not; names `where`, the value and what is accepted.
    """
    fitted = fit(value, hint)
    if fitted is MISFIT:
        raise error(f"{where}: got {shown(value)}; accepted: {words(hint)}")
    return fitted


MISFIT = object()
"""What `fit` returns for a value of another type."""


def fit(value: Any, hint: Any) -> Any:
    """`value` if it is of the type `hint`, with Python's numbers for NumPy's; else MISFIT."""
    if isinstance(value, np.generic):
        value = value.item()
    if hint is Any:
        return value
    if hint in SCALARS:
        return value if is_scalar(value, hint) else MISFIT
    if is_union(hint):
        fitted = (fit(value, option) for option in typing.get_args(hint))
        return next((found for found in fitted if found is not MISFIT), MISFIT)
    origin = typing.get_origin(hint)
    if origin is tuple:
        return fit_tuple(value, typing.get_args(hint))
    if origin is Mapping or hint is Mapping or origin is dict:
        return fit_mapping(value, typing.get_args(hint) or (Any, Any))
    if origin is typing.Literal:
        return value if value in typing.get_args(hint) else MISFIT
    return value if is_one(value, hint) else MISFIT


def is_scalar(value: Any, kind: type[Any]) -> bool:
    """Whether a value is a flag, an integer, a number or a text: one rule for all fields."""
    if kind is int and isinstance(value, int) and abs(value) > MOST:
        return False
    if kind is not float or not isinstance(value, int):
        return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    try:
        float(value)
    except OverflowError:
        return False
    return not isinstance(value, bool)


def is_union(hint: Any) -> bool:
    """Whether a type is a choice among several."""
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def is_protocol(hint: Any) -> bool:
    """Whether a type says only what its values can do."""
    return bool(getattr(hint, "_is_protocol", False))


def fit_tuple(value: Any, entries: tuple[Any, ...]) -> Any:
    """A tuple of entries that fit; of so many if the type says how many."""
    if not isinstance(value, tuple):
        return MISFIT
    if entries[1:] == (...,):
        entries = (entries[0],) * len(value)
    if len(entries) != len(value):
        return MISFIT
    fitted = [fit(*pair) for pair in zip(value, entries, strict=True)]
    return fitted_or(value, fitted, list(value), lambda: tuple(fitted))


def fit_mapping(value: Any, entries: tuple[Any, ...]) -> Any:
    """A mapping of keys and values that fit."""
    if not isinstance(value, Mapping):
        return MISFIT
    before = [entry for pair in value.items() for entry in pair]
    fitted = [fit(entry, entries[i % 2]) for i, entry in enumerate(before)]
    pairs = zip(fitted[::2], fitted[1::2], strict=True)
    return fitted_or(value, fitted, before, lambda: dict(pairs))


def fitted_or(value: Any, fitted: list[Any], before: list[Any], remade: Any) -> Any:
    """The value itself where nothing in it changed, made anew where it did, MISFIT if it cannot."""
    if any(entry is MISFIT for entry in fitted):
        return MISFIT
    same = all(one is other for one, other in zip(fitted, before, strict=True))
    return value if same else remade()


def is_one(value: Any, hint: Any) -> bool:
    """Whether a value is of a class, or can do what a protocol asks for."""
    if hint is None or hint is type(None):
        return value is None
    if not is_protocol(hint):
        return isinstance(value, hint)
    asked = [name for name in vars(hint) if not name.startswith("_")]
    able = all(hasattr(value, name) for name in asked) and not isinstance(value, type)
    return able and isinstance(value, Hashable)


def words(hint: Any) -> str:
    """A type as a user reads it."""
    if hint in SCALARS:
        return SCALARS[hint]
    if is_union(hint):
        return ", or ".join(words(option) for option in typing.get_args(hint))
    if hint is None or hint is type(None):
        return "None"
    entries = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin is tuple and entries[1:] == (...,):
        return f"a tuple, each entry {words(entries[0])}"
    if origin is tuple:
        return f"a tuple of {len(entries)}, each {words(entries[0])}"
    if origin is Mapping or origin is dict:
        return f"a mapping from {words(entries[0])} to {words(entries[1])}"
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, entries))}"
    return f"a {getattr(hint, '__name__', hint)}"


def shown(value: Any) -> str:
    """A value in a message of one line; a long one is cut."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 200 else f"{text[:200]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """`nearest: X; ` for a name that is almost one of `known`, as messages say it; else nothing."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f"nearest: {found[0]}; " if found else ""


def differing(where: str, ours: Any, theirs: Any) -> tuple[str, Any, Any]:
    """Where two values of plain data that are not equal differ first, and what stands there."""
    pairs: list[tuple[str, Any, Any]] = []
    if isinstance(ours, dict) and isinstance(theirs, dict):
        pairs = [(f"{where}.{key}", ours.get(key), theirs.get(key)) for key in {**theirs, **ours}]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = [(f"{where}[{i}]", *pair) for i, pair in enumerate(zip(ours, theirs, strict=True))]
    found = next((pair for pair in pairs if pair[1] != pair[2]), None)
    return (where, ours, theirs) if found is None else differing(*found)
