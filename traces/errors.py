"""The root of all errors that a user's input can cause, in every room."""

from __future__ import annotations


class InputError(ValueError):
    """Input that cannot be used: names the field, the value received and what is accepted."""
