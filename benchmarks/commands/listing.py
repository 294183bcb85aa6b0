"""What `llmroute list` takes and does; importing it imports neither numba nor torch."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, get_args

import tyro

from benchmarks.commands.options import Said

Kind = Literal["scenarios", "agents", "learners", "profiles", "traces", "suites"]
Words = dict[str, str]
"""What each of the names stands for."""


@dataclass(frozen=True)
class List:
    """Say which names there are of a kind, each with what it stands for."""

    what: Annotated[tyro.conf.Positional[Kind], tyro.conf.arg(metavar="|".join(get_args(Kind)))]
    """Agents are what evaluates, learners what trains."""
    json: Said[bool] = False
    """Print one JSON object as the last line."""

    def run(self) -> None:
        """Print them, one a line, or JSON."""
        words = LISTS[self.what]()
        if self.json:
            print(json_format.dumps(words))
            return
        widest = max(map(len, words))
        for name, summary in words.items():
            print(f"{name:{widest}}  {summary}")


def scenarios() -> Words:
    """Scenarios, and families of them."""
    from agents.settings.families import FAMILIES
    from llmroute_env.scenarios import SCENARIOS

    words = {name: scenario.summary for name, scenario in SCENARIOS.items()}
    return words | {
        name: f"{len(members)} environments at once, to train the generalist on"
        for name, members in FAMILIES.items()
    }


def agents() -> Words:
    """Heuristics, models and routers that the package ships."""
    from agents.heuristics.models import HEURISTICS
    from agents.heuristics.table import CONTROLS
    from agents.loading import run_of, shipped
    from llmroute_env.scenarios import configure

    words = {name: first_line(make) for name, make in (HEURISTICS | CONTROLS).items()}
    words |= dict.fromkeys(configure("stable").model_names, "Everything to this model.")
    for name in shipped():
        card = json_format.loads((run_of(name) / "config.json").read_bytes())
        words[name] = f"{card['algorithm']}, trained on {card['scenario']}."
    return words


def first_line(make: Callable[..., object]) -> str:
    """What a heuristic says of itself, and how it differs from another that is made alike."""
    kind, differs = (make.func, make.keywords) if isinstance(make, partial) else (make, {})
    line = (kind.__doc__ or "").partition("\n")[0]
    return " ".join([line, *(f"{name.capitalize()} {value:g}." for name, value in differs.items())])


def learners() -> Words:
    """Algorithms, with what they read and decide, and how long they usually train."""
    from agents.settings.presets import SETTINGS

    return {
        name: f"decides {settings.action or 'as the environment says'}, "
        f"reads {len(settings.observation)} features, trains for {settings.decisions:,} decisions"
        for name, settings in SETTINGS.items()
    }


def profiles() -> Words:
    """Profiles that the package ships."""
    from llmroute_env import profiles

    loaded = {name: profiles.load(name) for name in profiles.names()}
    return {
        name: f"{', '.join(profile.model_names)} on {', '.join(gpu.name for gpu in profile.gpus)}"
        + ("; for continuous batching" if any(m.step_times for m in profile.models) else "")
        for name, profile in loaded.items()
    }


def traces() -> Words:
    """Traces that the package ships."""
    from traces.catalog import NAMES

    return NAMES


def suites() -> Words:
    """Suites of `bench`."""
    from benchmarks.suites.suite import SUITES

    return {name: suite.summary for name, suite in SUITES.items()}


LISTS: dict[Kind, Callable[[], Words]] = {
    "scenarios": scenarios,
    "agents": agents,
    "learners": learners,
    "profiles": profiles,
    "traces": traces,
    "suites": suites,
}
