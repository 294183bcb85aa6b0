"""Train a router from Python, load it again and score it on held-out episodes.

    python examples/train_router.py [--quick]

As `llmroute train ddqn --out runs/example-ddqn` does. Needs the extra `train`.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from agents.loading import load
from agents.runs.plan import Plan
from agents.settings.own import DoubleDQNSettings
from agents.training.training import train
from benchmarks.evaluation.runner import evaluate
from llmroute_env import configure

SMALL = DoubleDQNSettings(
    envs=8, warmup_decisions=256, batch_size=64, validations=2, validation_episodes=2
)
OUT = Path("runs/example-ddqn")


def main(quick: bool = False) -> dict[str, float]:
    """Train and evaluate; returns the scores on validation and on test episodes."""
    shutil.rmtree(OUT, ignore_errors=True)
    # Small settings learn nothing in so short a time: the guard's heuristic then decides.
    settings, decisions = (SMALL, 4096) if quick else (None, 2_000_000)
    fields: dict[str, Any] = {"window_s": 1.0} if quick else {}
    plan = Plan(OUT, "stable", fields, decisions=decisions, settings=settings)
    trained = train(plan, shows_progress=not quick)
    config = configure("stable", **fields, split="test")
    judged = evaluate(load(str(OUT), config), config, episodes=2 if quick else 16, seed=0)
    score = judged.interval("utility_of_peak")
    print(f"{trained.decisions:,} decisions, kept in {OUT}")
    print(f"validation {trained.utility_of_peak:.3f}, test {score.text()} of the peak")
    return {"validation": trained.utility_of_peak, "test": score.mean}


if __name__ == "__main__":
    main("--quick" in sys.argv)
