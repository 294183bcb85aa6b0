"""Every hyper-parameter of the Stable-Baselines3 baselines, one class per family.

Importing it imports neither torch nor Stable-Baselines3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.settings.parts import Replaying, Rescaled, Returns, Settings
from llmroute_env.dynamics.features import DEFAULT_FEATURES
from llmroute_env.specs import require


@dataclass(frozen=True, kw_only=True)
class OffPolicySettings(Rescaled, Replaying, Returns, Settings):
    """Every hyper-parameter of SB3's DQN and QR-DQN: those of its parts, and its own.

    Attributes:
        quantiles: per action, QR-DQN only.
    """

    decisions: int = 3_000_000
    envs: int = 64
    collect_steps: int = 32
    discount_rate_per_s: float = 5.0
    batch_size: int = 2048
    learning_rate: float = 1e-3
    target_rate: float = 1.0
    target_period: int = 65_536
    quantiles: int = 16
    validations: int = 8

    @property
    def updates_per_round(self) -> int:
        """SB3's gradient_steps: its train_freq counts vector steps, so one update is not enough."""
        collected = self.envs * self.collect_steps
        return max(round(collected * self.replay_ratio / self.batch_size), 1)


@dataclass(frozen=True, kw_only=True)
class OnPolicySettings(Rescaled, Returns, Settings):
    """Every hyper-parameter of SB3's PPO and A2C and of MaskablePPO: its parts', and its own.

    `hidden` are the widths of the policy's layers and of the value network's. `batch_size`, at
    least 2, is PPO's only; A2C takes all decisions of a round.

    Attributes:
        look_ahead_steps: the most that the envs run on after a round, to see what the last
            decisions of it earn.
        trace_decay: lambda of generalised advantage estimation.
        entropy_weight: of the entropy bonus in the loss.
        value_weight: of the value network's error in the loss.
        uses: how often a decision is learned from (SB3's n_epochs); PPO only.
        clip_range: of the probability ratio; PPO only.
    """

    late: ClassVar[tuple[str, ...]] = ("batch_size",)

    decisions: int = 3_000_000
    envs: int = 32
    collect_steps: int = 512
    look_ahead_steps: int = 512
    trace_decay: float = 0.95
    entropy_weight: float = 0.03
    value_weight: float = 0.5
    learning_rate: float = 4e-4
    largest_gradient: float = 0.5
    batch_size: int = 4096
    uses: int = 4
    clip_range: float = 0.2
    validations: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        # SB3 normalises advantages over a batch, which takes two.
        require(self.batch_size >= 2, "batch_size", self.batch_size, "an integer >= 2")


@dataclass(frozen=True, kw_only=True)
class RecurrentSettings(OnPolicySettings):
    """Every hyper-parameter of contrib's RecurrentPPO: those of PPO, and its own.

    The policy is an LSTM, which reads the observation, and the layers of `hidden` on what it puts
    out; so is the value network. A batch holds the decisions of a round of some envs in their
    order. Gradients go back through those of one env and episode in it, `collect_steps` at most;
    the first of them begins with what was remembered when it was collected.

    Attributes:
        lstm_width: units of each LSTM.
        lstm_layers: LSTMs on top of each other.
    """

    hidden: tuple[int, ...] = (64,)
    envs: int = 128
    collect_steps: int = 128
    lstm_width: int = 64
    lstm_layers: int = 1
    learning_rate: float = 1e-3


SB3Settings = OffPolicySettings | OnPolicySettings

SB3_PRESETS: dict[str, SB3Settings] = {
    "sb3-dqn": OffPolicySettings(),
    "qrdqn": OffPolicySettings(),
    "ppo": OnPolicySettings(),
    "a2c": OnPolicySettings(collect_steps=128, look_ahead_steps=256, learning_rate=1e-3),
    "maskable-ppo": OnPolicySettings(observation=(*DEFAULT_FEATURES, "gpu_slack")),
    "recurrent-ppo": RecurrentSettings(),
}
"""Tuned on the validation episodes of `unpredictable-1`, a handful of trainings of 0.7 to 1.5
million decisions each. What paid most: rewards credited to decisions, centred and small; discounts
by time; for PPO and A2C a low learning rate and entropy, without which they settle on one model
for all. `recurrent-ppo` is from three trainings of up to a million decisions on `stale-1s`: so that
a batch holds many envs, rounds are short, and its learning rate may be higher."""
