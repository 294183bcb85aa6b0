"""Offline data: what a rule saw, did and earned, as arrays, and a router that learns from them.

    python examples/offline_data.py [--quick]

The router only imitates; any offline learner can begin from the same file. Needs torch (extra
`train`). With Minari a data set is collected by its own wrapper: docs/clients.md.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.base import Agent
from agents.loading import load
from benchmarks.evaluation.runner import evaluate
from llmroute_env import LLMRouteVectorEnv, configure

SCENARIO, ENVS, BATCH = "overload", 16, 256
OUT = Path("runs/example-offline.npz")


class Imitator:
    """The action that a network finds likeliest."""

    name, action = "imitator", "model"

    def __init__(self, network: nn.Module, observation: tuple[str, ...]) -> None:
        """`observation` names what the rule read when it was recorded."""
        self.network, self.observation = network, observation

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Nothing to forget between episodes."""

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """The model for every row, shape (E, F) -> (E,)."""
        with torch.no_grad():
            actions: NDArray[np.int64] = (
                self.network(torch.from_numpy(observations)).argmax(1).numpy()
            )
        return actions


def collect(rule: Agent, steps: int, window_s: float) -> None:
    """Follow `rule` on training arrivals and keep what happened: rows of steps, columns of envs."""
    envs = LLMRouteVectorEnv(ENVS, SCENARIO, autoreset_mode="SameStep", window_s=window_s)
    rule.begin(ENVS, np.random.default_rng(0))
    observations, _ = envs.reset(seed=0)
    kept: dict[str, list[NDArray[np.generic]]] = {
        name: [] for name in ("observations", "actions", "rewards", "terminated", "elapsed_s")
    }
    for _ in range(steps):
        actions = rule.act(observations)
        following, rewards, terminated, _, infos = envs.step(actions)
        row = (observations, actions, rewards, terminated, infos["elapsed_s"])
        for column, values in zip(kept.values(), row, strict=True):
            column.append(values.copy())
        observations = following
    OUT.parent.mkdir(exist_ok=True)
    arrays = {name: np.stack(rows) for name, rows in kept.items()}
    np.savez_compressed(OUT, **arrays)  # type: ignore[arg-type]


def imitate(updates: int) -> nn.Module:
    """A network that does what the file says was done."""
    torch.manual_seed(0)
    with np.load(OUT) as data:
        seen, done = (data[name].reshape(-1, *data[name].shape[2:]) for name in data.files[:2])
    network = nn.Sequential(
        nn.Linear(seen.shape[1], 64), nn.ReLU(), nn.Linear(64, int(done.max()) + 1)
    )
    optimizer, rng = torch.optim.Adam(network.parameters(), 3e-3), np.random.default_rng(0)
    for _ in range(updates):
        at = rng.integers(len(seen), size=BATCH)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(
            network(torch.from_numpy(seen[at])), torch.from_numpy(done[at])
        )
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network


def main(quick: bool = False) -> dict[str, float]:
    """Collect, learn, evaluate; returns the scores of the rule and of who learned from it."""
    window_s, steps, updates = (0.5, 500, 400) if quick else (5.0, 20_000, 5_000)
    config = configure(SCENARIO, split="test", window_s=window_s)
    rule = load("largest-feasible", config)
    collect(rule, steps, window_s)
    routers: list[Agent] = [rule, Imitator(imitate(updates), rule.observation)]
    found = [evaluate(router, config, 4 if quick else 32, seed=0) for router in routers]
    for result in found:
        print(f"{result.agent}: {result.interval('utility_of_peak').text()} of the peak")
    return {result.agent: result.interval("utility_of_peak").mean for result in found}


if __name__ == "__main__":
    main("--quick" in sys.argv)
