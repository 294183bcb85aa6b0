"""A run directory: the run card, the weights that evaluation loads, and the checkpoints.

config.json           run card: algorithm, settings, scenario, env fields, seed, versions
weights.safetensors   averaged weights, the best on validation traces so far
checkpoint/           to continue the training (checkpoint.py)
events.out.tfevents*  TensorBoard
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import safetensors.torch
from torch import Tensor

from agents.runs.checkpoint import CheckpointError
from agents.settings.own import RolloutSettings
from agents.settings.parts import Settings
from agents.settings.presets import SETTINGS, student_of
from llmroute_env import profiles
from llmroute_env.config import EnvConfig
from llmroute_env.problem import options_of
from llmroute_env.recording.files import versions, write_atomically
from llmroute_env.recording.serialization import to_plain
from llmroute_env.specs import ConfigError
from llmroute_env.toml_values import to_table, toml

CARD, WEIGHTS, CHECKPOINTS = "config.json", "weights.safetensors", "checkpoint"
DISTRIBUTIONS = ("llmroute", "torch", "numpy", "gymnasium")
ENSEMBLE, DISTIL = "ensemble", "distill"
"""The commands that make routers of others."""


@dataclass(frozen=True)
class Card:
    """What a run was, as far as loading its agent needs it.

    Attributes:
        fields: of EnvConfig, that replaced the scenario's, as plain data (serialization.to_plain).
        columns: of the observation; models: names in action order; actions: how many; classes:
            names of the classes of users; tasks: names in the order of the observation; none where
            an older card does not say.
        config_sha256: fingerprint of what it was trained on; empty in older cards, or if that holds
            something that has none.
        origin: of a router that is made of others: the command that does it, and their runs
            (members.py); empty for one that was trained by itself.
    """

    algorithm: str
    settings: Settings
    scenario: str
    fields: Mapping[str, Any]
    seed: int
    decisions: int
    columns: int
    models: tuple[str, ...]
    actions: int
    classes: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    config_sha256: str = dataclasses.field(default="", compare=False)
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def plain_fields(cls, config: EnvConfig, names: Iterable[str]) -> dict[str, Any]:
        """Fields of `config` as a card holds them: contents, rather than names of files.

        A recipe of a user's own, which JSON does not know, is its repr.
        """
        fields: dict[str, Any] = {}
        for name in names:
            value = getattr(config, name)
            try:
                fields[name] = to_plain(value, name)
            except ConfigError:
                fields[name] = {"repr": repr(value)}
        return fields

    @property
    def command(self) -> str | None:
        """What trains the same router again; None if the command line cannot say it."""
        usual = SETTINGS[self.algorithm]
        if self.origin:
            return self.command_of_runs
        if self.classes:
            usual = replace(usual, observation=self.settings.observation)
        said = options_of(self.fields)
        if said is None:
            return None
        said += self.changes(usual)
        chosen = "".join(f" {quote(word)}" for word in said)
        return f"llmroute train {self.algorithm} --scenario {self.scenario}{chosen} {self.numbers}"

    @property
    def command_of_runs(self) -> str:
        """What makes the router again of the same runs."""
        runs = " ".join(quote(run["run"]) for run in self.origin["runs"])
        command = f"llmroute {self.origin['way']} {runs}"
        if self.origin["way"] == ENSEMBLE:
            return command
        usual = SETTINGS[self.algorithm]
        assert isinstance(usual, RolloutSettings)
        usual = replace(student_of(usual), observation=self.settings.observation)
        chosen = "".join(f" {quote(word)}" for word in self.changes(usual))
        return f"{command}{chosen} {self.numbers}"

    def changes(self, usual: Settings) -> list[str]:
        """The options that say in which settings the run differs from `usual`."""
        own, theirs = dataclasses.asdict(self.settings), dataclasses.asdict(usual)
        changes = [f"{n}={toml(to_table(v, n))}" for n, v in own.items() if v != theirs[n]]
        return ["--hyper", *changes] if changes else []

    @property
    def numbers(self) -> str:
        """The options that say its seed and length."""
        return f"--seed {self.seed} --timesteps {self.decisions}"

    @property
    def action(self) -> str:
        """What the router decides: EnvConfig.action."""
        return self.settings.action or str(self.fields.get("action", "model"))

    def to_json(self) -> dict[str, Any]:
        """As `config.json` holds it."""
        added = {"command": self.command, "versions": versions(*DISTRIBUTIONS)}
        entries = dataclasses.asdict(self) | {"settings": self.settings.to_json()}
        # Cards of routers that were trained by themselves are as they always were.
        entries = {n: entry for n, entry in entries.items() if n != "origin" or entry}
        return plain(entries) | added


def plain(value: dict[str, Any]) -> dict[str, Any]:
    """`value` as JSON gives it back: tuples become lists, unknown objects their repr."""
    text = json.dumps(value, default=lambda unknown: {"repr": repr(unknown)})
    entries: dict[str, Any] = json.loads(text)
    return entries


def write_card(directory: Path, card: Card) -> None:
    """Write `config.json`."""
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / CARD, json.dumps(card.to_json(), indent=2).encode())


def read_card(directory: Path) -> Card:
    """The run card of `directory`.

    Raises:
        CheckpointError: it is not a run directory, or the card is damaged.
    """
    path = directory / CARD
    if not path.is_file():
        raise CheckpointError(f"{directory}: is not a run directory: it has no {CARD}")
    try:
        entries = json.loads(path.read_text())
        settings = {k: as_tuple(v) for k, v in entries["settings"].items()}
        names = [field.name for field in dataclasses.fields(Card)]
        # Older cards know no classes, tasks and fingerprints, and most no origin.
        later = {"classes": (), "tasks": tasks_of(entries), "config_sha256": "", "origin": {}}
        values = {name: as_tuple({**later, **entries}[name]) for name in names}
        values["settings"] = type(SETTINGS[values["algorithm"]])(**settings)
        return Card(**values)
    except KeyError as error:
        raise CheckpointError(f"{path}: lacks the entry {error}") from None
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(f"{path}: is not a run card: {error}") from None


def tasks_of(entries: Mapping[str, Any]) -> tuple[str, ...]:
    """The tasks of what an older card was trained on, if that was on a shipped profile."""
    profile = entries["fields"].get("profile", EnvConfig.profile)
    return profiles.load(profile).tasks if profile in profiles.names() else ()


def as_tuple(value: Any) -> Any:
    """JSON's lists back to tuples."""
    return tuple(value) if isinstance(value, list) else value


def write_weights(directory: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `weights.safetensors`."""
    write_atomically(directory / WEIGHTS, safetensors.torch.save(dict(tensors)))
