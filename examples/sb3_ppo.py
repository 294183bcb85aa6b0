"""Stable-Baselines3 as its README has it: `PPO("MlpPolicy", env).learn(...)`.

    python examples/sb3_ppo.py [--quick]

One env, one process: the shortest way, not the fastest (examples/sb3_many_envs.py). Needs the extra
`sb3`.
"""

import sys
from typing import Any

import gymnasium
from stable_baselines3 import PPO

import llmroute_env  # noqa: F401 - registers the ids


def main(quick: bool = False) -> dict[str, float]:
    """Train, and play the first episode that routers are scored on; returns the score."""
    fields: dict[str, Any] = {"scenario": "overload", "window_s": 0.2 if quick else 10.0}
    env = gymnasium.make("LLMRoute-v0", **fields)
    model = PPO("MlpPolicy", env, n_steps=128 if quick else 2048, seed=0, verbose=not quick)
    model.learn(256 if quick else 200_000)

    env = gymnasium.make("LLMRoute-v0", **fields, split="test")
    observation, _ = env.reset(options={"episode": 0})
    over = False
    while not over:
        action, _ = model.predict(observation, deterministic=True)
        observation, _, over, _, info = env.step(action)
    score = float(info["summary"]["utility_of_peak"])
    print(f"PPO: {score:.3f} of the peak")
    return {"PPO": score}


if __name__ == "__main__":
    main("--quick" in sys.argv)
