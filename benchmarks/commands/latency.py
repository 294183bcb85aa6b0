"""What `llmroute latency` takes and does; importing it imports neither numba nor torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.options import Said


@dataclass(frozen=True)
class Latency:
    """Measure how long your GPU takes for batches of a profile's models, with random weights."""

    profile: str = "opt-a100"
    """Its models' shapes, tasks, accuracies and tokens per request: one that is shipped."""
    models: Said[tuple[str, ...]] = ()
    """Only these of them."""
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """Batch sizes."""
    repeats: int = 30
    """Of each batch; the median counts."""
    device: str = "cuda"
    """cuda; or cpu, where the largest model takes minutes."""
    out: Path = Path("my-gpu.toml")
    """The profile to write, for `profile="my-gpu.toml"`: measured times and their affine fits."""

    def run(self) -> None:
        """Measure, print the fit of each model, and write the profile."""
        from benchmarks.latency import affine_fit, as_profile, measure
        from llmroute_env.recording.files import check_writable

        check_writable(self.out)
        times_s = measure(self.profile, self.models, self.batches, self.repeats, self.device)
        for name, measured_s in times_s.items():
            fit = affine_fit(self.batches, measured_s)
            line = f"{1e3 * fit.base_s:.2f} + {1e3 * fit.per_request_s:.3f} b ms"
            print(f"{name}: {line}, at most {100 * fit.largest_error:.0f} % off")
        self.out.write_text(as_profile(self.profile, self.batches, times_s, self.device), "utf-8")
        print(self.out)
