"""What `llmroute latency` takes and does; importing it imports neither numba nor torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.commands.options import Said
from benchmarks.measuring.grid import Grid

BATCHES = (1, 2, 4, 8, 16, 32, 64)

USUAL = Grid()


@dataclass(frozen=True)
class Latency:
    """Measure how long your GPU takes for a profile's models, with random weights, and write yours.

    For batches that run to completion; with --steps for the steps of continuous batching.
    """

    profile: str = "opt-a100"
    """Its models' shapes, tasks, accuracies and tokens per request: one that is shipped."""
    models: Said[tuple[str, ...]] = ()
    """Only these of them."""
    batches: Said[tuple[int, ...]] = ()
    """Batch sizes, 1 to 64 unless named; of steps, requests that decode together, 1 to 256."""
    repeats: int = 30
    """Of each batch or step; the median counts."""
    device: str = "cuda"
    """cuda; or cpu, where the largest model takes minutes."""
    out: Path = Path("my-gpu.toml")
    """The profile to write, for `profile="my-gpu.toml"`; with --steps and a table beside it."""
    steps: Said[bool] = False
    """Measure steps, for `service="continuous"`: opt-a100's, qwen2.5's up to 32B, or --shape's."""
    shape: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...", help_behavior_hint="")
    ] = ()
    """Steps of a model of your own: layers=24 hidden=2048 heads=16 kv_heads=4 head_width=128
    inner=8192 vocabulary=32000 context_tokens=8192 and an accuracy=[0.6,0.7,...] for each task of
    the profile; also name=mine, gated=false (as OPT is), tied=false, biased=false."""
    contexts: tuple[int, ...] = USUAL.contexts
    """Of steps: tokens of each request that decodes."""
    chunks: tuple[int, ...] = USUAL.chunks
    """Of steps: tokens of a piece of a prompt."""
    cached: tuple[int, ...] = USUAL.cached
    """Of steps: tokens of the prompt before that piece."""

    def run(self) -> None:
        """Measure, print what was found, and write the profile."""
        if self.steps:
            self.measure_steps()
        else:
            self.measure_batches()

    def measure_batches(self) -> None:
        """Measure, print the fit of each model, and write the profile."""
        from benchmarks.latency import affine_fit, as_profile, measure
        from llmroute_env.recording.files import check_writable
        from llmroute_env.specs import require

        for name in ("shape", "contexts", "chunks", "cached"):
            usual = () if name == "shape" else getattr(USUAL, name)
            require(getattr(self, name) == usual, name, getattr(self, name), "only with --steps")
        check_writable(self.out)
        batches = self.batches or BATCHES
        times_s = measure(self.profile, self.models, batches, self.repeats, self.device)
        for name, measured_s in times_s.items():
            fit = affine_fit(batches, measured_s)
            line = f"{1e3 * fit.base_s:.2f} + {1e3 * fit.per_request_s:.3f} b ms"
            print(f"{name}: {line}, at most {100 * fit.largest_error:.0f} % off")
        self.out.write_text(as_profile(self.profile, batches, times_s, self.device), "utf-8")
        print(self.out)

    def measure_steps(self) -> None:
        """Measure, print how parts and whole steps agree, and write the profile and its table."""
        from benchmarks.latency import check_device
        from benchmarks.measuring.profile import (
            Setting,
            profile_text,
            subjects,
            table_path,
            table_text,
        )
        from benchmarks.measuring.steps import host_s_of, measure_steps
        from llmroute_env import profiles
        from llmroute_env.recording.files import check_writable
        from llmroute_env.specs import require

        require(self.out.suffix == ".toml", "out", str(self.out), "a .toml file")
        for path in (self.out, table_path(self.out)):
            check_writable(path)
        check_device(self.device, self.repeats)
        requests = self.batches or USUAL.requests
        setting = Setting(
            self.device, Grid(requests, self.contexts, self.chunks, self.cached), self.repeats
        )
        found = subjects(self.profile, self.models, self.shape)
        measured = {
            name: measure_steps(subject.shape, self.device, setting.grid, self.repeats)
            for name, subject in found.items()
        }
        host_s = host_s_of(list(measured.values()))
        print(f"host: {1e3 * host_s:.3f} ms a step")
        for name, one in measured.items():
            print(f"{name}: {one.words(host_s)}")
        table_path(self.out).write_text(table_text(measured, setting), "utf-8")
        text = profile_text(self.profile, found, measured, self.out, setting)
        self.out.write_text(text, "utf-8")
        # What was written is read again: a file that is no profile must not pass for one.
        profiles.load(str(self.out))
        print(self.out)
