"""What a training run is to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from agents.base import Learned, believed_by, learned_in
from agents.heuristics.tuning import guards_in
from agents.runs.card import DISTIL, Card
from agents.runs.members import Member, origin
from agents.settings.families import configurations, members
from agents.settings.own import DoubleDQNSettings
from agents.settings.parts import ALL_ARE_PAIRS, Settings
from agents.settings.presets import PRESETS, SETTINGS
from llmroute_env.config import EnvConfig
from llmroute_env.cuda.toolchain import check_usable
from llmroute_env.devices import DEVICES
from llmroute_env.recording.serialization import config_sha256
from llmroute_env.scenarios import USUAL
from llmroute_env.specs import ConfigError, require


@dataclass(frozen=True)
class Plan:
    """A training run, before it begins.

    Attributes:
        scenario: name, or that of a family of environments (families.py), which rollout policy
            iteration learns in together; fields: of EnvConfig, that replace the scenario's.
            `observation`, `split` and, but for Stable-Baselines3, `action` are not among them:
            the settings say what the router reads and decides, and training and validation have
            their own splits. Who decides pairs learns where all actions are pairs.
        decisions: length of the training, over all envs; None for the settings' own. Rollout policy
            iteration keeps it, unless it is the preset's own: then the last round is finished.
        algorithm: name of a preset, and of the trained agent.
        settings: replace the preset's.
        checkpoint_decisions: between two checkpoints, None for a quarter of the training; another
            one is written at the end.
        device: where envs and networks are; Double DQN over models and PPO may be on
            `cuda`.
        levels: what TensorBoard compares scores with, by name, as shares of the peak; from
            `bound`, what no router can exceed on the validation episodes, follows the regret.
        teachers: trained routers, whose mean values rollout policy iteration learns instead of
            trying actions itself.
    """

    directory: Path
    scenario: str = USUAL
    fields: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    decisions: int | None = None
    algorithm: str = "ddqn"
    settings: Settings | None = None
    checkpoint_decisions: int | None = None
    levels: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"
    teachers: tuple[Member, ...] = ()

    def __post_init__(self) -> None:
        require(self.seed >= 0, "seed", self.seed, ">= 0")
        known = self.algorithm in SETTINGS
        require(known, "algorithm", self.algorithm, ", ".join(PRESETS))
        require(self.budget >= 1, "decisions", self.decisions, ">= 1")
        period = self.checkpoint_period
        require(period >= 1, "checkpoint_decisions", period, ">= 1")
        self._check_device()
        if len(members(self.scenario)) > 1:
            together = self.resolved_settings.learns_together
            accepted = f"a single scenario by {self.algorithm}"
            require(together, "scenario", self.scenario, accepted)
        for name in {*self.resolved_settings.env_fields, "split"} - ALL_ARE_PAIRS.keys():
            accepted = "no value: the algorithm's settings and the training have their own"
            require(name not in self.fields, f"field {name!r}", self.fields.get(name), accepted)
        follows = getattr(self.resolved_settings, "follows", "")
        for config in self.configs("train") if follows else ():
            guards = guards_in(config)
            accepted = f"{', '.join(guards)} where routers learn"
            require(follows in guards, "follows", follows, accepted)
        least = self.resolved_settings.least_decisions(self.configs("train"))
        accepted = f"at least {least:,}, in which there is something to learn from"
        require(self.budget >= least, "decisions", self.budget, accepted)

    def _check_device(self) -> None:
        require(self.device in DEVICES, "device", self.device, ", ".join(DEVICES))
        if self.device == "cpu":
            return
        settings = SETTINGS[self.algorithm] if self.settings is None else self.settings
        double = isinstance(settings, DoubleDQNSettings) and settings.action == "model"
        accepted = f"cpu by {self.algorithm}; cuda by ddqn over models, ppo"
        require(double or self.algorithm == "ppo", "device", self.device, accepted)
        check_usable()

    @property
    def resolved_settings(self) -> Settings:
        """The settings, or those of the preset; they read what there is to know (`learned_in`)."""
        settings = self.settings or SETTINGS[self.algorithm]
        first = configurations(self.scenario, self.fields)[0]
        return replace(settings, observation=learned_in(first, settings.observation))

    @property
    def budget(self) -> int:
        """Length of the training, in decisions."""
        return self.resolved_settings.decisions if self.decisions is None else self.decisions

    @property
    def keeps_budget(self) -> bool:
        """Whether the length was asked for, so that it must not be exceeded."""
        return self.budget != SETTINGS[self.algorithm].decisions

    @property
    def checkpoint_period(self) -> int:
        """Decisions between two checkpoints."""
        return self.checkpoint_decisions or max(self.budget // 4, 1)

    def config(self, split: str) -> EnvConfig:
        """The environment, on one split of its workload; the first one of a family."""
        return self.configs(split)[0]

    def configs(self, split: str) -> tuple[EnvConfig, ...]:
        """All environments of the scenario: one, or a family, as the router sees them."""
        found = configurations(self.scenario, self.env_fields(split))
        return tuple(replace(c, signals=believed_by(Learned, c.signals)) for c in found)

    def env_fields(self, split: str) -> dict[str, Any]:
        """The fields of EnvConfig that replace the scenario's, on one split of its workload."""
        return {**self.fields, **self.resolved_settings.env_fields, "split": split}

    def card(self) -> Card:
        """What `config.json` will say."""
        config = self.config("train")
        return Card(
            algorithm=self.algorithm,
            settings=self.resolved_settings,
            scenario=self.scenario,
            fields=Card.plain_fields(config, self.fields),
            seed=self.seed,
            decisions=self.budget,
            columns=config.layout.width,
            models=config.model_names,
            actions=config.actions,
            classes=config.class_names,
            tasks=config.tasks,
            config_sha256=self.config_sha256,
            origin=origin(DISTIL, self.teachers) if self.teachers else {},
        )

    @property
    def config_sha256(self) -> str:
        """Fingerprint of what is trained on; empty if a recipe of the user's own has none."""
        try:
            shas = [config_sha256(config) for config in self.configs("train")]
        except ConfigError:
            return ""
        return shas[0] if len(shas) == 1 else sha256("".join(shas).encode()).hexdigest()
