"""An entry: one environment that routers are compared on, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from llmroute_env.config import EnvConfig
from llmroute_env.recording.serialization import config_sha256, from_plain
from llmroute_env.scenarios import configure

OWN = "own"
"""Id of the entry of a problem of one's own."""


@dataclass(frozen=True)
class Entry:
    """One environment of a suite.

    Attributes:
        id: stable name: rows carry it.
        scenario: name; fields: of EnvConfig, that replace the scenario's.
        trained_on: id of the entry that learned routers are trained on; this one if empty.
        tuned_on: id of the entry whose validation split heuristics are tuned on; likewise.
        only: routers that are compared there; all of the suite if empty.
        also: learned routers beside those of the suite.
        episodes: test episodes, if fewer than the suite's.
        tuning_window_s: length of the episodes that controls are tuned on, if not the suite's.
        bounded: whether it is known what no router can exceed.
    """

    id: str
    scenario: str
    tags: frozenset[str]
    fields: Mapping[str, Any] = field(default_factory=dict)
    trained_on: str = ""
    tuned_on: str = ""
    only: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    episodes: int | None = None
    tuning_window_s: float | None = None
    bounded: bool = True

    def config(self, split: str) -> EnvConfig:
        """The environment on one split of its arrivals."""
        return configure(self.scenario, split=split, **self.fields)

    @classmethod
    def of_problem(cls, problem: Mapping[str, Any]) -> Entry:
        """The entry of a problem of one's own: `scenario`, and `fields` as plain data."""
        fields = from_plain(dict(problem["fields"]), "problem")
        return cls(OWN, problem["scenario"], frozenset({"main", OWN}), fields)

    @cached_property
    def test_sha256(self) -> str:
        """Fingerprint of the environment of its test episodes."""
        return config_sha256(self.config("test"))
