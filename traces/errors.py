"""The root of all errors that a user's input can cause, in every room."""

from __future__ import annotations


class InputError(ValueError):
    """Input that cannot be used: names the field, the value received and what is accepted."""


class TraceError(InputError):
    """A trace that cannot be read or used: names the field, the value and what is accepted."""


def require(condition: bool, field: str, value: object, accepted: str) -> None:
    """Raise a TraceError that names field, value and what is accepted, unless `condition`."""
    if not condition:
        raise TraceError(f"{field}: got {value!r}; accepted: {accepted}")
