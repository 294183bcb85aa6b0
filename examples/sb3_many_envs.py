"""Stable-Baselines3 on the native vector env: 64 envs in one object, evaluated as it learns.

    python examples/sb3_many_envs.py [--quick]

Rewards are centred and scaled by the adapter; what is reported are the simulator's own utilities.
Needs the extra `sb3`.
"""

import sys

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy

from llmroute_env import LLMRouteVectorEnv
from llmroute_env.sb3 import SB3VecEnv


def make(envs: int, split: str, window_s: float) -> SB3VecEnv:
    """So many envs of one split."""
    native = LLMRouteVectorEnv(
        envs, "overload", autoreset_mode="SameStep", window_s=window_s, split=split
    )
    return SB3VecEnv(native, centre=0.5)


def main(quick: bool = False) -> dict[str, float]:
    """Train, and play the first episodes that routers are scored on; returns utility a request."""
    window_s, steps = (0.2, 1024) if quick else (10.0, 2_000_000)
    model = PPO("MlpPolicy", make(64, "train", window_s), n_steps=8, batch_size=256, seed=0)
    judge = EvalCallback(
        make(4, "validation", window_s), n_eval_episodes=4, eval_freq=steps // 128, verbose=0
    )
    model.learn(steps, callback=judge)

    test = make(4, "test", window_s)
    test.set_options([{"episode": episode} for episode in range(4)])
    utilities, requests = evaluate_policy(model, test, 4, return_episode_rewards=True)
    score = float(np.sum(utilities) / np.sum(requests))
    print(f"PPO: {score:.3f} of utility a request in {judge.n_calls * 64:,} decisions")
    return {"PPO": score}


if __name__ == "__main__":
    main("--quick" in sys.argv)
