"""Every hyper-parameter of every learner; presets.py names values. Neither imports torch."""

from __future__ import annotations

from dataclasses import dataclass

from agents.settings.checks import (
    CREDITS,
    USUAL,
    check_cautions,
    check_heuristic,
    check_observation,
)
from agents.settings.sb3 import SB3Settings
from llmroute_env.dynamics.features import (
    DEFAULT_FEATURES,
    GPU_FEATURES,
)
from llmroute_env.specs import require


@dataclass(frozen=True)
class DoubleDQNSettings:
    """Every hyper-parameter of Double DQN; decisions are counted over all envs.

    Attributes:
        decisions: length of a training, unless the plan says otherwise.
        action: what the router decides: `gpu-model` or only the `model`.
        observation: features that the router reads (features.FEATURES), in order.
        hidden: widths of the hidden layers.
        dueling: learn the value of a state and centred advantages, instead of Q directly.
        envs: native vector envs that step together.
        collect_steps: vector steps between two rounds of learning.
        warmup_decisions: collected before the first round.
        exploration_start: share of random actions at first.
        exploration_end: and from `exploration_fraction` of the training on, linearly.
        exploration_fraction: share of the training over which exploration declines.
        demonstrators: share of the envs in which not the learner but largest-feasible, with its
            margin tuned, decides: the replay always holds what a good router does and earns.
        guarded: the router is largest-feasible, overruled only where the network promises more by
            a caution that validation picks, so that it is never kept below the heuristic.
        cautions: that validation picks from, besides infinity: the heuristic itself.
        subtracts_peak: subtract from every reward what the largest model earns in time, on
            average: every policy loses the same by it, for arrivals do not depend on decisions,
            but returns no longer grow with the arrival rate.
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
        stress: multiple of the load up to which a guarded router must not do worse than its
            heuristic on some more of them; else it leaves high loads to the heuristic.
    """

    decisions: int = 1_500_000
    action: str = "model"
    observation: tuple[str, ...] = DEFAULT_FEATURES
    hidden: tuple[int, ...] = (64, 64)
    dueling: bool = True
    envs: int = 16
    collect_steps: int = 64
    warmup_decisions: int = 50_000
    exploration_start: float = 1.0
    exploration_end: float = 0.02
    exploration_fraction: float = 0.2
    demonstrators: float = 0.25
    guarded: bool = True
    cautions: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
    subtracts_peak: bool = True
    credit: str = "decision"
    discount_per_decision: float = 1.0
    discount_rate_per_s: float = 2.0
    n_step: int = 32
    replay_capacity: int = 262_144
    batch_size: int = 512
    replay_ratio: float = 1.0
    learning_rate: float = 1e-3
    learning_rate_end: float = 1e-4
    largest_gradient: float = 10.0
    target_rate: float = 0.01
    target_period: int = 1
    average_rate: float = 0.01
    validations: int = 6
    validation_episodes: int = 48
    validation_window_s: float = 10.0
    stress: float = 4.0

    def __post_init__(self) -> None:
        check_observation(self.observation)
        require(self.stress >= 1, "stress", self.stress, ">= 1")
        require(self.credit in CREDITS, "credit", self.credit, ", ".join(CREDITS))
        for name in ("envs", "collect_steps", "n_step", "replay_capacity", "batch_size"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "an integer >= 1")
        for name in (
            "exploration_start",
            "exploration_end",
            "exploration_fraction",
            "demonstrators",
        ):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "0 to 1")
        for name in ("discount_per_decision", "target_rate", "average_rate"):
            require(0 < getattr(self, name) <= 1, name, getattr(self, name), "above 0, at most 1")
        require(
            self.discount_rate_per_s >= 0, "discount_rate_per_s", self.discount_rate_per_s, ">= 0"
        )
        if self.guarded or self.demonstrators > 0:
            check_heuristic(self.action, self.observation)
        check_cautions(self.cautions)
        require(self.replay_ratio > 0, "replay_ratio", self.replay_ratio, "> 0")


@dataclass(frozen=True)
class RolloutSettings:
    """Every hyper-parameter of rollout policy iteration.

    Attributes:
        decisions: length of a training, unless the plan says otherwise: simulated decisions,
            those of the rollouts included.
        action: what the router decides: `gpu-model` or only the `model`.
        observation: features that the router reads, in order; among them those of the heuristic.
        hidden: widths of the hidden layers.
        envs: that visit states side by side.
        skipped_decisions: mean number of decisions between two states that are tried.
        tries: pairs that are tried in a state: those that the heuristic values most; of the others
            its own valuation is learned, and the router never takes them. Models are all tried.
        follows: the heuristic that rollouts follow, tuned to each environment; empty for the best.
            In several environments it should be one: what an action is worth depends on it.
        horizon: how long the base policy is followed after each action that is tried, in units of
            the longest latency that still earns something (deadline + grace).
        on_policy_share: share of the visits that follow the best router so far rather than the
            heuristic, once there is one.
        states_per_round: tried before the network learns again.
        capacity: states that are remembered; the oldest are forgotten.
        batch_size: states per update.
        uses_per_state: how often a state is learned from, on average.
        huber_delta: errors beyond it, in units of utility, count linearly: the values of single
            futures have heavy tails.
        learning_rate: of Adam, at first; declines linearly.
        learning_rate_end: at the end of the training.
        average_rate: share by which the averaged weights, which are validated and kept, follow the
            network at every update.
        cautions: gains in utility that the network must promise before it may overrule the
            heuristic; validation picks one of these, or infinity: the heuristic itself.
        validations: how often during training the averaged weights are tried on validation traces;
            the best ones are kept.
        validation_episodes: per try.
        validation_window_s: their length, if shorter than the scenario's.
        stress: multiple of the load up to which the router must not do worse than its heuristic on
            some more of them, or else it leaves high loads to the heuristic; and up to which half
            of the states are visited.
    """

    decisions: int = 40_000_000
    action: str = "gpu-model"
    observation: tuple[str, ...] = GPU_FEATURES
    hidden: tuple[int, ...] = (128, 64)
    envs: int = 32
    skipped_decisions: int = 100
    tries: int = 3
    follows: str = ""
    horizon: float = 0.5
    on_policy_share: float = 0.5
    states_per_round: int = 1024
    capacity: int = 400_000
    batch_size: int = 1024
    uses_per_state: float = 20.0
    huber_delta: float = 1.0
    learning_rate: float = 2e-3
    learning_rate_end: float = 1e-5
    average_rate: float = 0.005
    cautions: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
    validations: int = 6
    validation_episodes: int = 48
    validation_window_s: float = 10.0
    stress: float = 4.0

    def __post_init__(self) -> None:
        check_observation(self.observation)
        require(self.stress >= 1, "stress", self.stress, ">= 1")
        check_heuristic(self.action, self.observation)
        accepted = USUAL[self.action]
        require(self.follows in ("", *accepted), "follows", self.follows, ", ".join(accepted))
        for name in ("envs", "tries", "states_per_round", "capacity", "batch_size"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "an integer >= 1")
        for name in ("horizon", "uses_per_state", "huber_delta", "learning_rate"):
            require(getattr(self, name) > 0, name, getattr(self, name), "> 0")
        share = self.on_policy_share
        require(0 <= share <= 1, "on_policy_share", share, "0 to 1")
        check_cautions(self.cautions)


GuardedSettings = DoubleDQNSettings | RolloutSettings
Settings = GuardedSettings | SB3Settings
