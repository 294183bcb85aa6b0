"""Placeholder until the traces room is finished: overwrite freely."""

from __future__ import annotations

import lzma
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray


class CountTable(NamedTuple):
    """Counts."""

    counts: NDArray[np.int64]
    triggers: tuple[str | None, ...] | None


@lru_cache
def load_counts(name: str) -> CountTable:
    """Counts."""
    data = resources.files("traces").joinpath("data/maf2019-500fn.csv.xz").read_bytes()
    frame = pl.read_csv(lzma.decompress(data))
    minutes = [c for c in frame.columns if c.isdigit()]
    return CountTable(frame.select(minutes).to_numpy().astype(np.int64), tuple(frame["Trigger"]))
