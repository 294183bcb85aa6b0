"""What a training run is to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.run_directory import Card
from agents.settings import PRESETS, DoubleDQNSettings
from llmroute_env.config import EnvConfig
from llmroute_env.observation import bounds
from llmroute_env.scenarios import configure
from llmroute_env.specs import require
from llmroute_env.vector_env import LLMRouteVectorEnv


@dataclass(frozen=True)
class Plan:
    """A training run, before it begins.

    Attributes:
        scenario: name; fields: of EnvConfig, that replace the scenario's. `observation` and
            `split` are not among them: the settings say what the router reads, and training and
            validation have their own splits.
        decisions: length of the training, over all envs.
        algorithm: name of a preset, and of the trained agent.
        settings: replace the preset's.
        checkpoint_decisions: between two checkpoints; another one is written at the end.
    """

    directory: Path
    scenario: str = "unpredictable-1"
    fields: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    decisions: int = 20_000_000
    algorithm: str = "ddqn"
    settings: DoubleDQNSettings | None = None
    checkpoint_decisions: int = 5_000_000

    def __post_init__(self) -> None:
        require(self.decisions >= 1, "decisions", self.decisions, ">= 1")
        require(self.seed >= 0, "seed", self.seed, ">= 0")
        known = self.algorithm in PRESETS
        require(known, "algorithm", self.algorithm, ", ".join(PRESETS))
        for name in ("observation", "split"):
            require(name not in self.fields, f"field {name!r}", self.fields.get(name), "no value")

    @property
    def resolved_settings(self) -> DoubleDQNSettings:
        """The settings, or those of the preset."""
        return self.settings or PRESETS[self.algorithm]

    def config(self, split: str) -> EnvConfig:
        """The environment, on one split of its workload."""
        observation = self.resolved_settings.observation
        return configure(self.scenario, observation=observation, split=split, **self.fields)

    def training_env(self) -> LLMRouteVectorEnv:
        """The envs that collect."""
        s = self.resolved_settings
        return LLMRouteVectorEnv(
            s.envs, self.scenario, observation=s.observation, split="train", **self.fields
        )

    def card(self) -> Card:
        """What `config.json` will say."""
        config = self.config("train")
        low, _ = bounds(config.observation, len(config.tasks), config.gpus, len(config.models))
        return Card(
            algorithm=self.algorithm,
            settings=self.resolved_settings,
            scenario=self.scenario,
            fields=self.fields,
            seed=self.seed,
            decisions=self.decisions,
            columns=len(low),
            models=config.model_names,
        )
