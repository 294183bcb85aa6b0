"""Every hyper-parameter of the Stable-Baselines3 baselines, one class per family.

Importing it imports neither torch nor Stable-Baselines3.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.settings.checks import CREDITS
from llmroute_env.dynamics.features import DEFAULT_FEATURES, Layout
from llmroute_env.specs import require


@dataclass(frozen=True)
class OffPolicySettings:
    """Every hyper-parameter of SB3's DQN and QR-DQN; decisions are counted over all envs.

    Attributes:
        decisions: length of a training, unless the plan says otherwise.
        observation: features that the router reads (features.FEATURES), in order.
        hidden: widths of the hidden layers.
        envs: native vector envs that step together.
        collect_steps: vector steps between two rounds of learning (SB3's train_freq).
        warmup_decisions: routed at random before the first round.
        exploration_start: share of random actions at first.
        exploration_end: and from `exploration_fraction` of the training on, linearly.
        exploration_fraction: share of the training over which exploration declines.
        credit: `decision`: a request's utility is the reward of the decision that routed it;
            `completion`: of the decision during which it ended.
        discount_per_decision: gamma.
        discount_rate_per_s: beta; a decision that lasts t seconds is discounted by
            gamma * exp(-beta * t).
        n_step: rewards in a return, before the value of the state that follows is bootstrapped.
        reward_centre, reward_scale: the learner sees (reward - centre) * scale. How many decisions
            an episode has is not the router's doing, so the centre changes no preference.
        replay_capacity: transitions.
        batch_size: transitions per update.
        replay_ratio: how often a transition is used, on average.
        learning_rate: of Adam, at first; declines linearly.
        learning_rate_end: at the end of the training.
        largest_gradient: norm to which gradients are clipped.
        target_rate: share by which the target network follows the network (SB3's tau).
        target_period: decisions between two such steps.
        quantiles: per action, QR-DQN only.
        validations: how often during training the weights are tried on validation traces; the best
            ones are kept.
        validation_episodes: per try.
        validation_window_s: their length, if shorter than the scenario's.
    """

    decisions: int = 3_000_000
    observation: tuple[str, ...] = DEFAULT_FEATURES
    hidden: tuple[int, ...] = (64, 64)
    envs: int = 64
    collect_steps: int = 32
    warmup_decisions: int = 50_000
    exploration_start: float = 1.0
    exploration_end: float = 0.02
    exploration_fraction: float = 0.2
    credit: str = "decision"
    discount_per_decision: float = 1.0
    discount_rate_per_s: float = 5.0
    n_step: int = 32
    reward_centre: float = 0.5
    reward_scale: float = 0.1
    replay_capacity: int = 262_144
    batch_size: int = 2048
    replay_ratio: float = 1.0
    learning_rate: float = 1e-3
    learning_rate_end: float = 1e-4
    largest_gradient: float = 10.0
    target_rate: float = 1.0
    target_period: int = 65_536
    quantiles: int = 16
    validations: int = 8
    validation_episodes: int = 48
    validation_window_s: float = 10.0

    def __post_init__(self) -> None:
        Layout(self.observation)
        require(self.credit in CREDITS, "credit", self.credit, ", ".join(CREDITS))
        for name in ("envs", "collect_steps", "n_step", "replay_capacity", "batch_size"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "an integer >= 1")
        for name in ("exploration_start", "exploration_end", "exploration_fraction"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")
        for name in ("discount_per_decision", "target_rate"):
            require(0 < getattr(self, name) <= 1, name, getattr(self, name), "above 0, at most 1")
        for name in ("replay_ratio", "learning_rate", "reward_scale", "quantiles"):
            require(getattr(self, name) > 0, name, getattr(self, name), "> 0")

    @property
    def updates_per_round(self) -> int:
        """SB3's gradient_steps: its train_freq counts vector steps, so one update is not enough."""
        collected = self.envs * self.collect_steps
        return max(round(collected * self.replay_ratio / self.batch_size), 1)


@dataclass(frozen=True)
class OnPolicySettings:
    """Every hyper-parameter of SB3's PPO and A2C and of MaskablePPO.

    Attributes:
        decisions: length of a training, unless the plan says otherwise.
        observation: features that the router reads (features.FEATURES), in order.
        hidden: widths of the hidden layers, of the policy and of the value network.
        envs: native vector envs that step together.
        collect_steps: vector steps between two rounds of learning (SB3's n_steps).
        credit: `decision`: a request's utility is the reward of the decision that routed it;
            `completion`: of the decision during which it ended.
        look_ahead_steps: the most that the envs run on after a round, to see what the last
            decisions of it earn.
        discount_per_decision: gamma.
        discount_rate_per_s: beta; a decision that lasts t seconds is discounted by
            gamma * exp(-beta * t).
        trace_decay: lambda of generalised advantage estimation.
        reward_centre, reward_scale: the learner sees (reward - centre) * scale. How many decisions
            an episode has is not the router's doing, so the centre changes no preference.
        entropy_weight: of the entropy bonus in the loss.
        value_weight: of the value network's error in the loss.
        learning_rate: of Adam, at first; declines linearly.
        learning_rate_end: at the end of the training.
        largest_gradient: norm to which gradients are clipped.
        batch_size: decisions per update; PPO only, A2C takes all.
        uses: how often a decision is learned from (SB3's n_epochs); PPO only.
        clip_range: of the probability ratio; PPO only.
        validations: how often during training the weights are tried on validation traces; the best
            ones are kept.
        validation_episodes: per try.
        validation_window_s: their length, if shorter than the scenario's.
    """

    decisions: int = 3_000_000
    observation: tuple[str, ...] = DEFAULT_FEATURES
    hidden: tuple[int, ...] = (64, 64)
    envs: int = 32
    collect_steps: int = 512
    credit: str = "decision"
    look_ahead_steps: int = 512
    discount_per_decision: float = 1.0
    discount_rate_per_s: float = 2.0
    trace_decay: float = 0.95
    reward_centre: float = 0.5
    reward_scale: float = 0.1
    entropy_weight: float = 0.03
    value_weight: float = 0.5
    learning_rate: float = 4e-4
    learning_rate_end: float = 1e-4
    largest_gradient: float = 0.5
    batch_size: int = 4096
    uses: int = 4
    clip_range: float = 0.2
    validations: int = 8
    validation_episodes: int = 48
    validation_window_s: float = 10.0

    def __post_init__(self) -> None:
        Layout(self.observation)
        require(self.credit in CREDITS, "credit", self.credit, ", ".join(CREDITS))
        for name in ("envs", "collect_steps", "uses"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "an integer >= 1")
        # SB3 normalises advantages over a batch, which takes two.
        require(self.batch_size >= 2, "batch_size", self.batch_size, "an integer >= 2")
        for name in ("discount_per_decision", "trace_decay"):
            require(0 < getattr(self, name) <= 1, name, getattr(self, name), "above 0, at most 1")
        for name in ("learning_rate", "reward_scale", "clip_range"):
            require(getattr(self, name) > 0, name, getattr(self, name), "> 0")


SB3Settings = OffPolicySettings | OnPolicySettings

SB3_PRESETS: dict[str, SB3Settings] = {
    "sb3-dqn": OffPolicySettings(),
    "qrdqn": OffPolicySettings(),
    "ppo": OnPolicySettings(),
    "a2c": OnPolicySettings(collect_steps=128, look_ahead_steps=256, learning_rate=1e-3),
    "maskable-ppo": OnPolicySettings(observation=(*DEFAULT_FEATURES, "gpu_slack")),
}
"""Tuned on the validation episodes of `unpredictable-1`, a handful of trainings of 0.7 to 1.5
million decisions each. What paid most: rewards credited to decisions, centred and small; discounts
by time; for PPO and A2C a low learning rate and entropy, without which they settle on one model
for all."""
