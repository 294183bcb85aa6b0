"""What `llmroute fidelity` takes and does; importing it imports neither numba nor torch."""

from __future__ import annotations

import json as json_format
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.options import Said


@dataclass(frozen=True)
class Fidelity:
    """Compare continuous batching as it is simulated with what real engines did."""

    out: Said[Path | None] = None
    """Folder for two pictures, runs.png and tpot.png; none are drawn without."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""

    def run(self) -> None:
        """Simulate what was measured, and print tables or JSON."""
        from benchmarks.fidelity.page import as_json, findings, text

        found = findings()
        print(json_format.dumps(as_json(found)) if self.json else text(found))
        if self.out is not None:
            from benchmarks.fidelity.comparison import paired
            from benchmarks.fidelity.figure import draw_runs, draw_tables
            from benchmarks.fidelity.recorded import runs

            self.out.mkdir(parents=True, exist_ok=True)
            draw_runs(self.out / "runs.png", [paired(run) for run in runs()])
            draw_tables(self.out / "tpot.png", found.tables)
