"""A memory of four observations, where signals are a second old: frames on a stack.

    python examples/frame_stack.py [--quick]

VecFrameStack stacks them for training, gymnasium's wrappers for playing; episodes begin with zeros.
Against PPO of one observation, alike in all else, on the same test episodes. Needs the extra `sb3`.
"""

import sys
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import FlattenObservation, FrameStackObservation
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecFrameStack

from llmroute_env import LLMRouteVectorEnv
from llmroute_env.sb3 import SB3VecEnv


def played(model: PPO, frames: int, episodes: int, fields: dict[str, Any]) -> list[float]:
    """Utility of peak of the first test episodes."""
    env = gymnasium.make("LLMRoute-v0", split="test", **fields)
    env = FlattenObservation(FrameStackObservation(env, frames, padding_type="zero"))
    scores = []
    for episode in range(episodes):
        (observation, _), over = env.reset(options={"episode": episode}), False
        while not over:
            action, _ = model.predict(observation, deterministic=True)
            observation, _, over, _, info = env.step(action)
        scores.append(float(info["summary"]["utility_of_peak"]))
    return scores


def main(quick: bool = False) -> dict[str, float]:
    """Train with a stack and without, and play; returns the mean scores."""
    fields: dict[str, Any] = {"scenario": "stale-1s", "window_s": 0.2 if quick else 10.0}
    steps, episodes, scores = (2048, 2, {}) if quick else (2_000_000, 16, {})
    for frames in (1, 4):
        native = LLMRouteVectorEnv(64, autoreset_mode="SameStep", **fields)
        envs = VecFrameStack(SB3VecEnv(native, centre=0.5, scale=0.1), frames)
        model = PPO("MlpPolicy", envs, n_steps=16, batch_size=256, seed=0).learn(steps)
        scores[f"frames={frames}"] = played(model, frames, episodes, fields)
    means = {name: float(np.mean(own)) for name, own in scores.items()}
    for name, mean in means.items():
        print(f"{name}: {mean:.3f} of the peak")
    gains = np.subtract(scores["frames=4"], scores["frames=1"])
    print(f"gain: {gains.mean():+.3f}, from {gains.min():+.3f} to {gains.max():+.3f}")
    return means


if __name__ == "__main__":
    main("--quick" in sys.argv)
