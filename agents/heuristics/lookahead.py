"""Routers that look ahead: they fork the state of the simulation and try what could be done."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agents.base import Actions, Observations, read_in
from agents.compiled import policies as compiled_policies
from agents.compiled.rollouts import Trial, try_actions, try_pairs
from agents.heuristics.models import Heuristic
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.cluster import Tape
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.features import PAIR_FEATURES
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import require

FUTURES, HORIZON_S = 8, 0.4
"""Sampled futures per decision, and how long the base heuristic is followed."""

PAIRS_TRIED = 6
"""By `hindsight`, in one state."""

OVER_MODELS = ("largest-feasible", "reckoned-feasible")
RECKONED = ("reckoned-feasible", "reckoned-pair")
"""Of the heuristics that run compiled: who decides models, and who adds what it has sent."""

ALIKE, CLOSEST = 256, 32
"""Futures begin at one of the closest by the short rate, of twice ALIKE moments by the long one."""


@runtime_checkable
class SeesState(Protocol):
    """A router that reads the simulation itself; whoever runs it attaches it before `begin`."""

    def attach(self, simulation: Simulation) -> None:
        """The simulation whose envs it will route for."""
        ...


class LooksAhead(Heuristic):
    """Common ground of routers that fork the state of an env and try what could be done."""

    def __init__(self, name: str, config: EnvConfig) -> None:
        super().__init__(name, config)
        self.real: Any = None

    def attach(self, simulation: Simulation) -> None:
        """Keep the simulation, and make a spare one to try actions in."""
        self.real = simulation
        self.spare = Simulation(simulation.config, 2, logs_completions=False)

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Nothing to forget."""
        accepted = "attached, as the evaluation does: this router reads the state itself"
        require(self.real is not None, f"{self.name} simulation", self.real, accepted)
        self.rng = rng

    def act(self, observations: Observations) -> Actions:
        """The best of what was tried from the state of every env, shape (E, F) -> (E,)."""
        envs = self.real.state.envs
        actions = np.zeros(len(envs), np.int64)
        for e in np.flatnonzero(~envs["over"]):
            self.spare.state.copy_env(0, self.real.state, int(e))
            actions[e] = self.choose()
        return actions

    def choose(self) -> int:
        """The action for the state in the first spare env."""
        raise NotImplementedError


class Rollout(LooksAhead):
    """One step of policy improvement at decision time (Bertsekas and Castanon 1999).

    The state is forked; after each model the base heuristic, `largest-feasible` with `margin`, is
    followed for HORIZON_S on FUTURES sampled futures, the same for every model, and is overruled
    where all of them agree. A future is what followed in the training arrivals when the estimated
    rates were most like now's: Poisson futures know no bursts, and do worse than the heuristic.
    """

    def __init__(self, name: str, config: EnvConfig, margin: float = 0.2) -> None:
        super().__init__(name, config)
        self.base = compiled_policies.largest_feasible(config, margin)

    def attach(self, simulation: Simulation) -> None:
        """Keep the simulation, and prepare what this router looks ahead with.

        Raises:
            ConfigError: signals are late, or requests can come back.
        """
        config = simulation.config
        accepted = "exact ones: this router begins from the state itself"
        require(not config.signals.are_late, f"{self.name} signals", config.signals, accepted)
        # What becomes of requests is kept by their numbers, which in its futures are others.
        accepted = "None: in the futures of this router no request comes back"
        for field in ("defer", "failures"):
            found = getattr(config, field)
            require(found is None, f"{self.name} {field}", found, accepted)
        super().attach(simulation)
        self.past = Past(replace(simulation.config, split="train"))

    def choose(self) -> int:
        """The best model of those that gain in every future, else the base's."""
        state = self.spare.state
        usual = compiled_policies.decide(self.base, self.spare.world, 0)
        futures = self.past.futures(state.envs[0], self.rng)
        values = np.array([self.values(future) for future in futures])
        gains = values - values[:, [usual]]
        agreed = np.where((gains > 0).all(axis=0), gains.mean(axis=0), 0.0)
        return int(agreed.argmax()) if agreed.any() else usual

    def values(self, tape: Tape) -> NDArray[np.float64]:
        """Utility that each model promises on one future."""
        env, values = self.spare.state.envs[0], np.zeros(self.models)
        # The pending request is the first of the sampled tape.
        env["first"], env["end"] = -env["request"], len(tape.arrival_s)
        env["tape_start_s"], env["stretch"] = 0.0, 1.0
        world = self.spare.world._replace(tape=tape)
        try_actions(Trial(self.base, world, 1, HORIZON_S), 0, values)
        return values


class Hindsight(LooksAhead):
    """What one step of policy improvement is worth to who knows the arrivals to come.

    Not a router: its one future is the true one, with the machines that will fail and the lengths
    of answers, and it begins from what the cluster is, however late others see it. What may be done
    is tried and `follows`, a heuristic that runs compiled, with `setting` followed for `horizon_s`
    after each: all models, or the PAIRS_TRIED pairs that it values most. What is earned so can be
    earned, and much of the distance from there to the upper bound perhaps cannot.
    """

    def __init__(
        self,
        name: str,
        config: EnvConfig,
        setting: float = 0.02,
        *,
        follows: str = "priced-pair",
        horizon_s: float = HORIZON_S,
    ) -> None:
        self.takes_pairs = follows not in OVER_MODELS
        if self.takes_pairs:
            require(not config.reject, f"{name} reject", True, "False: it tries pairs alone")
            accepted = "None: it tries pairs alone"
            require(config.defer is None, f"{name} defer", config.defer, accepted)
        super().__init__(name, replace(config, action="model"))
        if self.takes_pairs:
            self.observation, self.action = read_in(config, PAIR_FEATURES), "gpu-model"
        self.reckons = self.breaks_circuits = follows in RECKONED
        self.follows, self.setting, self.horizon_s = follows, setting, horizon_s

    def attach(self, simulation: Simulation) -> None:
        """Keep the simulation, and prepare what this router looks ahead with."""
        super().attach(simulation)
        self.base = compiled_policies.COMPILED[self.follows](simulation.config, self.setting)
        self.values = np.zeros(simulation.config.actions)
        self.picks = np.zeros(PAIRS_TRIED, np.int64)

    def choose(self) -> int:
        """The action that earns most."""
        world = self.spare.world._replace(tape=self.real.tape)
        trial = Trial(self.base, world, 1, self.horizon_s)
        if not self.takes_pairs:
            try_actions(trial, 0, self.values)
            return int(self.values.argmax())
        try_pairs(trial, 0, self.values, self.picks)
        tried = self.picks[self.picks >= 0]
        # The first is what the heuristic does, and of equals the first is taken.
        return int(tried[self.values[tried].argmax()])


class Past:
    """The training arrivals, by the rates that a router would have estimated at each of them."""

    def __init__(self, config: EnvConfig) -> None:
        simulation = Simulation(config, logs_completions=False)
        self.tape = simulation.tape
        rates = np.empty((2, len(self.tape.arrival_s)))
        for row, window_s in zip(rates, config.rate_windows_s, strict=True):
            estimate_rates(self.tape.arrival_s, window_s, row)
        self.order = np.argsort(rates[1], kind="stable")
        self.slow = rates[1][self.order]
        self.surge = np.log(rates[0] / rates[1])[self.order]

    def futures(self, env: np.void, rng: np.random.Generator) -> list[Tape]:
        """FUTURES tapes that begin with the pending request of `env`."""
        rate = float(env["slow_rate_per_s"])
        middle = int(np.searchsorted(self.slow, rate))
        first = min(max(middle - ALIKE, 0), max(len(self.slow) - 2 * ALIKE, 0))
        near = slice(first, first + 2 * ALIKE)
        distance = np.abs(self.surge[near] - np.log(env["fast_rate_per_s"] / rate))
        closest = first + np.argsort(distance)[:CLOSEST]
        return [self.future(env, int(i)) for i in rng.choice(closest, FUTURES)]

    def future(self, env: np.void, place: int) -> Tape:
        """What followed at one place, at the rate of now."""
        start, tape = int(self.order[place]), self.tape
        pace = float(np.clip(self.slow[place] / env["slow_rate_per_s"], 0.5, 2.0))
        until_s = tape.arrival_s[start] + HORIZON_S / pace
        chosen = slice(start, max(int(np.searchsorted(tape.arrival_s, until_s)), start + 1))
        later_s = (tape.arrival_s[chosen] - tape.arrival_s[start]) * pace
        tasks, classes = tape.task[chosen].copy(), tape.user_class[chosen].copy()
        tasks[0], classes[0] = env["task"], env["user_class"]
        lengths = tape.prompt_tokens[chosen].copy(), tape.output_tokens[chosen].copy()
        return Tape(float(env["now_s"]) + later_s, tasks, classes, *lengths)


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
