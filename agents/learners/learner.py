"""What a training run drives, and which learner belongs to which settings."""

from __future__ import annotations

from typing import Any, Protocol

from agents.learners.device_dqn import DeviceDQN
from agents.learners.device_ppo import DevicePPO
from agents.learners.double_dqn import DoubleDQN
from agents.learners.rollout_iteration import RolloutIteration
from agents.learners.training_env import device_env, training_env
from agents.routers.recurrent import AnyRouter
from agents.runs.checkpoint import Snapshot
from agents.runs.plan import Plan
from agents.settings.own import DoubleDQNSettings, RolloutSettings
from agents.settings.sb3 import OnPolicySettings
from llmroute_env.specs import ConfigError


class Learner(Protocol):
    """What a training run drives.

    Attributes:
        decisions: simulated since the beginning.
        episodes: summaries of finished episodes; whoever reads them clears the list.
    """

    episodes: list[dict[str, Any]]

    @property
    def decisions(self) -> int:
        """How many decisions have been simulated."""
        ...

    def iterate(self) -> dict[str, float]:
        """Collect and learn once; returns what TensorBoard shows."""
        ...

    @property
    def router(self) -> AnyRouter:
        """What has been learned."""
        ...

    def validate(self) -> float:
        """Score of the router on the validation episodes."""
        ...

    def snapshot(self) -> Snapshot:
        """Everything that a checkpoint needs."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from the snapshot of a learner with the same settings."""
        ...


def make_learner(plan: Plan) -> Learner:
    """The learner of the plan's settings, at its beginning."""
    settings = plan.resolved_settings
    if plan.device != "cpu":
        # `Plan` has made sure that the settings are of one of these.
        envs = device_env(settings.envs, plan)
        if isinstance(settings, OnPolicySettings):
            return DevicePPO(settings, envs, plan.budget, plan.seed)
        assert isinstance(settings, DoubleDQNSettings)
        return DeviceDQN(settings, envs, plan.budget, plan.seed)
    if isinstance(settings, DoubleDQNSettings):
        env = training_env(settings.envs, plan)
        return DoubleDQN(settings, env, plan.budget, plan.seed)
    if isinstance(settings, RolloutSettings):
        environments = plan.configs("train")
        teachers = [member.network for member in plan.teachers]
        return RolloutIteration(
            settings, environments, plan.budget, plan.seed, plan.keeps_budget, teachers
        )
    try:
        from agents.learners.sb3.learner import SB3Learner
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"algorithm: got {plan.algorithm!r}, which needs {error.name}; "
            "accepted: after `pip install 'llmroute[sb3]'`"
        ) from None
    return SB3Learner(plan)
