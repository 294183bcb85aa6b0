"""What may come, as far as the training arrivals tell: what followed when the rates were alike."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.cluster import Tape
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.service.models import SERVICES
from llmroute_env.simulation.simulation import Simulation

ALIKE, CLOSEST = 256, 32
"""Futures begin at one of the closest by the short rate, of twice ALIKE moments by the long one."""


class Past:
    """The training arrivals, by the rates that a router would have estimated at each of them."""

    def __init__(self, config: EnvConfig, horizon_s: float) -> None:
        """The arrivals of `config`, as futures of `horizon_s` seconds."""
        self.horizon_s = horizon_s
        self.reads_lengths = SERVICES[config.service].reads_lengths
        simulation = Simulation(config, logs_completions=False)
        self.tape = simulation.tape
        rates = np.empty((2, len(self.tape.arrival_s)))
        for row, window_s in zip(rates, config.rate_windows_s, strict=True):
            estimate_rates(self.tape.arrival_s, window_s, row)
        self.order = np.argsort(rates[1], kind="stable")
        self.slow = rates[1][self.order]
        self.surge = np.log(rates[0] / rates[1])[self.order]
        tasks = self.tape.task
        self.of_task = [np.flatnonzero(tasks == task) for task in range(len(config.tasks))]

    def futures(
        self, env: np.void, real: Tape, rng: np.random.Generator, number: int
    ) -> list[Tape]:
        """So many tapes that begin with the pending request of `env`, which is one of `real`.

        Of that its prompt is known; its answer is as long as one of the same task was.
        """
        pending = int(env["first"] + env["request"])
        rate = float(env["slow_rate_per_s"])
        middle = int(np.searchsorted(self.slow, rate))
        first = min(max(middle - ALIKE, 0), max(len(self.slow) - 2 * ALIKE, 0))
        near = slice(first, first + 2 * ALIKE)
        distance = np.abs(self.surge[near] - np.log(env["fast_rate_per_s"] / rate))
        closest = first + np.argsort(distance)[:CLOSEST]
        found = [self.future(env, int(i)) for i in rng.choice(closest, number)]
        if self.reads_lengths:
            alike = rng.choice(self.of_task[env["task"]], number)
            for tape, other in zip(found, alike, strict=True):
                tape.prompt_tokens[0] = real.prompt_tokens[pending]
                tape.output_tokens[0] = self.tape.output_tokens[other]
        return found

    def future(self, env: np.void, place: int) -> Tape:
        """What followed at one place, at the rate of now."""
        start, tape = int(self.order[place]), self.tape
        pace = float(np.clip(self.slow[place] / env["slow_rate_per_s"], 0.5, 2.0))
        until_s = tape.arrival_s[start] + self.horizon_s / pace
        chosen = slice(start, max(int(np.searchsorted(tape.arrival_s, until_s)), start + 1))
        later_s = (tape.arrival_s[chosen] - tape.arrival_s[start]) * pace
        tasks, classes = tape.task[chosen].copy(), tape.user_class[chosen].copy()
        tasks[0], classes[0] = env["task"], env["user_class"]
        lengths = tape.prompt_tokens[chosen].copy(), tape.output_tokens[chosen].copy()
        return Tape(float(env["now_s"]) + later_s, tasks, classes, *lengths)


def begin_future(env: np.void, tape: Tape) -> None:
    """Let `env` go on with `tape`, of which its pending request is the first."""
    env["first"], env["end"] = -env["request"], len(tape.arrival_s)
    env["tape_start_s"], env["stretch"] = 0.0, 1.0


@compiled
def estimate_rates(
    arrival_s: NDArray[np.float64], window_s: float, rates: NDArray[np.float64]
) -> None:
    """The rate estimate (episode.present) right after each arrival."""
    rate, before_s = 0.0, 0.0
    for i in range(len(arrival_s)):
        rate = rate * math.exp((before_s - arrival_s[i]) / window_s) + 1.0 / window_s
        before_s = arrival_s[i]
        rates[i] = rate
