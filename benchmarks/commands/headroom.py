"""What `llmroute headroom` takes and does; importing it imports neither numba nor torch."""

from __future__ import annotations

import json as json_format
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.options import UNCHANGED, Environment, Said


@dataclass(frozen=True)
class Headroom:
    """Say how much there is to gain in an environment, before anybody trains.

    What the best rule earns at its best setting; what a rule would that sees the present exactly,
    where signals are late; what whoever knows the present and how requests come would earn by
    trying actions in sampled futures; what whoever knows the near future would, by trying them in
    it; and what no router can exceed. All on the same episodes.
    """

    environment: Environment = UNCHANGED
    """On what."""
    episodes: int = 16
    """How many episodes."""
    seed: int = 0
    """Of the episodes."""
    horizons: tuple[float, ...] = (0.5, 1.0, 2.0)
    """How far ahead is known, in units of the longest latency that still earns something."""
    tuned: Path = Path("runs/tuned")
    """Folder of the settings that were found for problems of your own."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""

    def run(self) -> None:
        """Measure, and print a table or JSON."""
        from benchmarks.evaluation.runner import check_episodes
        from benchmarks.headroom import headroom
        from llmroute_env.specs import require

        check_episodes(self.episodes, self.seed)
        known = "at least one, all above 0"
        require(min(self.horizons, default=0.0) > 0.0, "horizons", self.horizons, known)
        problem = self.environment.problem()
        found = headroom(problem.config(), self.episodes, self.seed, self.tuned, self.horizons)
        rows = [level.to_json() for level in found]
        if self.json:
            print(json_format.dumps({"scenario": problem.title, "levels": rows}))
            return
        print(f"{problem.title}: utility of peak, and gain over the best rule")
        for level in found:
            gain = "" if level.gain is None else f"  {level.gain.text(4, '+')}"
            print(f"{level.earned.mean():.4f}{gain}  {level.who}")
