"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro

if TYPE_CHECKING:
    from benchmarks.suites.workers import Workers
    from llmroute_env.config import EnvConfig

Value = TypeVar("Value")
Said = Annotated[Value, tyro.conf.arg(help_behavior_hint="")]
"""Of an option whose help says what happens without it."""

Changes = Annotated[
    tuple[tuple[str, ...], ...],
    tyro.conf.UseAppendAction,
    tyro.conf.arg(metavar="KEY=VALUE ..."),
]
"""Of an option that takes several of these, and may be given several times."""


@dataclass(frozen=True)
class Problem:
    """An environment as commands take it: a scenario, or a family, and the fields that differ."""

    scenario: str
    fields: dict[str, Any]
    title: str

    def config(self, split: str | None = None) -> EnvConfig:
        """The environment; on the test split unless `split` or the problem names one."""
        from llmroute_env.scenarios import configure

        chosen = split or self.fields.get("split", "test")
        return configure(self.scenario, **(self.fields | {"split": chosen}))


@dataclass(frozen=True)
class EnvOptions:
    """The environment: a scenario and what differs from it, --env < --load, ... < --set."""

    scenario: Said[str | None] = None
    """One that `llmroute list scenarios` says; unpredictable-1 unless the problem names one."""
    env: Said[Path | None] = None
    """A problem of your own, a .toml file: scenario, any field of EnvConfig, profile, trace."""
    trace: Said[tuple[str, ...]] = ()
    """Arrivals: a file that `trace info` reads, or a name that `llmroute list traces` says; at its
    own rate without --load, split by time into train, validation and test."""
    cv: Said[float | None] = None
    """Of a trace of calls per minute: cv of the gaps; calls are spread uniformly if left out."""
    load: Said[float | None] = None
    """Mean arrival rate in units of load 1, instead of the scenario's."""
    profile: Said[str | None] = None
    """Latencies and accuracies, opt-a100 unless named: one that `llmroute list profiles` says, or a
    .toml file."""
    set: Changes = ()
    """Any field of EnvConfig as in TOML: window_s=60 deadline.deadline_s=0.5."""

    @property
    def given(self) -> bool:
        """Whether anything was said about the environment."""
        return self != UNCHANGED

    def problem(self, usual: str = "unpredictable-1") -> Problem:
        """What the options describe, in the scenario `usual` if they name none.

        Raises:
            ConfigError: an unknown key, or a value that a field does not accept.
        """
        from agents.settings.families import FAMILIES, configurations
        from llmroute_env.problem import arguments, assign, overlaid, read_tables

        tables = {} if self.env is None else read_tables(self.env)
        named = {name: getattr(self, name) for name in ("scenario", "cv", "load", "profile")}
        flags = {name: value for name, value in named.items() if value is not None}
        flags |= {"trace": list(self.trace)} if self.trace else {}
        tables = assign(overlaid(tables, flags), [text for texts in self.set for text in texts])
        tables = {"scenario": usual} | tables
        family = tables["scenario"] in list(FAMILIES)
        base = configurations(tables["scenario"], {})[0] if family else None
        fields = arguments(tables, base)
        scenario = fields.pop("scenario")
        return Problem(scenario, fields, scenario if self.env is None else self.env.stem)


def problem_for(environment: EnvOptions, routers: Sequence[str]) -> Problem:
    """What the options describe; if nothing, that in which the first trained router was trained.

    Of a family that is its first scenario.

    Raises:
        ConfigError: an unknown key, a value that a field does not accept, or a run whose card
            cannot say all that it was trained in.
    """
    from agents.loading import PRETRAINED, run_of

    trained = [r for r in routers if r.startswith(PRETRAINED) or Path(r).is_dir()]
    if environment.given or not trained:
        return environment.problem()
    # Not before: it imports torch, which heuristics do without.
    from agents.runs.card import CARD, read_card
    from agents.settings.families import members
    from llmroute_env.recording.serialization import from_plain

    runs = [run for run in map(run_of, trained) if (run / CARD).is_file()]
    if not runs:
        return environment.problem()
    card = read_card(runs[0])
    if len(members(card.scenario)) > 1:
        return environment.problem(members(card.scenario)[0][0])
    ours = {name: value for name, value in card.fields.items() if name not in OWN}
    fields = {name: from_plain(value, name) for name, value in ours.items()}
    return Problem(card.scenario, fields, card.scenario)


OWN = ("observation", "action", "split")
"""Fields of a run that are its router's, or its training's."""


Environment = tyro.conf.OmitArgPrefixes[EnvOptions]
UNCHANGED = EnvOptions()


@dataclass(frozen=True)
class WorkerOptions:
    """Options that say who runs the cells of a suite, and how many at once."""

    runner: str = "local"
    """local: a pool of processes; ray: a Ray cluster."""
    workers: int = 2
    """Processes side by side; 0 for this process itself."""
    ray_address: Said[str | None] = None
    """Of a running Ray cluster; a local one is started if there is none."""


Options = tyro.conf.OmitArgPrefixes[WorkerOptions]
USUAL = WorkerOptions()


def workers_of(options: WorkerOptions) -> Workers:
    """The options as suites take them."""
    from benchmarks.suites.workers import Workers

    return Workers(options.runner, options.workers, options.ray_address)
