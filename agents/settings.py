"""Every hyper-parameter of Double DQN, and its presets; importing it does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from agents.experience import CREDITS
from llmroute_env.observation import DEFAULT_FEATURES, FEATURE_NAMES, PAPER_FEATURES
from llmroute_env.specs import require


@dataclass(frozen=True)
class DoubleDQNSettings:
    """Every hyper-parameter of Double DQN; decisions are counted over all envs.

    Attributes:
        observation: features that the router reads (llmroute_env.observation.FEATURES), in order.
        hidden: widths of the hidden layers.
        dueling: learn the value of a state and centred advantages, instead of Q directly.
        envs: native vector envs that step together.
        collect_steps: vector steps between two rounds of learning.
        warmup_decisions: collected before the first round.
        exploration_start: share of random actions at first.
        exploration_end: and from `exploration_fraction` of the training on, linearly.
        exploration_fraction: share of the training over which exploration declines.
        credit: `decision`: a request's utility is the reward of the decision that routed it;
            `completion`: of the decision during which it ended.
        discount_per_decision: gamma.
        discount_rate_per_s: beta; a decision that lasts t seconds is discounted by
            gamma * exp(-beta * t).
        n_step: rewards in a return, before the value of the state that follows is bootstrapped.
        replay_capacity: transitions.
        batch_size: transitions per update.
        replay_ratio: how often a transition is used, on average.
        learning_rate: of Adam, at first; declines linearly.
        learning_rate_end: at the end of the training.
        largest_gradient: norm to which gradients are clipped.
        target_rate: share by which the target network follows the online network.
        target_period: updates between two such steps; with rate 1 the usual hard copy.
        average_rate: share by which the averaged weights, which evaluation acts with, follow the
            online network at every update; 1 for the online network itself.
        validations: how often during training the averaged weights are tried on validation traces;
            the best ones are kept.
        validation_episodes: per try.
        validation_window_s: their length, if shorter than the scenario's.
    """

    observation: tuple[str, ...] = DEFAULT_FEATURES
    hidden: tuple[int, ...] = (64, 64)
    dueling: bool = True
    envs: int = 64
    collect_steps: int = 64
    warmup_decisions: int = 50_000
    exploration_start: float = 1.0
    exploration_end: float = 0.02
    exploration_fraction: float = 0.2
    credit: str = "decision"
    discount_per_decision: float = 1.0
    discount_rate_per_s: float = 2.0
    n_step: int = 32
    replay_capacity: int = 262_144
    batch_size: int = 2048
    replay_ratio: float = 1.0
    learning_rate: float = 1e-3
    learning_rate_end: float = 1e-4
    largest_gradient: float = 10.0
    target_rate: float = 0.01
    target_period: int = 1
    average_rate: float = 0.01
    validations: int = 8
    validation_episodes: int = 48
    validation_window_s: float = 10.0

    def __post_init__(self) -> None:
        known = set(self.observation) <= set(FEATURE_NAMES) and len(self.observation) > 0
        require(known, "observation", self.observation, ", ".join(FEATURE_NAMES))
        require(self.credit in CREDITS, "credit", self.credit, ", ".join(CREDITS))
        for name in ("envs", "collect_steps", "n_step", "replay_capacity", "batch_size"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "an integer >= 1")
        for name in ("exploration_start", "exploration_end", "exploration_fraction"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")
        for name in ("discount_per_decision", "target_rate", "average_rate"):
            require(0 < getattr(self, name) <= 1, name, getattr(self, name), "above 0, at most 1")
        require(
            self.discount_rate_per_s >= 0, "discount_rate_per_s", self.discount_rate_per_s, ">= 0"
        )
        require(self.replay_ratio > 0, "replay_ratio", self.replay_ratio, "> 0")


PRESETS = {
    "ddqn": DoubleDQNSettings(),
    "ddqn-paper": DoubleDQNSettings(
        observation=PAPER_FEATURES,
        dueling=False,
        discount_per_decision=0.99,
        discount_rate_per_s=0.0,
        n_step=1,
        target_rate=1.0,
        target_period=200,
        average_rate=1.0,
    ),
}
"""`ddqn-paper` is the recipe of Jha et al. (arXiv 2401.07886); its numbers, which the paper does
not give, are ours. `ddqn` is the improved one."""
