"""The cell that yields rows: one router, of one training seed, on the test episodes of an entry."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.base import Agent
from agents.heuristics.lookahead import SeesState
from benchmarks.evaluation import tuned_controls
from benchmarks.evaluation.episode_rows import rows_of
from benchmarks.evaluation.row_files import ROWS, stamp, to_lines
from benchmarks.evaluation.rows import Header, Times, Tuning
from benchmarks.evaluation.runner import evaluate
from benchmarks.suites.cells import Bound, Files
from benchmarks.suites.entries.entry import Entry
from benchmarks.suites.entries.every import ENTRIES, training_entry
from llmroute_env.config import EnvConfig
from llmroute_env.recording.serialization import config_sha256, trace_sha256
from llmroute_env.simulation.simulation import Simulation

TIMED = 2000
"""Decisions whose time is taken."""


@dataclass(frozen=True)
class EvaluateRouter:
    """The rows of one router, of one training seed, on the test episodes of an entry.

    Attributes:
        given: where a learned router's files are, below the suite's directory.
        tuned: where a control's setting is.
    """

    suite: str
    entry: Entry
    agent: str
    seed: int
    episodes: int
    episodes_seed: int
    given: str | None = None
    tuned: str | None = None

    @property
    def output(self) -> str:
        """Where the rows are written, below the suite's directory."""
        return f"{ROWS}/{self.entry.id}/{self.agent}-{self.seed}.jsonl"

    @property
    def bound(self) -> str:
        """File with the bounds of the entry's episodes, below the suite's directory."""
        return Bound(self.entry, self.episodes, self.episodes_seed).output

    @property
    def needs(self) -> tuple[str, ...]:
        """Bounds, setting and weights, as far as entry and router have them."""
        weights = [f"{self.given}/{name}" for name in ("config.json", "weights.safetensors")]
        bound = [self.bound] if self.entry.bounded else []
        return (*bound, *([self.tuned] if self.tuned else []), *(weights if self.given else []))

    def run(self, inputs: Mapping[str, bytes], scratch: Path) -> Files:
        """The rows as JSON lines."""
        config = self.entry.config("test")
        tuned = json.loads(inputs[self.tuned]) if self.tuned else None
        agent = self.make(config, tuned, inputs, scratch)
        started_s = time.perf_counter()
        evaluation = evaluate(agent, config, self.episodes, self.episodes_seed)
        wall_s = (time.perf_counter() - started_s) / self.episodes
        times: Times = {
            "wall_s": round(wall_s, 4),
            "decision_us": decision_us(agent, evaluation.config),
        }
        header = self.header(config, tuned, evaluation.config)
        bounds = json.loads(inputs[self.bound]) if self.entry.bounded else None
        rows = rows_of(evaluation, header, bounds, times)
        return {self.output: to_lines(rows)}

    def make(
        self, config: EnvConfig, tuned: Any, inputs: Mapping[str, bytes], scratch: Path
    ) -> Agent:
        """The router, built anew or loaded from the files in `inputs`."""
        if not self.given:
            # Built for what it was tuned on: a shift is one of what a router believes, too.
            tuned_on = self.entry.tuned_on
            believed = (ENTRIES[tuned_on] if tuned_on else self.entry).config("test")
            return tuned_controls.make(self.agent, believed, tuned and tuned["setting"])
        from agents.loading import load

        scratch.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "weights.safetensors"):
            (scratch / name).write_bytes(inputs[f"{self.given}/{name}"])
        return load(str(scratch), config)

    def header(self, config: EnvConfig, tuned: Any, observed: EnvConfig) -> Header:
        """What all rows of the cell have in common."""
        effort: Tuning | None = None
        if tuned is not None:
            effort = {
                "settings_tried": tuned["settings_tried"],
                "episodes_each": tuned["episodes_each"],
                "window_s": tuned["window_s"],
                "validation_score": tuned["validation_score"],
            }
        return {
            "suite": self.suite,
            "entry": self.entry.id,
            "scenario": self.entry.scenario,
            "tags": sorted(self.entry.tags),
            "trained_on": training_entry(self.entry, self.agent).id,
            "agent": self.agent,
            "learned": self.given is not None,
            "setting": tuned and tuned["setting"],
            "tuning": effort,
            "training_seed": self.seed,
            "seed": self.episodes_seed,
            "config_sha256": config_sha256(observed),
            "trace_sha256": trace_sha256(Simulation(config).trace),
            "load_1_per_s": config.load_1_per_s,
            "gpus": config.gpus,
            **stamp(),
        }


def decision_us(agent: Agent, config: EnvConfig) -> dict[str, float] | None:
    """Microseconds of one decision for one request, p50 and p99; None if it needs the state."""
    if isinstance(agent, SeesState):
        return None
    simulation = Simulation(config)
    agent.begin(1, np.random.default_rng(0))
    observation = simulation.outputs.observations
    taken_s = np.zeros(TIMED)
    for i in range(TIMED):
        started_s = time.perf_counter()
        agent.act(observation)
        taken_s[i] = time.perf_counter() - started_s
    p50, p99 = np.quantile(1e6 * taken_s, [0.5, 0.99]).round(2).tolist()
    return {"p50": p50, "p99": p99}
