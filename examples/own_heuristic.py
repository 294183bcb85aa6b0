"""A heuristic of your own: a class with four members, judged beside those of the package.

    python examples/own_heuristic.py [--quick]

`observation` names what it reads (features of docs/environment.md), `action` what it decides.
"""

import sys

import numpy as np
from numpy.typing import NDArray

from agents.base import Agent
from agents.loading import load
from benchmarks.evaluation.runner import differences, evaluate
from llmroute_env import EnvConfig, configure


class ByTask:
    """Large models for tasks on which they are much better, as long as they are in time."""

    name = "by-task"
    observation: tuple[str, ...] = ("task", "slack")
    action = "model"

    def __init__(self, config: EnvConfig, price: float) -> None:
        """`price` is what a whole deadline of waiting costs, in accuracy."""
        self.accuracy = np.array([model.accuracy for model in config.models])  # (M, T)
        self.price = price

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Nothing to forget between episodes."""

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """The model for every row, shape (E, T + M) -> (E,)."""
        tasks = self.accuracy.shape[1]
        task, slack = observations[:, :tasks], observations[:, tasks:]
        worth = task @ self.accuracy.T + self.price * slack
        actions: NDArray[np.int64] = np.where(slack > 0.1, worth, slack - 100.0).argmax(axis=1)
        return actions


def main(quick: bool = False) -> dict[str, float]:
    """Evaluate it and `largest-feasible`; returns their mean scores."""
    config = configure("unpredictable-1", split="test", window_s=2.0 if quick else 30.0)
    routers: list[Agent] = [load("largest-feasible", config), ByTask(config, price=0.1)]
    results = [evaluate(router, config, 4 if quick else 32, seed=0) for router in routers]
    for result in results:
        print(f"{result.agent}: {result.interval('utility_of_peak').text()} of the peak")
    print(f"difference: {differences(results)[0].text(4, '+')}")
    return {r.agent: r.interval("utility_of_peak").mean for r in results}


if __name__ == "__main__":
    main("--quick" in sys.argv)
