"""What `llmroute evaluate`, `record`, `replay` and `timeline` take and do.

Importing this module imports neither numba nor torch, so that `llmroute --help` answers at once.
"""

from __future__ import annotations

import json as json_format
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import tyro

from benchmarks.commands.options import UNCHANGED, Environment, Said, problem_for

if TYPE_CHECKING:
    from llmroute_env.config import EnvConfig
    from llmroute_env.recording.recording import Recording

DIFFERENT = 1
"""Exit code of a replay that differs."""


@dataclass(frozen=True)
class Evaluate:
    """Run routers on held-out episodes; episode i of a seed is the same for every router.

    A heuristic has the setting that is best on validation episodes: those of the scenarios come
    with the package, those of a problem of your own are found once. NAME=VALUE sets another.
    """

    agent: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(metavar="AGENT ...", help_behavior_hint="(required)"),
    ]
    """Names that `llmroute list agents` says, run directories or ONNX files; several are compared
    with the first."""
    environment: Environment = UNCHANGED
    """On what; a run directory where it was trained, unless something is said."""
    episodes: int = 32
    """How many episodes."""
    seed: int = 0
    """Of the episodes."""
    split: Said[str | None] = None
    """Part of the arrivals that episodes are cut from: train, validation, test (usual) or all."""
    tuned: Path = Path("runs/tuned")
    """Folder of the settings that were found for problems of your own."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""

    def run(self) -> None:
        """Run the routers and print a table or JSON."""
        from benchmarks.evaluation.runner import check_episodes, differences, evaluate, summarise
        from benchmarks.evaluation.settings import choose_all
        from llmroute_env.specs import require

        require(bool(self.agent), "agent", self.agent, "at least one router")
        check_episodes(self.episodes, self.seed)
        problem = problem_for(self.environment, self.agent)
        config = problem.config(self.split)
        routers = choose_all(self.agent, config, self.tuned)
        found = [evaluate(router.agent, config, self.episodes, self.seed) for router in routers]
        rows = [
            summarise(evaluation, problem.title)
            | {"agent": name, "setting": router.setting, "setting_from": router.source}
            for name, router, evaluation in zip(self.agent, routers, found, strict=True)
        ]
        paired = [
            {"agent": name, "minus": self.agent[0], "utility_of_peak": difference.to_json()}
            for name, difference in zip(self.agent[1:], differences(found), strict=True)
        ]
        if self.json:
            print(
                json_format.dumps({"routers": rows, "differences": paired} if paired else rows[0])
            )
        else:
            said = [router.words(name) for name, router in zip(self.agent, routers, strict=True)]
            print_comparison(rows, paired, [words for words in said if words is not None])


def print_comparison(
    rows: list[dict[str, Any]], paired: list[dict[str, Any]], said: list[str]
) -> None:
    """A table of routers, their settings, and how they differ from the first."""
    from benchmarks.evaluation.intervals import Interval
    from benchmarks.tables import show

    show(rows)
    for line in said:
        print(line)
    for row in paired:
        difference = Interval.from_json(row["utility_of_peak"]).text(4, sign="+")
        print(f"{row['agent']} - {row['minus']}: {difference}, paired")


@dataclass(frozen=True)
class EpisodeChoice:
    """One episode: `env.reset(seed=SEED)` of a scenario."""

    environment: Environment = UNCHANGED
    """On what."""
    split: Said[str | None] = None
    """Part of the arrivals that the episode is cut from: train, validation, test (usual) or all."""
    seed: int = 0
    """Of the episode and of the router."""
    steps: Said[int | None] = None
    """Stop after so many requests; by default the episode runs to its end."""
    tuned: Path = Path("runs/tuned")
    """Folder of the settings that were found for problems of your own."""

    def record(self, agent_name: str) -> Recorded:
        """The episode, routed by what the user calls `agent_name`."""
        from benchmarks.evaluation.settings import choose
        from benchmarks.watching.episode import begin
        from llmroute_env.recording.recording import check_steps, record
        from llmroute_env.specs import require

        require(self.seed >= 0, "seed", self.seed, ">= 0")
        check_steps(self.steps)
        problem = problem_for(self.environment, (agent_name,))
        config = problem.config(self.split)
        router = choose(agent_name, config, self.tuned)
        simulation = begin(router.agent, config, self.seed)
        recording = record(simulation, router.agent.act, self.steps)
        return Recorded(problem.title, simulation.config, recording, router.words(agent_name))


class Recorded(NamedTuple):
    """An episode, the name of its problem, and the setting of the router in words, if any."""

    title: str
    config: EnvConfig
    recording: Recording
    setting: str | None


@dataclass(frozen=True)
class Record:
    """Write a run card: one episode of a router, which `llmroute replay` plays again."""

    agent: tyro.conf.Positional[str]
    """A name that `llmroute list agents` says, or NAME=VALUE, a run directory or an ONNX file."""
    episode: tyro.conf.OmitArgPrefixes[EpisodeChoice] = EpisodeChoice()
    """Which episode."""
    out: Path = Path("run-card.json")
    """The file to write."""

    def run(self) -> int:
        """Play the episode and write its card."""
        from llmroute_env.recording.files import check_writable
        from llmroute_env.recording.run_card import card_of, write_card

        check_writable(self.out)
        problem, config, recording, setting = self.episode.record(self.agent)
        notes = {"agent": self.agent, "scenario": problem}
        notes |= {} if setting is None else {"setting": setting}
        write_card(card_of(recording, config, self.episode.seed, **notes), self.out)
        print(f"{self.out}: {len(recording.actions):,} steps, sha256 {recording.sha256}")
        if setting is not None:
            print(setting)
        return 0


@dataclass(frozen=True)
class Replay:
    """Play a run card again: says identical, or where it first differs (exit code 1)."""

    card: tyro.conf.Positional[Path]
    """A file that `llmroute record` wrote."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""

    def run(self) -> int:
        """Play the card again and print the verdict; 1 if the replay differs."""
        from llmroute_env.recording.files import versions
        from llmroute_env.recording.run_card import COMPUTED_WITH, read_card, replay

        card = read_card(self.card)
        difference = replay(card)
        steps = len(card["actions"])
        if difference is None:
            print(f"identical: {steps:,} steps, sha256 {card['recording_sha256']}")
        else:
            print(f"different: {difference.words()}")
            for name, now in versions(*COMPUTED_WITH).items():
                before = card.get("versions", {}).get(name)
                print(f"{name}: recorded with {before}, replayed with {now}")
        if self.json:
            found = None if difference is None else difference._asdict()
            row = {"identical": difference is None, "steps": steps, "difference": found}
            print(json_format.dumps(row))
        return 0 if difference is None else DIFFERENT


@dataclass(frozen=True)
class Timeline:
    """Write an episode as a trace for ui.perfetto.dev."""

    agent: tyro.conf.Positional[str]
    """A name that `llmroute list agents` says, or NAME=VALUE, a run directory or an ONNX file."""
    episode: tyro.conf.OmitArgPrefixes[EpisodeChoice] = EpisodeChoice()
    """Which episode."""
    out: Path = Path("timeline.json")
    """The file to write."""

    def run(self) -> int:
        """Play the episode and write its timeline."""
        from llmroute_env.recording.files import check_writable
        from llmroute_env.recording.recording import stream_of
        from llmroute_env.recording.sights import sights_of
        from llmroute_env.recording.timeline import timeline, write_timeline
        from llmroute_env.simulation.outages import outages

        check_writable(self.out)
        problem, config, recording, setting = self.episode.record(self.agent)
        title = f"{self.agent} on {problem}, seed {self.episode.seed}"
        end_s = float(recording.completions["finish_s"].max())
        down = outages(config, stream_of(self.episode.seed), end_s)
        sights = sights_of(config, self.episode.seed, recording.actions)
        trace = timeline(recording.completions, config, title, recording.tokens, down, sights)
        write_timeline(trace, self.out)
        slices = sum(event["ph"] == "X" for event in trace["traceEvents"])
        of = "slices" if len(recording.tokens) > 0 else "batches"
        print(f"{self.out}: {len(recording.completions):,} requests in {slices:,} {of}")
        if setting is not None:
            print(setting)
        print("open it at https://ui.perfetto.dev")
        return 0
