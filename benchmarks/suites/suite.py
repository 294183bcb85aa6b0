"""Suites: which entries, which routers, how many seeds and episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agents.heuristics.tuning import STRONGEST
from agents.settings.presets import ABLATIONS, COMBINATIONS, SCALING
from benchmarks.evaluation.tuned_controls import FOLLOWED
from benchmarks.suites.entries.entry import OWN, Entry
from benchmarks.suites.entries.every import ENTRIES, tagged
from llmroute_env.recording.serialization import to_plain
from llmroute_env.scenarios import configure
from llmroute_env.specs import ConfigError, require

SINGLES = ("opt-125m", "opt-1.3b", "opt-6.7b")
"""Each model of the shipped profiles alone; elsewhere, those of the problem stand for them."""
UNTUNED = ("random", *SINGLES)
TUNED = (
    "best-single",
    "static-mix",
    "rate-threshold",
    "queue-threshold",
    "route-balance",
    "largest-feasible",
    "priced-pair",
    "steep-pair",
)
"""Controls whose setting is found on validation episodes."""
LEARNED = ("ddqn-paper", "ddqn", "ddqn-pairs", "rollout-pi")
SB3 = ("sb3-dqn", "qrdqn", "ppo", "a2c")

NOT_OF_PAPER = ("testing", "unseen", "learned", "world", "generalist-world", "continuous")
"""Tags of entries that are no matter of the paper's."""


@dataclass(frozen=True)
class Suite:
    """What is compared on what.

    Attributes:
        entries: ids, in the order of the report.
        agents: heuristics, controls (TUNED, FOLLOWED) and learning algorithms, likewise.
        seeds: training seeds of learned routers where `SEVERAL_SEEDS` says so; one elsewhere.
        episodes: test episodes; episode i of an entry is the same for everybody.
        seed: of the test episodes. 1000 where learned routers are judged: no default of theirs was
            chosen after a look at these.
        main_only: agents that are compared on entries tagged `main` or `static` only.
        rollout_on: entries on which controls look ahead; `rollout` takes milliseconds a decision.
        rollout_episodes: of theirs: the first so many.
        tuning_episodes: validation episodes per setting of a control, `tuning_window_s` long.
        timesteps: decisions of a training; None for the algorithm's own.
        problem: of one's own, in place of the entries: `scenario`, and `fields` as plain data.
    """

    name: str
    summary: str
    entries: tuple[str, ...]
    agents: tuple[str, ...]
    seeds: int = 5
    episodes: int = 32
    seed: int = 0
    main_only: tuple[str, ...] = ()
    rollout_on: tuple[str, ...] = ()
    rollout_episodes: int = 8
    tuning_episodes: int = 24
    tuning_window_s: float = 10.0
    timesteps: int | None = None
    problem: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("seeds", "episodes", "rollout_episodes", "tuning_episodes"):
            require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")

    @property
    def resolved_entries(self) -> tuple[Entry, ...]:
        """The entries themselves."""
        if self.problem is not None:
            return (Entry.of_problem(self.problem),)
        return tuple(ENTRIES[id] for id in self.entries)

    def on(self, scenario: str, fields: Mapping[str, Any]) -> Suite:
        """The suite's routers on one problem of one's own, in place of its entries.

        Its own models stand for those of the shipped profiles.

        Raises:
            ConfigError: fields that every entry has its own values of.
        """
        for name in ("split", "observation", "action"):
            accepted = "no value: routers and splits have their own"
            require(name not in fields, name, fields.get(name), accepted)
        config = configure(scenario, **fields)
        plain = {name: to_plain(getattr(config, name), name) for name in fields}
        problem = {"scenario": scenario, "fields": plain}
        agents = hosted_alone(self.agents, config.model_names)
        return replace(self, entries=(OWN,), agents=agents, rollout_on=(OWN,), problem=problem)

    def restricted(self, entries: tuple[str, ...]) -> Suite:
        """The suite with only these of its entries; all if none is named."""
        for id in entries:
            require(id in self.entries, "entries", id, ", ".join(self.entries))
        kept = tuple(id for id in self.entries if id in entries)
        return replace(self, entries=kept) if entries else self


def hosted_alone(agents: tuple[str, ...], models: tuple[str, ...]) -> tuple[str, ...]:
    """The routers of a suite; if it has a single model that is not hosted, every one that is."""
    singles = [agent for agent in agents if agent in SINGLES]
    if set(singles) <= set(models):
        return agents
    first = agents.index(singles[0])
    rest = [agent for agent in agents[first:] if agent not in singles]
    return (*agents[:first], *models, *rest)


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "testing",
            "two entries in seconds: what the tests run",
            entries=tagged("testing"),
            agents=("random", "opt-6.7b", "largest-feasible", "ddqn"),
            seeds=1,
            episodes=3,
            tuning_episodes=2,
            tuning_window_s=1.0,
            timesteps=4096,
        ),
        Suite(
            "heuristics",
            "every main entry, without learning",
            entries=tagged("main"),
            agents=(*UNTUNED, *TUNED),
        ),
        Suite(
            "standard",
            "every main entry, heuristics and learned routers",
            entries=tagged("main"),
            agents=(*UNTUNED, *TUNED, *FOLLOWED, *LEARNED),
            rollout_on=("unpredictable-1", "unpredictable-2", "soft"),
        ),
        Suite(
            "learning",
            "the main entries: learned routers, Stable-Baselines3's among them, and what to beat",
            entries=tagged("main"),
            agents=("best-single", "largest-feasible", *LEARNED, *SB3),
        ),
        Suite(
            "leaderboard",
            "the main entries: rules, and one router for all of them beside",
            entries=tagged("main"),
            agents=("best-single", *STRONGEST),
            seeds=1,
            seed=1000,
        ),
        Suite(
            "ablation",
            "what each part of the Double DQN recipe is worth",
            entries=("unpredictable-1",),
            agents=(*STRONGEST, "ddqn-paper", "ddqn", *ABLATIONS),
            seed=1000,
        ),
        Suite(
            "scaling",
            "what more decisions, larger networks and several of them are worth",
            entries=("unpredictable-1",),
            agents=(*STRONGEST, "rollout-pi", *SCALING, *COMBINATIONS),
            seed=1000,
        ),
        Suite(
            "generalist",
            "one router for everything beside those trained on each entry",
            entries=tagged("main", "unseen"),
            agents=(*STRONGEST, "rollout-pi", "generalist"),
            seed=1000,
        ),
        Suite(
            "generalist-world",
            "one router where signals are late and machines fail, as often as it learned and not",
            entries=tagged("generalist-world"),
            agents=(),
            seed=1000,
        ),
        Suite(
            "paper",
            "the results of arXiv 2401.07886, in the paper's setting and in ours",
            entries=tuple(id for id in ENTRIES if id not in tagged(*NOT_OF_PAPER)),
            agents=(*UNTUNED, *TUNED, "rollout", *LEARNED),
            seed=1000,
            main_only=("ddqn-pairs",),
            rollout_on=("unpredictable-1", "unpredictable-2", "soft"),
        ),
        Suite(
            "continuous",
            "the scenarios of continuous batching: rules and learned routers",
            entries=tagged("continuous"),
            agents=(),
            seed=1000,
            tuning_window_s=30.0,
        ),
        Suite(
            "world",
            "signals that are late, machines that fail, mixed GPUs: what each costs, and whom",
            entries=tagged("world"),
            agents=(),
            episodes=16,
            seed=1000,
            tuning_episodes=8,
        ),
    )
}


def suite(name: str) -> Suite:
    """The suite called `name`, or a ConfigError."""
    if name not in SUITES:
        raise ConfigError(f"suite: got {name!r}; accepted: {', '.join(SUITES)}")
    return SUITES[name]
