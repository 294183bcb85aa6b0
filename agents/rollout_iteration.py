"""Rollout policy iteration: try every action from visited states, learn what differs.

Lagoudakis and Parr (2003) and Lazaric, Ghavamzadeh and Munos (2010, direct policy iteration) with
regression in place of classification. The base policy is the tuned heuristic. From states that it,
and later the router itself, visit on the training arrivals, the most promising actions are tried
and the base policy followed for a while under the same true future. A network learns the values,
centred per state. Learning is supervised: no bootstrapping, and no noise from the number of
arrivals, which is common to all actions. The heuristic is overruled only where the promised gain
exceeds a caution that validation picks, so the router starts at the heuristic's level and is never
kept below it.

Read `RolloutIteration.iterate` first: visit, try, learn. Every number is in settings.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.checkpoint import Snapshot, chosen, prefixed
from agents.compiled_policies import COMPILED, CompiledPolicy
from agents.networks import Router, follow, moments_of, restore_moments
from agents.rollouts import Tried, visit_and_try
from agents.routers import compiled_router, guard, q_network, usual_heuristic
from agents.settings import RolloutSettings
from agents.tuning import tune
from agents.validation import pick_caution
from llmroute_env.config import EnvConfig
from llmroute_env.simulation import Simulation, summary
from llmroute_env.specs import Deadline
from llmroute_env.state import State

GENERATORS = ("visiting", "sampling")


class RolloutIteration:
    """The learner: the states tried so far and the network that generalises from them.

    Attributes:
        decisions, updates: counted since the beginning; rollouts count.
        episodes: summaries of finished episodes; whoever reads them clears the list.
        visitor: the best router so far, which visits states besides the heuristic.
    """

    def __init__(
        self, settings: RolloutSettings, config: EnvConfig, budget: int, seed: int
    ) -> None:
        """Prepare to learn in `config` for `budget` decisions."""
        self.settings, self.config, self.budget = settings, config, budget
        usual = usual_heuristic(config)
        setting = tune(usual, config)
        self.base = COMPILED[usual](config, tune_for_rollouts(usual, config, setting))
        # One env more than visits: the rollouts run in it.
        self.simulation = Simulation(config, settings.envs + 1, logs_completions=False)
        columns = self.simulation.outputs.observations.shape[1]
        seeds = np.random.SeedSequence(seed).generate_state(4)
        self.network, average, visitor = (
            q_network(config, settings.hidden, seed=int(seeds[0])) for _ in range(3)
        )
        self.average, self.visitor = (guard(n, config, setting) for n in (average, visitor))
        self.optimizer = torch.optim.Adam(self.network.parameters(), fused=True)
        self.visiting, self.sampling = (np.random.default_rng(s) for s in seeds[1:3])
        self._begin_episodes(int(seeds[3]))
        self.observations = np.zeros((settings.capacity, columns), np.float32)
        self.values = np.zeros((settings.capacity, config.actions), np.float32)
        self.episodes: list[dict[str, Any]] = []
        self.decisions = self.updates = self.states = 0
        self.best_score = 0.0

    def _begin_episodes(self, seed: int) -> None:
        everyone = np.ones(self.settings.envs + 1, np.bool_)
        draws = np.random.default_rng(seed).integers(2**64, size=len(everyone), dtype=np.uint64)
        self.simulation.seed(everyone, draws)
        self.simulation.reset(everyone)

    def iterate(self) -> dict[str, float]:
        """One round: visit and try states, learn; returns what TensorBoard shows."""
        behaviour = self.behaviour()
        for _ in range(-(-self.settings.states_per_round // self.settings.envs)):
            self.remember(self.visit(behaviour))
        scalars: dict[str, float] = {}
        while self.updates * self.settings.batch_size < self.states * self.settings.uses_per_state:
            scalars = self.learn()
        return scalars | {"train/states": self.states}

    def behaviour(self) -> CompiledPolicy:
        """Who visits states in this round."""
        if self.visiting.random() < self.settings.on_policy_share:
            return compiled_router(self.visitor, self.config)
        return self.base

    def visit(self, behaviour: CompiledPolicy) -> Tried:
        """Every env goes on for a while, then all actions are tried in it."""
        s, simulation, envs = self.settings, self.simulation, self.settings.envs
        deadline = self.config.deadline
        tried = Tried(
            np.empty((envs, self.observations.shape[1]), np.float32),
            np.empty((envs, self.values.shape[1])),
            np.zeros(s.tries, np.int64),
        )
        self.decisions += visit_and_try(
            behaviour,
            self.base,
            simulation.cluster,
            simulation.tape,
            simulation.state,
            simulation.outputs,
            self.visiting.integers(2 * s.skipped_decisions + 1, size=envs),
            s.horizon * (deadline.deadline_s + deadline.grace_s),
            simulation.log,
            tried,
        )
        out = simulation.outputs
        for e in np.flatnonzero(out.terminated):
            names = self.config.model_names
            self.episodes.append(summary(out.final_envs[e], out.final_models[e], names))
        return tried

    def remember(self, tried: Tried) -> None:
        """Keep what was tried; only the differences between actions matter."""
        slots = (self.states + np.arange(len(tried.values))) % self.settings.capacity
        self.observations[slots] = tried.observations
        self.values[slots] = tried.values - tried.values.mean(axis=1, keepdims=True)
        self.states += len(slots)

    def learn(self) -> dict[str, float]:
        """One gradient step towards the centred values."""
        known = min(self.states, self.settings.capacity)
        picks = self.sampling.integers(known, size=self.settings.batch_size)
        rows, values = (torch.from_numpy(a[picks]) for a in (self.observations, self.values))
        outputs = self.network(rows)
        predicted = outputs - outputs.mean(dim=1, keepdim=True)
        loss = torch.nn.functional.huber_loss(predicted, values, delta=self.settings.huber_delta)
        self.optimizer.param_groups[0]["lr"] = self.learning_rate
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.updates += 1
        follow(self.average.network, self.network, self.settings.average_rate)
        error = (predicted - values).abs().mean()
        return {
            "q/mean": outputs.mean().item(),
            "q/max": outputs.max().item(),
            "q/error": error.item(),
            "loss/values": loss.item(),
        }

    @property
    def learning_rate(self) -> float:
        """Of the next update."""
        s = self.settings
        done = min(self.decisions / self.budget, 1.0)
        return s.learning_rate + done * (s.learning_rate_end - s.learning_rate)

    @property
    def router(self) -> Router:
        """The guarded network with averaged weights and the caution that validation picked."""
        return self.average

    def validate(self) -> float:
        """Pick the caution; the best router so far visits states from now on."""
        score = pick_caution(self.average, self.config, self.settings)
        if score > self.best_score:
            self.best_score = score
            self.visitor.load_state_dict(self.average.state_dict())
        return score

    def snapshot(self) -> Snapshot:
        """Everything that a checkpoint needs."""
        known = min(self.states, self.settings.capacity)
        arrays: dict[str, NDArray[Any]] = prefixed("env", self.simulation.snapshot()._asdict())
        arrays |= {"observations": self.observations[:known], "values": self.values[:known]}
        tensors = moments_of(self.optimizer)
        for name in ("network", "average", "visitor"):
            tensors |= prefixed(name, getattr(self, name).state_dict())
        numbers = {name: getattr(self, name).bit_generator.state for name in GENERATORS}
        for name in ("decisions", "updates", "states", "best_score"):
            numbers[name] = getattr(self, name)
        return Snapshot(tensors, arrays, numbers)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from the snapshot of a learner with the same settings."""
        self.simulation.restore(State(**chosen(snapshot.arrays, "env")))
        known = len(snapshot.arrays["values"])
        self.observations[:known] = snapshot.arrays["observations"]
        self.values[:known] = snapshot.arrays["values"]
        for name in ("network", "average", "visitor"):
            getattr(self, name).load_state_dict(chosen(snapshot.tensors, name))
        restore_moments(self.optimizer, snapshot.tensors)
        for name in GENERATORS:
            getattr(self, name).bit_generator.state = snapshot.numbers[name]
        for name in ("decisions", "updates", "states", "best_score"):
            setattr(self, name, snapshot.numbers[name])


def tune_for_rollouts(heuristic: str, config: EnvConfig, setting: float) -> float:
    """The setting of the base policy: the best one if the deadline were hard.

    `setting` is the best one for the deadline as it is.

    A heuristic that banks on late answers keeps a backlog in which no single decision helps, so
    that following it hides what decisions are worth: with the margin that is best for the linear
    deadline of `soft`, learning gained a fifth of what it gains with this one.
    """
    hard = Deadline(config.deadline.deadline_s)
    if config.deadline == hard:
        return setting
    return tune(heuristic, replace(config, deadline=hard))
