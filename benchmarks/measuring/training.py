"""How soon Double DQN reaches the tuned heuristics' scores on a device, and on the CPU."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agents.runs.plan import Plan
from agents.settings.own import DoubleDQNSettings
from agents.settings.parts import Settings
from agents.settings.presets import PRESETS
from agents.training.training import train
from benchmarks.speed.training import VALIDATIONS, Race, RaceOverError

WIDE: dict[str, Any] = {
    "envs": 4096,
    "collect_steps": 16,
    "batch_size": 8192,
    "replay_capacity": 2_000_000,
}
"""What of `ddqn` differs on a device: as much at once as keeps it busy."""


def settings_for(device: str, decisions: int) -> Settings:
    """Those of `ddqn`, validated often."""
    found = replace(PRESETS["ddqn"], validations=VALIDATIONS, decisions=decisions)
    if device == "cpu":
        return found
    assert isinstance(found, DoubleDQNSettings)
    return replace(found, **WIDE)


def measure_learning(
    scenario: str, device: str, targets: Mapping[str, float], decisions: int, limit_s: float
) -> dict[str, Any]:
    """A training until all targets are exceeded, the decisions are taken or the time is up."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(
            Path(folder) / "run",
            scenario,
            algorithm="ddqn",
            decisions=decisions,
            settings=settings_for(device, decisions),
            device=device,
        )
        race = Race(targets, limit_s, started_s=time.perf_counter())
        try:
            taken = train(plan, shows_progress=False, callback=race).decisions
        except RaceOverError:
            taken = None
    return {"device": device, "decisions": taken, **asdict(race)}
