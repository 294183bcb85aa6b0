"""Where rollout policy iteration learns: environments in which states are visited and tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.compiled.making import COMPILED
from agents.compiled.policies import CompiledPolicy
from agents.compiled.rollouts import Trial, Tried, visit_and_try, visit_only
from agents.compiled.rules import LEAST_WORTH
from agents.heuristics.tuning import Choice, guards_in, setting_scores
from agents.learners.replay import Ring
from agents.learners.validation import stressed
from agents.routers.build import network_inputs
from agents.routers.networks import QNetwork
from agents.settings.own import RolloutSettings
from llmroute_env.config import EnvConfig
from llmroute_env.simulation.simulation import Simulation


class Ground:
    """One environment: envs side by side, and the base policy that the rollouts in them follow.

    Attributes:
        decisions: taken since the beginning; rollouts count.
    """

    def __init__(
        self,
        settings: RolloutSettings,
        config: EnvConfig,
        envs: int,
        seed: int,
        base: CompiledPolicy,
        teachers: Sequence[QNetwork] = (),
    ) -> None:
        """Begin an episode in each of `envs` envs."""
        self.settings, self.config, self.envs, self.base = settings, config, envs, base
        self.teachers = teachers
        # One env more than visits: the rollouts run in it.
        self.simulation = Simulation(config, envs + 1, logs_completions=False)
        draws = np.random.default_rng(seed).integers(2**64, size=envs + 1, dtype=np.uint64)
        self.simulation.begin(draws)
        self.columns = self.simulation.outputs.observations.shape[1]
        self.decisions = 0

    def visit(self, behaviour: CompiledPolicy, rng: np.random.Generator, most: int) -> Tried:
        """Every env goes on for a while, then actions are tried in it, or the teachers asked.

        Ends after `most` decisions, with the states that were finished by then.
        """
        s, simulation = self.settings, self.simulation
        tried = Tried(
            np.empty((self.envs, self.columns), np.float32),
            np.empty((self.envs, self.config.actions)),
            np.zeros(s.tries, np.int64),
        )
        skips = rng.integers(2 * s.skipped_decisions + 1, size=self.envs)
        if self.teachers:
            return self.ask(behaviour, skips, tried, most)
        trial = Trial(self.base, simulation.world, self.envs, s.horizon_s(self.config))
        taken, done = visit_and_try(behaviour, trial, simulation.outputs, skips, tried, most)
        self.decisions += taken
        level_nowhere(tried.values[:done])
        return Tried(tried.observations[:done], tried.values[:done], tried.picks)

    def ask(
        self, behaviour: CompiledPolicy, skips: NDArray[np.int64], tried: Tried, most: int
    ) -> Tried:
        """The same, with what the teachers say that actions are worth."""
        world, outputs = self.simulation.world, self.simulation.outputs
        taken, done = visit_only(behaviour, world, outputs, skips, tried.observations, most)
        self.decisions += taken
        observations = tried.observations[:done]
        return Tried(observations, taught(self.teachers, observations, self.config), tried.picks)

    def finished(self) -> list[dict[str, Any]]:
        """Summaries of the episodes that ended during the last visit."""
        ended = np.flatnonzero(self.simulation.outputs.terminated)
        return [self.simulation.final_summary(int(e)) for e in ended]


def taught(
    teachers: Sequence[QNetwork], observations: NDArray[np.float32], config: EnvConfig
) -> NDArray[np.float64]:
    """Mean of the centred values that networks give to actions, shape (N, F) -> (N, actions)."""
    rows, values = torch.from_numpy(observations), np.zeros((len(observations), config.actions))
    for network in teachers:
        inputs = torch.from_numpy(network_inputs(network, config))
        with torch.inference_mode():
            found = network(rows, inputs).numpy().astype(np.float64)
        values += (found - found.mean(axis=1, keepdims=True)) / len(teachers)
    return values


def level_nowhere(values: NDArray[np.float64]) -> None:
    """Give pairs that lead nowhere, (N, pairs), the mean of the others, and so nothing to learn.

    A router never takes them, and what its heuristic thinks of them would hide what differs between
    the others.
    """
    nowhere = values < LEAST_WORTH
    if nowhere.any():
        others = np.where(nowhere, 0.0, values).sum(axis=1) / (~nowhere).sum(axis=1)
        values[:] = np.where(nowhere, others[:, None], values)


def base_policy(
    config: EnvConfig, scores: Mapping[Choice, float], names: Sequence[str]
) -> CompiledPolicy:
    """The heuristic of `names` and its setting that are best if the deadline is hard.

    `scores` tells what each earns on validation episodes, the deadline as it is.

    A heuristic that banks on late answers keeps a backlog in which no single decision helps, so
    that following it hides what decisions are worth: with the margin that is best for the linear
    deadline of `soft`, learning gained a fifth of what it gains with this one.
    """
    hard = replace(config.deadline, kind="hard", grace_s=0.0)
    if config.deadline != hard:
        scores = setting_scores(names, replace(config, deadline=hard))
    name, setting = max((c for c in scores if c[0] in names), key=scores.__getitem__)
    return COMPILED[name](config, setting)


def make_grounds(
    settings: RolloutSettings,
    configs: Sequence[EnvConfig],
    scores: Sequence[Mapping[Choice, float]],
    seeds: NDArray[Any],
    teachers: Sequence[QNetwork] = (),
) -> list[Ground]:
    """Every environment and, if its load can be raised, the same at loads up to a multiple of it.

    There an episode that is busier than all others is nothing new. `scores` are those of the
    heuristic's settings in each environment (`base_policy`); two of `seeds` belong to each.
    """
    envs = -(-settings.envs // (2 * len(configs)))
    grounds = []
    for i, config in enumerate(configs):
        names = (settings.follows,) if settings.follows else guards_in(config)
        base = base_policy(config, scores[i], names)
        both = config, stressed(config, settings.stress)
        for place, seed in zip(both, seeds[2 * i : 2 * i + 2], strict=True):
            if place is not None:
                grounds.append(Ground(settings, place, envs, int(seed), base, teachers))
    return grounds


class Memory:
    """States that were tried: the latest `capacity`, with the centred values of their actions."""

    def __init__(self, capacity: int, columns: int, actions: int) -> None:
        self.observations = np.zeros((capacity, columns), np.float32)
        self.values = np.zeros((capacity, actions), np.float32)
        self.ring = Ring({"observations": self.observations, "values": self.values})

    def __len__(self) -> int:
        """States that are there."""
        return len(self.ring)

    @property
    def states(self) -> int:
        """How many there have been; the oldest are forgotten."""
        return self.ring.added

    def remember(self, tried: Tried) -> None:
        """Keep what was tried; only the differences between actions matter."""
        centred = tried.values - tried.values.mean(axis=1, keepdims=True)
        self.ring.add({"observations": tried.observations, "values": centred})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that a checkpoint needs."""
        return self.ring.arrays("states")

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `arrays()` of a memory of the same size."""
        self.ring.restore(arrays, "states")


def by_gpus(grounds: Sequence[Ground]) -> dict[int, Ground]:
    """One of the grounds for each number of GPUs, which the width of an observation depends on."""
    return {ground.config.gpus: ground for ground in grounds}


def make_memories(capacity: int, grounds: Sequence[Ground]) -> dict[int, Memory]:
    """A memory for each number of GPUs; they share `capacity` evenly."""
    shapes = by_gpus(grounds)
    share = -(-capacity // len(shapes))
    return {n: Memory(share, g.columns, g.config.actions) for n, g in shapes.items()}
