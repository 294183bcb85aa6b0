"""Two trainings side by side in TensorBoard, with a heuristic's score as a horizontal line.

    python examples/compare_curves.py [--quick]
    tensorboard --logdir runs/example-curves

Needs the extra `train`.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.heuristics.tuning import validation_score
from agents.runs.plan import Plan
from agents.settings.own import DoubleDQNSettings
from agents.training.levels import draw_levels
from agents.training.training import train
from llmroute_env import configure

OUT = Path("runs/example-curves")
SMALL = DoubleDQNSettings(
    envs=8, warmup_decisions=256, batch_size=64, validations=2, validation_episodes=2
)


def main(quick: bool = False) -> dict[str, float]:
    """Train with two step sizes; returns the best validation scores and the heuristic's."""
    shutil.rmtree(OUT, ignore_errors=True)
    decisions = 4096 if quick else 2_000_000
    fields: dict[str, Any] = {"window_s": 1.0} if quick else {}
    settings = SMALL if quick else DoubleDQNSettings()
    scores = {}
    for rate in (1e-3, 1e-4):
        changed = replace(settings, learning_rate=rate, learning_rate_end=rate, guarded=False)
        plan = Plan(OUT / f"ddqn-{rate:g}", "stable", fields, 0, decisions, settings=changed)
        scores[plan.directory.name] = train(plan, shows_progress=not quick).utility_of_peak
    config = configure("stable", **fields, split="validation")
    scores["largest-feasible"] = validation_score("largest-feasible", config, 0.2, 4)
    draw_levels(OUT, {"largest-feasible": scores["largest-feasible"]}, decisions, 60.0)
    for name, score in scores.items():
        print(f"{name}: {score:.3f} of the peak")
    print(f"now: tensorboard --logdir {OUT}")
    return scores


if __name__ == "__main__":
    main("--quick" in sys.argv)
