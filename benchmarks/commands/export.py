"""What `llmroute export` takes and does; importing it imports neither numba nor torch."""

from __future__ import annotations

import json as json_format
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro

from benchmarks.commands.options import UNCHANGED, Environment, Said


@dataclass(frozen=True)
class Export:
    """Write a trained router as an ONNX model: observation to action, heuristic guard included."""

    extra: ClassVar = "export"
    agent: tyro.conf.Positional[str]
    """A run directory, or a shipped router: `llmroute list agents` says those pretrained."""
    out: Path = Path("router.onnx")
    """The file to write."""
    gpus: Said[int | None] = None
    """For how many GPUs, if the router decides pairs; as many as it was trained for by default."""
    environment: Environment = UNCHANGED
    """For what the router is checked and sized; as it was trained by default."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""

    def run(self) -> None:
        """Write the model, and print its size."""
        from agents.loading import load_trained
        from agents.serving.export import export
        from llmroute_env.recording.files import check_writable
        from llmroute_env.scenarios import configure
        from llmroute_env.specs import Pool, require

        check_writable(self.out)
        cluster = self.environment.problem().config() if self.environment.given else None
        if self.gpus is not None:
            accepted = "without an environment, which says it"
            require(cluster is None, "gpus", self.gpus, accepted)
            cluster = configure("stable", pools=(Pool(self.gpus),))
        agent = load_trained(self.agent, cluster)
        export(agent, self.out)
        size_bytes = self.out.stat().st_size
        columns, actions = agent.columns, agent.actions
        print(f"{self.out}: {columns} columns to one of {actions} actions, {size_bytes:,} bytes")
        if self.json:
            row = {"agent": self.agent, "out": str(self.out), "bytes": size_bytes}
            print(json_format.dumps({**row, "columns": columns, "actions": actions}))
