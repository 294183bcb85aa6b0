"""The error of this room, and the one way to raise it."""

from __future__ import annotations

from traces.errors import InputError


class ConfigError(InputError):
    """A configuration that cannot be simulated: names the field, the value and what is accepted."""


class UnknownKeywordError(ConfigError, TypeError):
    """A setting that there is not: as Python says it too, so that clients take it back."""


def require(condition: bool, field: str, value: object, accepted: str) -> None:
    """Raise a ConfigError that names field, value and what is accepted, unless `condition`."""
    if not condition:
        raise ConfigError(f"{field}: got {value!r}; accepted: {accepted}")
