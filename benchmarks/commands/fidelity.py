"""What `llmroute fidelity` takes and does; importing it imports neither numba nor torch."""

from __future__ import annotations

import json as json_format
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.options import Said


@dataclass(frozen=True)
class Fidelity:
    """Compare continuous batching as it is simulated with what real engines did."""

    measured: Said[Path | None] = None
    """Folder of `llmroute gpu-check`: compare with what was measured there, not with what ships."""
    out: Said[Path | None] = None
    """Folder for pictures, runs.png and, of what ships, tpot.png; none are drawn without."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""

    def run(self) -> None:
        """Simulate what was measured, and print tables or JSON."""
        if self.measured is None:
            self.compare_with_shipped()
        else:
            self.compare_with(self.measured)

    def compare_with_shipped(self) -> None:
        """Everything that was measured on engines of others."""
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

    def compare_with(self, folder: Path) -> None:
        """What a folder of gpu-check has."""
        from benchmarks.fidelity.measured import measured_in
        from benchmarks.fidelity.page import measured_json, measured_text

        found = measured_in(folder)
        print(json_format.dumps(measured_json(found)) if self.json else measured_text(found))
        if self.out is not None:
            from benchmarks.fidelity.figure import draw_runs

            self.out.mkdir(parents=True, exist_ok=True)
            draw_runs(self.out / "runs.png", [loop.pair for loop in found.loops])
