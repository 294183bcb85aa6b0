"""Everything that only a GPU can tell, in minutes; every part is kept as it ends."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.latency import check_device, hardware
from benchmarks.measuring.grid import Grid
from benchmarks.measuring.identity import SCENARIO, identity
from benchmarks.measuring.loads import Effort, measure_loads
from benchmarks.measuring.profile import Setting, profile_text, subjects, table_path, table_text
from benchmarks.measuring.shapes import SHAPES, EngineShape
from benchmarks.measuring.steps import measure_steps
from benchmarks.measuring.training import contenders, measure_learning
from benchmarks.speed.device import ENVS, measure_in
from benchmarks.speed.rates import Effort as Rounds
from benchmarks.speed.training import tuned_scores
from llmroute_env import profiles
from llmroute_env.cuda.memory import Host, Memory
from llmroute_env.cuda.vector_env import at_hand
from llmroute_env.recording.files import check_writable
from llmroute_env.scenarios import configure
from llmroute_env.specs import require

MODELS = {"opt-1.3b": "opt-a100", "qwen2.5-3b": "qwen2.5", "qwen2.5-7b": "qwen2.5"}
"""Whose shapes are measured, and the profile that has their accuracies."""

GRID = Grid(
    requests=(1, 4, 16, 64, 256),
    contexts=(128, 512, 2048),
    chunks=(16, 64, 256, 1024, 2048),
    cached=(0, 512, 2048),
)
TINY = Grid(requests=(1, 2), contexts=(16, 32), chunks=(4, 16), cached=(0, 16))


@dataclass(frozen=True)
class Check:
    """What is checked, where, and where it is kept.

    Attributes:
        device: `cuda`; or `cpu`, to see the check itself run.
        quick: tiny networks and few envs, which say nothing about a GPU.
        seconds: after which no further part begins.
    """

    out: Path
    device: str = "cuda"
    quick: bool = False
    seconds: float = 450.0

    @property
    def memory(self) -> Memory:
        """Where envs are."""
        return at_hand() if self.device == "cuda" else Host()

    def keep(self, name: str, found: Mapping[str, Any]) -> None:
        """Write what was found."""
        path = self.out / f"{name}.json"
        path.write_text(json.dumps(found) + "\n", "utf-8")


def check_identity(check: Check) -> None:
    """Envs of the device beside the CPU's."""
    envs, steps = (40, 30) if check.quick else (2048, 400)
    check.keep("identity", identity(check.memory, envs, steps))


def check_speed(check: Check) -> None:
    """Steps per second and bytes per env."""
    envs, effort = ((32, 64), Rounds(1, 0.01)) if check.quick else (ENVS, Rounds(3, 0.5))
    check.keep("speed", measure_in(check.memory, effort, configure(SCENARIO), envs))


def check_engine(model: str, check: Check) -> None:
    """Steps of a model, part by part, and requests that it serves."""
    profile, shape = MODELS[model], SHAPES[model]
    shape = small(shape) if check.quick else shape
    found = {model: replace(subjects(profile, (model,), ())[model], shape=shape)}
    grid, repeats = (TINY, 2) if check.quick else (GRID, 10)
    setting = Setting(check.device, grid, repeats)
    measured = {model: measure_steps(shape, check.device, grid, repeats)}
    path = check.out / f"steps-{model}.toml"
    table_path(path).write_text(table_text(measured, setting), "utf-8")
    path.write_text(profile_text(profile, found, measured, path, setting), "utf-8")
    profiles.load(str(path))
    effort = Effort(4, 0.3, 40, 5) if check.quick else Effort()
    weights_bytes = measured[model].weights_bytes
    measure_loads(shape, check.device, effort, weights_bytes, named(check, f"serving-{model}"))


def named(check: Check, name: str) -> Callable[[str, dict[str, Any]], None]:
    """What keeps a run under a name of its own."""
    return lambda run, found: check.keep(f"{name}-{run.rstrip('%')}", found)


def small(shape: EngineShape) -> EngineShape:
    """A tiny network of the same kind."""
    kv_heads = 4 if shape.heads == shape.kv_heads else 2
    sizes = 2, 32, 4, kv_heads, 8, 48, 101, 1024
    return EngineShape(*sizes, gated=shape.gated, tied=shape.tied, biased=shape.biased)


def check_training(check: Check) -> None:
    """Learners on the device, and on the CPU: how soon they reach what heuristics score."""
    decisions, limit_s = (20_000, 20.0) if check.quick else (20_000_000, 30.0)
    targets, runs = tuned_scores(configure(SCENARIO)), list[dict[str, Any]]()
    for algorithm, device in contenders(check.device):
        runs.append(measure_learning(SCENARIO, algorithm, device, targets, decisions, limit_s))
        check.keep("training", {"scenario": SCENARIO, "targets": targets, "runs": runs})


PARTS: dict[str, Callable[[Check], None]] = {
    "identity": check_identity,
    "speed": check_speed,
    **{model: partial(check_engine, model) for model in MODELS},
    "training": check_training,
}
"""In the order in which they run."""


def run(check: Check, parts: Sequence[str] = ()) -> dict[str, str]:
    """Run all parts, or those named; what became of each.

    A part that fails ends neither the others nor what was kept before.

    Raises:
        ConfigError: no such part or device, or a folder that cannot be written to.
    """
    for part in parts:
        require(part in PARTS, "parts", part, ", ".join(PARTS))
    check_device(check.device, 1)
    check.out.mkdir(parents=True, exist_ok=True)
    check_writable(check.out / "check.json")
    _ = check.memory  # Refused before anything begins.
    started_s, became = time.perf_counter(), dict[str, str]()
    for part in parts or PARTS:
        begun_s = time.perf_counter() - started_s
        became[part] = "left out: no time" if begun_s > check.seconds else outcome(part, check)
        spent_s = time.perf_counter() - started_s - begun_s
        print(f"{part}: {became[part]} ({spent_s:.0f} s)", flush=True)
        check.keep("check", {**machine(check.device), "quick": check.quick, "parts": became})
    return became


def outcome(part: str, check: Check) -> str:
    """Run a part; how it ended."""
    try:
        PARTS[part](check)
    except Exception as error:  # Minutes on a GPU are not to be lost to one part.
        return f"failed: {type(error).__name__}: {error}"
    return "done"


def machine(device: str) -> dict[str, Any]:
    """What was measured on, and with."""
    name, memory_bytes = hardware(device)
    return {
        "device": name,
        "memory_bytes": memory_bytes,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }
