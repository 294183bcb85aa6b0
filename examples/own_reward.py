"""A reward of your own, by a gymnasium wrapper: utility minus what each model costs to run.

    python examples/own_reward.py [--quick]

The terms of the reward are in `info`; the score that everybody is compared by stays untouched.
"""

import sys
from typing import Any

import gymnasium
import numpy as np

from llmroute_env import LLMRouteEnv

COST = (0.0, 0.02, 0.1)
"""Of a request sent to each model, smallest first, in utility."""


class Costs(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Late answers earn nothing, and every request costs what its model costs."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As the environment's, with another reward."""
        observation, _, terminated, truncated, info = self.env.step(action)
        reward = float(info["utility_in_time"]) - COST[int(action)]
        return observation, reward, terminated, truncated, info


def main(quick: bool = False) -> dict[str, float]:
    """Every model alone, by both measures; returns the scores."""
    scores = {}
    window_s = 1.0 if quick else 30.0
    for model in range(3):
        bare = LLMRouteEnv("soft", load=1.0, window_s=window_s)
        env = Costs(bare)
        env.reset(seed=0)
        over, rewards = False, []
        while not over:
            _, reward, over, _, info = env.step(model)
            rewards.append(reward)
        name = bare.config.model_names[model]
        scores[name] = float(info["summary"]["utility_of_peak"])
        print(f"{name}: {np.mean(rewards):.3f} a request, {scores[name]:.3f} of the peak")
    return scores


if __name__ == "__main__":
    main("--quick" in sys.argv)
