"""Every hyper-parameter of our own learners; presets.py names values. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from agents.settings.checks import LATE, TOKENS, USUAL, check_attention, check_heuristic
from agents.settings.parts import Attending, Guarded, Replaying, Returns, Settings
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import GPU_FEATURES
from llmroute_env.specs import require
from traces.processes.arrivals import MOST_ARRIVALS
from traces.trace import Trace


@dataclass(frozen=True, kw_only=True)
class DoubleDQNSettings(Attending, Guarded, Replaying, Returns, Settings):
    """Every hyper-parameter of Double DQN: those of its parts, and its own.

    Attributes:
        dueling: learn the value of a state and centred advantages, instead of Q directly.
        demonstrators: share of the envs in which not the learner but largest-feasible, with its
            margin tuned, decides: the replay always holds what a good router does and earns.
        guarded: the router is largest-feasible, overruled only where the network promises more by
            a caution that validation picks, so that it is never kept below the heuristic.
        subtracts_peak: subtract from every reward what the largest model earns in time, on
            average: every policy loses the same by it, for arrivals do not depend on decisions,
            but returns no longer grow with the arrival rate.
    """

    decisions: int = 1_500_000
    action: str = "model"
    dueling: bool = True
    envs: int = 16
    collect_steps: int = 64
    demonstrators: float = 0.25
    guarded: bool = True
    subtracts_peak: bool = True
    batch_size: int = 512
    learning_rate: float = 1e-3
    target_rate: float = 0.01
    target_period: int = 1
    average_rate: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_attention(self.attention, self.action, self.hidden)
        if self.guarded or self.demonstrators > 0:
            check_heuristic(self.action, self.observation)


@dataclass(frozen=True, kw_only=True)
class RolloutSettings(Attending, Guarded, Settings):
    """Every hyper-parameter of rollout policy iteration: those of its parts, and its own.

    Simulated decisions are counted, those of the rollouts included. Among the features are those
    that the heuristic reads.

    Attributes:
        skipped_decisions: mean number of decisions between two states that are tried.
        tries: pairs that are tried in a state: those that the heuristic values most; of the others
            its own valuation is learned, and the router never takes them. Models are all tried.
        follows: the heuristic that rollouts follow, tuned to each environment; empty for the best.
            In several environments it should be one: what an action is worth depends on it.
        horizon: how long the base policy is followed after each action that is tried, in units of
            the longest latency that still earns something (deadline + grace), or of that of an
            answer of mean length where only its tokens have deadlines.
        on_policy_share: share of the visits that follow the best router so far rather than the
            heuristic, once there is one.
        states_per_round: tried before the network learns again.
        capacity: states that are remembered; the oldest are forgotten.
        uses_per_state: how often a state is learned from, on average.
        huber_delta: errors beyond it, in units of utility, count linearly: the values of single
            futures have heavy tails.
    """

    late: ClassVar[tuple[str, ...]] = ("cautions",)

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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_attention(self.attention, self.action, self.hidden)
        check_heuristic(self.action, self.observation)
        accepted = (*USUAL[self.action], *TOKENS[self.action], *LATE[self.action])
        require(self.follows in ("", *accepted), "follows", self.follows, ", ".join(accepted))

    @property
    def guarded(self) -> bool:
        """Always: the network learns what differs from the heuristic."""
        return True

    @property
    def learns_together(self) -> bool:
        """All environments of a family give it states."""
        return True

    def least_decisions(self, configs: Sequence[EnvConfig]) -> int:
        """What it may take to try one state of each, at its own loads and at higher ones."""
        return 2 * sum(map(self.decisions_per_state, configs))

    def decisions_per_state(self, config: EnvConfig) -> int:
        """Until a state is there and its actions are tried, if it comes late, at a high load."""
        rate_per_s = self.stress * config.load_range[1] * config.load_1_per_s
        if isinstance(config.workload, Trace) and config.load is None:
            rate_per_s = config.workload.mean_rate_per_s
        # A rollout ends with its episode, and no episode has more requests than a trace.
        horizon_s = min(self.horizon_s(config), config.window_s)
        requests = min(rate_per_s * horizon_s, MOST_ARRIVALS)
        tried = self.tries if self.reads_gpus_alike else config.actions
        return 2 * self.skipped_decisions + tried * (1 + math.ceil(requests))

    def horizon_s(self, config: EnvConfig) -> float:
        """The horizon in `config`, in seconds."""
        deadline = config.deadline
        longest_s = deadline.deadline_s
        if math.isinf(longest_s) and math.isfinite(deadline.ttft_s + deadline.tpot_s):
            longest_s = deadline.ttft_s + deadline.tpot_s * float(config.mean_tokens[:, 1].mean())
        return self.horizon * (longest_s + deadline.grace_s)


GuardedSettings = DoubleDQNSettings | RolloutSettings
