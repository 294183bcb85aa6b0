"""A script of one's own on the same axes: its policy, scored on our validation episodes.

Scripts as those of CleanRL need a line before their loop and one in it:

    scores = Scores(writer, env.unwrapped.config, args.total_timesteps)
    ...
    scores.watch(global_step, lambda observations: greedy(q_network, observations))
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.base import Actions, Observations
from agents.heuristics.tuning import run_episodes
from agents.learners.validation import validation_episodes
from agents.settings.own import DoubleDQNSettings
from agents.training.monitor import BY_SECONDS, LAYOUT, episode_means, scalars_of
from benchmarks.reference_levels import Reference, reference_beside
from llmroute_env.config import EnvConfig
from llmroute_env.specs import require

Act = Callable[[Observations], NDArray[Any]]
"""A policy: observations of many envs, shape (E, F), to an action for each, without exploring."""


class Writer(Protocol):
    """What is used of a SummaryWriter."""

    log_dir: str

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Write a number."""
        ...

    def add_custom_scalars(self, layout: Any) -> None:
        """Say what the page CUSTOM SCALARS shows."""
        ...

    def flush(self) -> None:
        """Write what is buffered."""
        ...


USUAL = DoubleDQNSettings()
"""Whose validation episodes are those of every learner: how many, and how long."""
TRIES = 6
"""How often a policy is scored in a training, unless said otherwise: one in Python takes 5 to 30
seconds for 48 episodes of 10 s, by their load."""


class OwnRouter:
    """A policy as the harness's Agent: it reads and decides what its environment says."""

    name = "own"

    def __init__(self, policy: Act, config: EnvConfig) -> None:
        self.policy, self.observation, self.action = policy, config.observation, config.action

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def act(self, observations: Observations) -> Actions:
        """One action for each row."""
        return np.asarray(self.policy(observations), np.int64).reshape(len(observations))


class Scores:
    """The curves of a training that this package does not run.

    Attributes:
        levels: what scores are compared with, by name; from `bound` follows the regret.
        best: score so far.
    """

    def __init__(
        self,
        writer: Writer,
        config: EnvConfig,
        timesteps: int,
        tries: int = TRIES,
        reference: bool = True,
    ) -> None:
        """Begin, and draw the lines that scores are compared with beside the writer's folder.

        Args:
            writer: the script's own SummaryWriter: TensorBoard reads one file of a folder.
            config: of the environment, `env.unwrapped.config` or `envs.config`.
            timesteps: decisions of the whole training.
            tries: how often the policy is scored.
            reference: whether the lines are drawn. They take half a minute for the first run in a
                folder: a linear program per validation episode.

        Raises:
            ConfigError: less than one decision or try.
        """
        require(timesteps >= 1, "timesteps", timesteps, ">= 1")
        require(tries >= 1, "tries", tries, ">= 1")
        self.writer, self.every, self.next = writer, max(timesteps // tries, 1), 0
        self.config, self.seeds = validation_episodes(config, USUAL)
        self.reference: Reference | None = None
        if reference:
            run = Path(writer.log_dir)
            found = reference_beside(run, (config,), USUAL)
            self.reference = found.extended(timesteps, 0.0)
        self.levels = {} if self.reference is None else self.reference.levels
        self.best = 0.0
        self.episodes: list[Mapping[str, Any]] = []
        writer.add_custom_scalars(LAYOUT)
        self.began_s, self.scoring_s = time.perf_counter(), 0.0

    @property
    def spent_s(self) -> float:
        """Seconds since the beginning, but for those of scoring, which takes ours next to none."""
        return time.perf_counter() - self.began_s - self.scoring_s

    def watch(self, decisions: int, policy: Act) -> float | None:
        """Score the policy if it is time to, after so many decisions; returns the score if so."""
        if decisions < self.next:
            return None
        self.next = (decisions // self.every + 1) * self.every
        return self.evaluate(decisions, policy)

    def evaluate(self, decisions: int, policy: Act) -> float:
        """Score the policy now, and write what follows; returns the score."""
        spent_s, started_s = self.spent_s, time.perf_counter()
        score = self.score(policy)
        self.scoring_s += time.perf_counter() - started_s
        self.best = max(self.best, score)
        scalars = scalars_of(score, self.best, self.levels) | episode_means(self.episodes)
        self.episodes.clear()
        for name, value in scalars.items():
            step = round(spent_s) if name in BY_SECONDS else decisions
            self.writer.add_scalar(name, value, step)
        # Now: nobody tells this writer that the training has ended.
        self.writer.flush()
        if self.reference is not None:
            self.reference = self.reference.extended(decisions, spent_s)
        return score

    def score(self, policy: Act) -> float:
        """Mean utility of peak on the validation episodes."""
        return float(run_episodes(OwnRouter(policy, self.config), self.config, self.seeds).mean())

    def episode_ended(self, summary: Mapping[str, Any]) -> None:
        """Count a finished episode of the training: `info["summary"]` of its last step."""
        self.episodes.append(summary)
