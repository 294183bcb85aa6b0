"""Heuristics at their best: the settings that the harness found for a problem, and where.

Those of the scenarios are kept with the package (`python -m benchmarks.shipping.tuned`); for a
problem of one's own they are found once, on its validation split, and kept beside the runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from agents.base import Agent
from agents.heuristics import table as controls
from agents.heuristics.table import TUNABLE
from agents.loading import is_heuristic, load
from benchmarks.evaluation.tuned_controls import FOLLOWED, tune
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import DEFAULT_FEATURES
from llmroute_env.recording.files import write_atomically
from llmroute_env.recording.serialization import config_sha256
from llmroute_env.specs import ConfigError

EPISODES, WINDOW_S = 24, 10.0
"""Validation episodes on which each setting is tried, and their length, as in suites."""

SHIPPED = Path(__file__).with_name("tuned.json")

Found = dict[str, Any]
"""By control what `Tuned.to_json` says, and `scenario`."""


@dataclass(frozen=True)
class Chosen:
    """A router, the setting that it has if it is a heuristic with one, and where that is from."""

    agent: Agent
    setting: float | None = None
    source: str | None = None

    def words(self, name: str) -> str | None:
        """The setting as a line of text; None without one."""
        if self.setting is None:
            return None
        plain = name.partition("=")[0]
        kind = TUNABLE.get(FOLLOWED.get(plain, plain))
        what = "setting" if kind is None else kind.name
        return f"{plain}: {what} {self.setting:g}, {self.source}"


def choose(text: str, config: EnvConfig, folder: Path) -> Chosen:
    """The router that a user calls `text`, to route for `config`.

    `NAME=VALUE` is a heuristic with that setting; `NAME` has the one that is best for `config`,
    which `folder` may hold.

    Raises:
        ConfigError: no router of that name, or a value that is no setting of it.
    """
    return choose_all((text,), config, folder)[0]


def choose_all(texts: Sequence[str], config: EnvConfig, folder: Path) -> list[Chosen]:
    """The routers that a user calls `texts`, as `choose`; none is tuned before all are known."""
    made = [make(text, config) for text in texts]
    return [at_best(*named, config, folder) for named in zip(texts, made, strict=True)]


def at_best(text: str, made: Agent, config: EnvConfig, folder: Path) -> Chosen:
    """The router `made` for its name; one that is tuned is made anew with its best setting."""
    if text not in TUNABLE and text not in FOLLOWED:
        name, _, value = text.partition("=")
        setting = number(text, value) if value and is_heuristic(name, config) else None
        return Chosen(made, setting, None if setting is None else "as given")
    setting, source = best_setting(FOLLOWED.get(text, text), config, folder)
    return Chosen(controls.make(text, config, setting), setting, source)


def make(text: str, config: EnvConfig) -> Agent:
    """The router that a user calls `text`: `NAME=VALUE`, or anything that agents.loading knows.

    Raises:
        ConfigError: no router of that name, or a value that is no setting of it.
    """
    name, given, value = text.partition("=")
    if given and is_heuristic(name, config):
        return controls.make(name, config, number(text, value))
    return load(text, config)


def number(text: str, value: str) -> float:
    """The number of `NAME=VALUE`."""
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"agent: got {text!r}; accepted: NAME=VALUE with a number") from None


def best_setting(control: str, config: EnvConfig, folder: Path) -> tuple[float, str]:
    """The setting of a control that is best on the validation split, and where it is kept."""
    found, source = tuned_in(control, config, folder)
    return float(found["setting"]), source


def tuned_in(control: str, config: EnvConfig, folder: Path) -> tuple[Found, str]:
    """What `Tuned.to_json` says of a control in the problem `config`, and where it is kept."""
    key = fingerprint(config)
    known = shipped().get(key, {})
    if control in known:
        return known[control], f"tuned for {known['scenario']}"
    path = folder / f"{key[:16]}.json"
    found: Found = json.loads(path.read_bytes()) if path.exists() else {}
    if control not in found:
        print(f"{control}: tuned on validation episodes, once for {path}", file=sys.stderr)
        found[control] = tune(control, config, EPISODES, WINDOW_S).to_json()
        write_atomically(path, json.dumps(found, indent=1).encode())
    return found[control], f"tuned on the validation split, {path}"


def fingerprint(config: EnvConfig) -> str:
    """Of a problem, whatever its split and whatever routers read and decide."""
    alike = replace(config, split="validation", observation=DEFAULT_FEATURES, action="model")
    return config_sha256(alike)


@cache
def shipped() -> dict[str, Found]:
    """By fingerprint, what was found for the scenarios."""
    tables: dict[str, Found] = json.loads(SHIPPED.read_bytes())
    return tables
