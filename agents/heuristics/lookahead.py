"""Routers that look ahead: they fork the state of the simulation and try what could be done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agents.base import Actions, Observations, read_in
from agents.columns import routes
from agents.compiled.making import COMPILED, largest_feasible
from agents.compiled.policies import decide
from agents.compiled.rollouts import Trial, try_actions, try_pairs
from agents.heuristics.late import in_flight
from agents.heuristics.models import Heuristic
from agents.heuristics.past import Past, begin_future
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.cluster import Tape
from llmroute_env.dynamics.features import PAIR_FEATURES
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import require

FUTURES, HORIZON_S = 8, 0.4
"""Sampled futures per decision, and how long the base heuristic is followed."""

PAIRS_TRIED = 6
"""By `hindsight`, in one state."""

OVER_MODELS = ("largest-feasible", "reckoned-feasible")
ADD_SENT = ("reckoned-feasible", "reckoned-pair", "feasible-pair")
"""Of the heuristics that run compiled: who decides models, and who adds what it has sent."""


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
        """Prepare for `config`.

        Raises:
            ConfigError: signals are late, or requests can come back.
        """
        accepted = "exact ones: this router begins from the state itself"
        require(not config.signals.are_late, f"{name} signals", config.signals, accepted)
        check_none_returns(name, config)
        super().__init__(name, config)
        self.base = largest_feasible(config, margin)

    def attach(self, simulation: Simulation) -> None:
        """Keep the simulation, and prepare what this router looks ahead with."""
        super().attach(simulation)
        self.past = Past(replace(simulation.config, split="train"), HORIZON_S)

    def choose(self) -> int:
        """The best model of those that gain in every future, else the base's."""
        env = self.spare.state.envs[0]
        usual = decide(self.base, self.spare.world, 0)
        futures = self.past.futures(env, self.real.tape, self.rng, FUTURES)
        values = np.array([self.values(future) for future in futures])
        gains = values - values[:, [usual]]
        agreed = np.where((gains > 0).all(axis=0), gains.mean(axis=0), 0.0)
        return int(agreed.argmax()) if agreed.any() else usual

    def values(self, tape: Tape) -> NDArray[np.float64]:
        """Utility that each model promises on one future."""
        values = np.zeros(self.models)
        begin_future(self.spare.state.envs[0], tape)
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
        super().__init__(name, replace(config, action="model"))
        if self.takes_pairs:
            counted = in_flight(config) if follows == "concurrency-limit" else ()
            self.observation = read_in(config, (*PAIR_FEATURES, *counted))
            self.action = "gpu-model"
        self.reckons = self.breaks_circuits = follows in ADD_SENT
        self.follows, self.setting, self.horizon_s = follows, setting, horizon_s

    def attach(self, simulation: Simulation) -> None:
        """Keep the simulation, and prepare what this router looks ahead with."""
        super().attach(simulation)
        self.base = COMPILED[self.follows](simulation.config, self.setting)
        config = simulation.config
        self.values = np.zeros(routes(config) if self.takes_pairs else config.actions)
        self.picks = np.zeros(PAIRS_TRIED, np.int64)

    def choose(self) -> int:
        """The action that earns most."""
        return self.best(self.earned(self.real.tape))

    def earned(self, tape: Tape) -> NDArray[np.float64]:
        """What each action earns on `tape`, shape (A,); of pairs, more than the heuristic's."""
        trial = Trial(self.base, self.spare.world._replace(tape=tape), 1, self.horizon_s)
        if self.takes_pairs:
            try_pairs(trial, 0, self.values, self.picks)
        else:
            try_actions(trial, 0, self.values)
        return self.values

    def best(self, values: NDArray[np.float64]) -> int:
        """The action of the largest value, of those that were tried."""
        if not self.takes_pairs:
            return int(values.argmax())
        tried = self.picks[self.picks >= 0]
        # The first is what the heuristic does, and of equals the first is taken.
        return int(tried[values[tried].argmax()])


class Foresight(Hindsight):
    """What one step of policy improvement is worth to who knows how requests come, not which will.

    As Hindsight, but an action earns the mean over FUTURES that were sampled from the training
    arrivals (Past); what is in flight goes on as it will. It knows more than a router does by no
    more than the state of the cluster, so that what it gains is what a router could learn.
    """

    def attach(self, simulation: Simulation) -> None:
        """Keep the simulation, and prepare what this router looks ahead with.

        Raises:
            ConfigError: requests can come back.
        """
        check_none_returns(self.name, simulation.config)
        super().attach(simulation)
        self.past = Past(replace(simulation.config, split="train"), self.horizon_s)

    def choose(self) -> int:
        """The action that earns most in the mean."""
        env, total = self.spare.state.envs[0], np.zeros_like(self.values)
        for tape in self.past.futures(env, self.real.tape, self.rng, FUTURES):
            begin_future(env, tape)
            total += self.earned(tape)
        return self.best(total)


def check_none_returns(name: str, config: EnvConfig) -> None:
    """Raise a ConfigError if requests can come back.

    What becomes of them is kept by their numbers, which in sampled futures are others.
    """
    accepted = "None: in the futures of this router no request comes back"
    for field in ("defer", "failures"):
        found = getattr(config, field)
        require(found is None, f"{name} {field}", found, accepted)
