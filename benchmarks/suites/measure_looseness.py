"""The cell that measures how loose the bounds of a suite are: against exact optima, where known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.bounds.looseness import looseness
from benchmarks.evaluation.row_files import LOOSENESS
from benchmarks.suites.cells import Files, Independent


@dataclass(frozen=True)
class MeasureLooseness(Independent):
    """Bound over exact optimum on small instances, one row per load."""

    instances: int
    seed: int

    @property
    def output(self) -> str:
        """Where the looseness is written, below the suite's directory."""
        return LOOSENESS

    def run(self, inputs: Mapping[str, bytes], scratch: Path) -> Files:
        """The looseness of the bound at every load, as JSON."""
        rows = looseness(np.random.default_rng(self.seed), instances=self.instances)
        found = {"instances": self.instances, "rows": [asdict(row) for row in rows]}
        return {self.output: json.dumps(found).encode()}
