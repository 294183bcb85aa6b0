"""What the settings of several learners share: every field, with its meaning, stands once.

A learner's settings inherit the parts that they consist of, and state the defaults that differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from agents.settings.checks import check_range
from agents.settings.order import in_card_order
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import DEFAULT_FEATURES, Layout

ALL_ARE_PAIRS = {"reject": False, "reject_utility": 0.0, "defer": None}
"""Fields of an environment in which every action is a pair: to turn a request away, or to put it
off, is none, and who decides pairs does neither where others may."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every hyper-parameter of a learner; decisions are counted over all envs.

    Attributes:
        decisions: length of a training, unless the plan says otherwise.
        observation: features that the router reads (features.FEATURES), in order.
        hidden: widths of the hidden layers.
        envs: that step side by side.
        batch_size: transitions, states or decisions per update.
        learning_rate: of Adam, at first; declines linearly.
        learning_rate_end: at the end of the training.
        validations: how often during training the weights, averaged if they are, are tried on
            validation traces; the best ones are kept.
        validation_episodes: per try.
        validation_window_s: their length, if shorter than the scenario's.
    """

    decisions: int
    observation: tuple[str, ...] = DEFAULT_FEATURES
    hidden: tuple[int, ...] = (64, 64)
    envs: int
    batch_size: int
    learning_rate: float
    learning_rate_end: float = 1e-4
    validations: int = 6
    validation_episodes: int = 48
    validation_window_s: float = 10.0

    late: ClassVar[tuple[str, ...]] = ()
    """Fields that stand at the later of their two places in run cards (order.py)."""

    def __post_init__(self) -> None:
        Layout(self.observation)
        for name, value in asdict(self).items():
            check_range(name, value)

    @property
    def action(self) -> str | None:
        """What the router decides (EnvConfig.action); None leaves it to the environment."""
        return None

    @property
    def env_fields(self) -> dict[str, Any]:
        """The fields of EnvConfig that these settings decide."""
        fields: dict[str, Any] = {"observation": self.observation}
        if self.action is not None:
            fields["action"] = self.action
        if self.reads_gpus_alike:
            fields |= ALL_ARE_PAIRS
        return fields

    @property
    def dueling(self) -> bool:
        """Whether the network has values of states and advantages."""
        return False

    @property
    def guarded(self) -> bool:
        """Whether the router is a heuristic that the network may overrule."""
        return False

    @property
    def tries(self) -> int:
        """Pairs that a guarded router may take: those its heuristic values most; 0 for any."""
        return 0

    @property
    def attention(self) -> int:
        """Entries of the queries of networks whose GPUs see each other; 0 for none."""
        return 0

    @property
    def reads_gpus_alike(self) -> bool:
        """Whether the network reads every GPU alike, and so serves any number of them."""
        return self.action == "gpu-model"

    @property
    def learns_together(self) -> bool:
        """Whether one training may be in all environments of a family."""
        return False

    def least_decisions(self, configs: Sequence[EnvConfig]) -> int:
        """The shortest training in `configs` that makes sense."""
        return 1

    def learning_rate_at(self, decisions: int, budget: int) -> float:
        """Step size after `decisions` of a training of `budget`."""
        done = min(decisions / budget, 1.0)
        return self.learning_rate + done * (self.learning_rate_end - self.learning_rate)

    def to_json(self) -> dict[str, Any]:
        """The fields as run cards hold them, in their order."""
        return in_card_order(asdict(self), self.late)


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """Part of the settings of learners whose router may be guarded by a heuristic.

    Attributes:
        action: what the router decides: `gpu-model` or only the `model`.
        cautions: gains in utility that the network must promise before it may overrule the
            heuristic; validation picks one of these, or infinity: the heuristic itself.
        average_rate: share by which the averaged weights, which are validated and kept, follow the
            network at every update; 1 for the network itself.
        stress: multiple of the load up to which a guarded router must not do worse than its
            heuristic on some more validation episodes, or else it leaves high loads to the
            heuristic; rollout policy iteration visits half of its states at loads up to it.
    """

    action: str
    cautions: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
    average_rate: float
    stress: float = 4.0


@dataclass(frozen=True, kw_only=True)
class Attending:
    """Part of the settings of learners whose network may read every GPU alike.

    Attributes:
        attention: entries of the queries, keys and values by which what the first hidden layer
            makes of a GPU sees that of all GPUs (routers/layers.py); 0 for GPUs that do not see
            each other.
    """

    attention: int = 0


@dataclass(frozen=True, kw_only=True)
class Returns:
    """Part of the settings of learners from rewards: when they count, and how much.

    Attributes:
        collect_steps: vector steps between two rounds of learning (SB3's train_freq or n_steps).
        credit: `decision`: a request's utility is the reward of the decision that routed it;
            `completion`: of the decision during which it ended.
        discount_per_decision: gamma.
        discount_rate_per_s: beta; a decision that lasts t seconds is discounted by
            gamma * exp(-beta * t).
        largest_gradient: norm to which gradients are clipped.
    """

    collect_steps: int
    credit: str = "decision"
    discount_per_decision: float = 1.0
    discount_rate_per_s: float = 2.0
    largest_gradient: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Replaying:
    """Part of the settings of learners that explore, and learn from a replay.

    Attributes:
        warmup_decisions: collected before the first round of learning.
        exploration_start: share of random actions at first.
        exploration_end: and from `exploration_fraction` of the training on, linearly.
        exploration_fraction: share of the training over which exploration declines.
        n_step: rewards in a return, before the value of the state that follows is bootstrapped.
        replay_capacity: transitions.
        replay_ratio: how often a transition is used, on average.
        target_rate: share by which the target network follows the online network (SB3's tau).
        target_period: updates between two such steps, decisions for SB3; with rate 1 the usual
            hard copy.
    """

    warmup_decisions: int = 50_000
    exploration_start: float = 1.0
    exploration_end: float = 0.02
    exploration_fraction: float = 0.2
    n_step: int = 32
    replay_capacity: int = 262_144
    replay_ratio: float = 1.0
    target_rate: float
    target_period: int


@dataclass(frozen=True, kw_only=True)
class Rescaled:
    """Part of the settings of SB3's learners, which see (reward - centre) * scale.

    How many decisions an episode has is not the router's doing, so the centre changes no
    preference.

    Attributes:
        reward_centre: subtracted from every reward.
        reward_scale: multiplies what is left.
    """

    reward_centre: float = 0.5
    reward_scale: float = 0.1
