"""Training runs: collect and learn, validate, keep the best weights, survive being killed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from agents.interruption import interruption
from agents.learners.learner import make_learner
from agents.routers.recurrent import AnyRouter
from agents.runs import checkpoint
from agents.runs.card import CARD, CHECKPOINTS, Card, plain, read_card, write_card, write_weights
from agents.runs.checkpoint import CheckpointError, Snapshot, chosen, prefixed
from agents.runs.plan import Plan
from agents.training.monitor import Monitor
from llmroute_env.dynamics.compiled import compilations
from llmroute_env.recording.files import alone
from llmroute_env.recording.serialization import anywhere
from llmroute_env.specs import ConfigError
from traces.typed import differing, shown

LATER = ("tasks", "config_sha256")
"""Entries of a run card that older ones lack."""


class Status(NamedTuple):
    """Where a training run stands after a round; `validated` is None but for a new score."""

    decisions: int
    validated: float | None


class Result(NamedTuple):
    """How a training run ended.

    `utility_of_peak` is the best validation score, NaN if there was none; `interrupted` says that
    Ctrl-C ended it early, with a checkpoint from which it can be resumed.
    """

    directory: Path
    decisions: int
    utility_of_peak: float
    interrupted: bool


def train(
    plan: Plan,
    resume: bool = False,
    shows_progress: bool = True,
    callback: Callable[[Status], None] | None = None,
) -> Result:
    """Train a router; the run directory then holds its card, weights, checkpoints and logs.

    Args:
        plan: what to train, on what, for how long, and where to keep it.
        resume: continue from the last checkpoint, to the same weights bit for bit as if never
            interrupted (CPU, one thread).
        shows_progress: draw a bar on standard error.
        callback: called after every round.

    Raises:
        ConfigError: the plan is invalid, the directory already holds a run, or another process is
            in it.
        CheckpointError: nothing to resume, a damaged checkpoint, or one of another plan.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if not resume:
            plan.directory.mkdir(parents=True, exist_ok=True)
        with interruption() as interrupted, alone(plan.directory):
            run = Run(plan, resume, shows_progress)
            try:
                while not run.finished and not interrupted():
                    status = run.round()
                    if callback is not None:
                        callback(status)
                if not run.finished:
                    run.save()
            finally:
                run.monitor.close()
            return run.result()
    finally:
        torch.set_num_threads(threads)


class Run:
    """A training run in progress."""

    def __init__(self, plan: Plan, resume: bool, shows_progress: bool) -> None:
        check_begins(plan, resume)
        self.plan, self.settings = plan, plan.resolved_settings
        self.learner = make_learner(plan)
        self.best, self.best_score = weights_of(self.learner.router), -math.inf
        self.saved_at, spent_s = 0, 0.0
        if resume:
            spent_s = self._resume()
        else:
            self._begin()
        self.monitor = Monitor(plan, self.learner.decisions, spent_s, shows_progress)
        self.monitor.best = max(self.best_score, 0.0)
        described = {"algorithm": plan.algorithm, "scenario": plan.scenario, "seed": plan.seed}
        self.monitor.hyperparameters(described | self.settings.to_json())

    def _begin(self) -> None:
        # First, so that a run that is cut off before its first checkpoint can begin again.
        (self.plan.directory / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        write_card(self.plan.directory, self.plan.card())
        write_weights(self.plan.directory, self.best)

    def _resume(self) -> float:
        """Go on from the last checkpoint, or begin again if the run was cut off before its first.

        Returns the seconds spent until then.
        """
        folder = self.plan.directory / CHECKPOINTS
        if folder.is_dir() and not checkpoint.list_checkpoints(folder):
            return 0.0
        snapshot = checkpoint.load_latest(folder)
        self.learner.restore(snapshot)
        self.best = chosen(snapshot.tensors, "best")
        self.best_score = snapshot.numbers["best_score"]
        self.saved_at = self.learner.decisions
        return float(snapshot.numbers.get("spent_s", 0.0))

    @property
    def finished(self) -> bool:
        """Whether the budget is spent."""
        return self.learner.decisions >= self.plan.budget

    def round(self) -> Status:
        """Collect and learn once; then validate and save if it is time to."""
        before = self._validations_due()
        with compilations(lambda: self.monitor.shows("compiling")):
            scalars = self.learner.iterate()
        decisions = self.learner.decisions
        self._report(scalars)
        score = None
        if self._validations_due() > before:
            score = self.validate()
        if decisions - self.saved_at >= self.plan.checkpoint_period or self.finished:
            self.save()
        return Status(decisions, score)

    def _validations_due(self) -> int:
        # Integers: the same rounds validate whether or not the run was interrupted.
        share = min(self.learner.decisions, self.plan.budget) * self.settings.validations
        return share // self.plan.budget

    def _report(self, scalars: dict[str, float]) -> None:
        for summary in self.learner.episodes:
            self.monitor.episode_ended(summary)
        self.learner.episodes.clear()
        self.monitor.report(self.learner.decisions, scalars)

    def validate(self) -> float:
        """Try the router on the validation episodes; keep its weights if they are the best."""
        self.monitor.shows("validating")
        score = self.learner.validate()
        self.monitor.evaluated(self.learner.decisions, score)
        if score > self.best_score:
            self.best, self.best_score = weights_of(self.learner.router), score
            write_weights(self.plan.directory, self.best)
        return score

    def save(self) -> None:
        """Write a checkpoint; before the first validation also the weights as they are."""
        if not math.isfinite(self.best_score):
            write_weights(self.plan.directory, weights_of(self.learner.router))
        tensors, arrays, numbers = self.learner.snapshot()
        snapshot = Snapshot(
            {**tensors, **prefixed("best", self.best)},
            arrays,
            {**numbers, "best_score": self.best_score, "spent_s": self.monitor.spent_s},
        )
        checkpoint.save(self.plan.directory / CHECKPOINTS, self.learner.decisions, snapshot)
        self.saved_at = self.learner.decisions

    def result(self) -> Result:
        """How it ended."""
        done = self.learner.decisions
        return Result(self.plan.directory, done, self.best_score, not self.finished)


def weights_of(router: AnyRouter) -> dict[str, Tensor]:
    """A copy of the router's weights."""
    return {name: tensor.clone() for name, tensor in router.state_dict().items()}


def check_begins(plan: Plan, resume: bool, how: str = "resume=True") -> None:
    """Raise what `train` would about the run directory, before anything that takes long.

    `how` is what whoever asks has to say to resume.

    Raises:
        ConfigError: it holds a run already.
        CheckpointError: it holds none to resume, or one of another plan.
    """
    path = plan.directory / CARD
    if resume:
        check_same(read_card(plan.directory), plan.card(), path)
    elif path.exists():
        raise ConfigError(f"directory: {path} exists; accepted: a new one, or {how}")
    else:
        plan.directory.mkdir(parents=True, exist_ok=True)


def check_same(saved: Card, planned: Card, path: Path) -> None:
    """Raise a CheckpointError unless a run can be continued as planned."""
    theirs, ours = (anywhere(plain(asdict(card))) for card in (saved, planned))
    for name, value in theirs.items():
        if name in LATER and not value:
            continue
        if ours[name] != value:
            edited = "; has its profile been edited?" if name == "config_sha256" else ""
            where, got, accepted = differing(name, ours[name], value)
            said = f"got {shown(got)}; accepted: {shown(accepted)}, as in {path}{edited}"
            raise CheckpointError(f"{where}: {said}")
