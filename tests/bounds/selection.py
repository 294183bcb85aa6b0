"""Which of many cases `make test` goes through."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def mostly_verified(cases: int | Iterable[Any], chosen: Collection[Any]) -> list[Any]:
    """Cases as parameters, or so many seeds: `make verify` goes through all that are not chosen."""
    every = range(cases) if isinstance(cases, int) else cases
    verified = pytest.mark.verify
    return [c if c in chosen else pytest.param(c, marks=verified) for c in every]
