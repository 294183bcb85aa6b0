"""What a client needs that may not be there."""

from __future__ import annotations

import os

import pytest

ALL_THERE = "LLMROUTE_CLIENTS"
"""Set where everything that a client needs was installed for it: nothing may be skipped."""


def needs(*modules: str) -> None:
    """Skip the tests of a file that need what is not installed; in its own environment, fail."""
    for module in modules:
        if ALL_THERE in os.environ:
            __import__(module)
        else:
            pytest.importorskip(module, reason=f"no {module}: see `make verify-clients`")
