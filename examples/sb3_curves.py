"""Stable-Baselines3 on the axes of `llmroute train`: the same scores, bound and regret.

    python examples/sb3_curves.py [--quick]
    tensorboard --logdir runs/example-axes

One callback; the page CUSTOM SCALARS compares all runs. A loop of your own, as CleanRL's, does it
with two lines: `benchmarks.curves.scores.Scores`. Needs the extra `sb3`.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from stable_baselines3 import PPO

from agents.runs.plan import Plan
from agents.settings.own import DoubleDQNSettings
from agents.training.training import train
from benchmarks.curves.sb3 import ScoreCallback
from llmroute_env import LLMRouteVectorEnv
from llmroute_env.sb3 import SB3VecEnv

OUT = Path("runs/example-axes")
SMALL = DoubleDQNSettings(envs=8, warmup_decisions=256, batch_size=64, validations=1)


def main(quick: bool = False) -> dict[str, float]:
    """Train PPO and our Double DQN side by side; returns their best scores on the same episodes."""
    shutil.rmtree(OUT, ignore_errors=True)
    decisions = 2048 if quick else 2_000_000
    fields: dict[str, Any] = {"window_s": 0.2 if quick else 10.0}
    native = LLMRouteVectorEnv(64, "overload", autoreset_mode="SameStep", **fields)
    venv = SB3VecEnv(native, centre=0.5)
    model = PPO("MlpPolicy", venv, n_steps=8, batch_size=256, tensorboard_log=str(OUT), seed=0)
    callback = ScoreCallback(tries=1 if quick else 20, reference=not quick)
    model.learn(decisions, callback=callback)

    plan = Plan(
        OUT / "ddqn",
        "overload",
        fields,
        decisions=decisions,
        settings=SMALL if quick else None,
        levels=callback.scores.levels,
    )
    ours = train(plan, shows_progress=not quick).utility_of_peak
    scores = {"PPO": callback.scores.best, "ddqn": ours}
    for name, score in scores.items():
        print(f"{name}: {score:.3f} of the peak")
    print(f"now: tensorboard --logdir {OUT}")
    return scores


if __name__ == "__main__":
    main("--quick" in sys.argv)
