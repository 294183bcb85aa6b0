"""Routers made of trained ones: an ensemble, and the student that is taught by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.learners.validation import pick_caution
from agents.routers.ensembles import mean_network
from agents.routers.networks import Guarded
from agents.runs.card import ENSEMBLE, write_card, write_weights
from agents.runs.checkpoint import prefixed
from agents.runs.members import Member, origin, read_members
from agents.runs.plan import Plan
from agents.runs.trained import make_room, make_router
from agents.settings.changes import changed
from agents.settings.own import RolloutSettings
from agents.settings.presets import student_of
from agents.training.training import Result, check_begins
from llmroute_env.recording.serialization import from_plain


def ensemble(runs: Mapping[str, Path], directory: Path) -> Result:
    """Write the router that takes the mean of what several trained ones think actions are worth.

    It is guarded as they are, and validation picks its caution. Everything that takes a run
    directory takes it: its network is one as wide as all of theirs beside each other.

    Raises:
        CheckpointError: one of `runs`, by name, is not a run directory, or damaged.
        ConfigError: fewer than two, runs that do not fit together, or `directory` holds a run.
    """
    members = read_members(runs, least=2)
    network = mean_network([member.network for member in members])
    hidden = tuple(len(biases) for _, biases in network.layers()[:-1])
    settings = replace(members[0].settings, hidden=hidden)
    plan = plan_of(members, settings, directory)
    check_begins(plan, resume=False, how="one without it")
    card = replace(plan.card(), origin=origin(ENSEMBLE, members))
    router = make_router(card)
    assert isinstance(router, Guarded)
    weights = members[0].router.state_dict()
    make_room(router, weights, None)
    router.load_state_dict({**weights, **prefixed("network", network.state_dict())})
    score = pick_caution(router, plan.configs("train"), settings)
    write_card(directory, card)
    write_weights(directory, router.state_dict())
    return Result(directory, plan.budget, score, interrupted=False)


def student_plan(
    runs: Mapping[str, Path],
    directory: Path,
    seed: int,
    decisions: int | None,
    changes: Mapping[str, Any],
) -> Plan:
    """The training of one network of the usual size by the mean of `runs`, or by a single one.

    `changes` are hyper-parameters that differ from `student_of` theirs.

    Raises:
        As `ensemble`; one run is enough. Or a setting that there is not.
    """
    members = read_members(runs, least=1)
    settings = changed(student_of(members[0].settings), changes)
    assert isinstance(settings, RolloutSettings)
    plan = plan_of(members, settings, directory)
    return replace(plan, seed=seed, decisions=decisions, teachers=members)


def plan_of(members: Sequence[Member], settings: RolloutSettings, directory: Path) -> Plan:
    """A plan for what the members were trained on, as long as all their trainings."""
    card = members[0].card
    return Plan(
        directory=directory,
        scenario=card.scenario,
        fields=from_plain(dict(card.fields), "fields"),
        seed=card.seed,
        decisions=sum(member.card.decisions for member in members),
        algorithm=card.algorithm,
        settings=settings,
    )
