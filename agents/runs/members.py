"""Trained routers that others are made of: ensembles, and the students that are taught by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from agents.routers.networks import Guarded, QNetwork
from agents.runs.card import WEIGHTS, Card, read_card
from agents.runs.trained import load_agent
from agents.settings.own import RolloutSettings
from llmroute_env.specs import require

SAME = ("algorithm", "scenario", "fields", "models", "actions", "columns", "classes", "tasks")
"""Entries of run cards in which members must not differ."""
SAME_SETTINGS = ("action", "observation", "tries")
"""Likewise of their settings."""


@dataclass(frozen=True)
class Member:
    """A trained router: its name as the user said it, what its run was, and its weights."""

    name: str
    card: Card
    router: Guarded
    weights_sha256: str

    @property
    def network(self) -> QNetwork:
        """What values actions, without the guard."""
        return self.router.network

    @property
    def settings(self) -> RolloutSettings:
        """Those of its training."""
        assert isinstance(self.card.settings, RolloutSettings)
        return self.card.settings

    @property
    def guard(self) -> dict[str, torch.Tensor]:
        """What its heuristic is, by names."""
        limits = ("network.", "caution", "busiest")
        return {n: t for n, t in self.router.state_dict().items() if not n.startswith(limits)}


def read_members(runs: Mapping[str, Path], least: int) -> tuple[Member, ...]:
    """The routers of run directories, by what the user called them.

    Raises:
        CheckpointError: a directory is not that of a run, or damaged.
        ConfigError: fewer than `least`, or routers that cannot decide together.
    """
    accepted = f"at least {least} run{'s' if least > 1 else ''} of rollout policy iteration"
    require(len(runs) >= least, "runs", tuple(runs), accepted)
    members = tuple(read_member(name, directory) for name, directory in runs.items())
    check_members(members)
    return members


def read_member(name: str, directory: Path) -> Member:
    """The router of one run directory."""
    card, agent = read_card(directory), load_agent(directory)
    accepted = "runs of rollout policy iteration, such as `llmroute train rollout-pi`"
    known = isinstance(card.settings, RolloutSettings) and isinstance(agent.network, Guarded)
    require(known, "run", f"{name} by {card.algorithm}", accepted)
    assert isinstance(agent.network, Guarded)
    digest = sha256((directory / WEIGHTS).read_bytes()).hexdigest()
    return Member(name, card, agent.network, digest)


def check_members(members: Sequence[Member]) -> None:
    """Raise a ConfigError unless the routers read and decide the same, with one heuristic."""
    first, *others = members
    for other in others:
        for name in SAME:
            check_same(name, first, other, getattr(first.card, name), getattr(other.card, name))
        for name in SAME_SETTINGS:
            check_same(
                name, first, other, getattr(first.settings, name), getattr(other.settings, name)
            )
        for name in first.guard | other.guard:
            ours, theirs = (m.guard.get(name) for m in (first, other))
            values = (None if t is None else t.tolist() for t in (ours, theirs))
            check_same(name, first, other, *values)
    digests = [member.weights_sha256 for member in members]
    twice = [member.name for member in members if digests.count(member.weights_sha256) > 1]
    require(not twice, "runs", tuple(twice), "runs whose weights differ")


def check_same(what: str, first: Member, other: Member, ours: Any, theirs: Any) -> None:
    """Raise a ConfigError, about `what` of two runs, unless it is the same."""
    accepted = f"{ours!r}, as of {first.name}"
    require(ours == theirs, f"{what} of {other.name}", theirs, accepted)


def origin(way: str, members: Sequence[Member]) -> dict[str, Any]:
    """What a run card says of a router that is made of others; `way`: the command that does it."""
    return {"way": way, "runs": [of_member(member) for member in members]}


def of_member(member: Member) -> dict[str, Any]:
    """What is said of one of them."""
    return {
        "run": member.name,
        "command": member.card.command,
        "weights_sha256": member.weights_sha256,
    }
