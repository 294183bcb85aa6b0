"""How soon learners reach the tuned heuristics' scores on a device, and on the CPU."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agents.runs.plan import Plan
from agents.settings.parts import Settings
from agents.settings.presets import PRESETS
from agents.settings.sb3 import SB3_PRESETS
from agents.training.training import train
from benchmarks.speed.training import VALIDATIONS, Race, RaceOverError

WIDE: dict[str, dict[str, Any]] = {
    "ddqn": {
        "envs": 4096,
        "collect_steps": 16,
        "batch_size": 8192,
        "replay_capacity": 2_000_000,
    },
    "ppo": {"envs": 4096, "collect_steps": 64, "batch_size": 32768},
}
"""What of the learners' settings differs on a device: as much at once as keeps it busy."""


def contenders(device: str) -> list[tuple[str, str]]:
    """(algorithm, device) of the trainings: on the device, then on the CPU where it can be."""
    there = [] if device == "cpu" else [(algorithm, device) for algorithm in WIDE]
    here = [
        name
        for name in WIDE
        if name not in SB3_PRESETS or find_spec("stable_baselines3") is not None
    ]
    return [*there, *((algorithm, "cpu") for algorithm in here)]


def settings_for(algorithm: str, device: str, decisions: int) -> Settings:
    """Those of the preset, validated often."""
    found = replace(PRESETS[algorithm], validations=VALIDATIONS, decisions=decisions)
    return found if device == "cpu" else replace(found, **WIDE[algorithm])


def measure_learning(
    scenario: str,
    algorithm: str,
    device: str,
    targets: Mapping[str, float],
    decisions: int,
    limit_s: float,
) -> dict[str, Any]:
    """A training until all targets are exceeded, the decisions are taken or the time is up."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(
            Path(folder) / "run",
            scenario,
            algorithm=algorithm,
            decisions=decisions,
            settings=settings_for(algorithm, device, decisions),
            device=device,
        )
        race = Race(targets, limit_s, started_s=time.perf_counter())
        try:
            taken = train(plan, shows_progress=False, callback=race).decisions
        except RaceOverError:
            taken = None
    return {"algorithm": algorithm, "device": device, "decisions": taken, **asdict(race)}
