"""What `llmroute gpu-check` takes and does; importing it imports neither numba nor torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.options import Said


@dataclass(frozen=True)
class GpuCheck:
    """Check on a GPU in minutes: are envs there the CPU's, how fast, and how long do steps take?

    Every part writes its files as it ends: a run that is cut off keeps what it had.
    """

    out: Path
    """Folder for what is found."""
    parts: Said[tuple[str, ...]] = ()
    """Only these, in this order: identity, speed, opt-1.3b, qwen2.5-3b, qwen2.5-7b, training."""
    device: str = "cuda"
    """cuda; or cpu, to see the check itself run."""
    quick: Said[bool] = False
    """Few envs and tiny networks, which say nothing about a GPU."""
    seconds: float = 450.0
    """After which no further part begins."""

    def run(self) -> int:
        """Check; 1 if a part failed."""
        from benchmarks.measuring.gpu_check import Check, run

        check = Check(self.out, self.device, self.quick, self.seconds)
        became = run(check, self.parts)
        print(self.out)
        return int(any(said.startswith("failed") for said in became.values()))
