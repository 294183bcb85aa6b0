"""Stable-Baselines3's DQN, PPO and A2C, and contrib's QR-DQN, MaskablePPO and RecurrentPPO.

SB3 collects and learns; the run around it (training/training.py) is that of our own: run card,
validation, best weights, checkpoints, TensorBoard. What a policy prefers is a multilayer
perceptron, with an LSTM before it if it remembers, so the weights are saved as those of a QNetwork
or RecurrentNetwork and need no SB3 to be used.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq

from agents.learners.sb3.generators import GlobalGenerators
from agents.learners.sb3.memory import remember, remembered
from agents.learners.sb3.models import Model, build, perceptron_of, preferences_of, router_of
from agents.learners.sb3.replay_buffer import CreditingReplayBuffer
from agents.learners.sb3.rollout_buffer import Crediting
from agents.learners.training_env import training_env
from agents.learners.validation import validate
from agents.routers.networks import moments_of, restore_moments
from agents.routers.recurrent import AnyRouter
from agents.runs.checkpoint import Snapshot, chosen, prefixed
from agents.runs.plan import Plan
from agents.settings.sb3 import SB3Settings
from llmroute_env.dynamics.state import State
from llmroute_env.sb3 import SB3VecEnv

SCALARS = {
    "train/value_loss": "loss/value",
    "train/policy_gradient_loss": "loss/policy",
    "train/policy_loss": "loss/policy",
    "rollout/exploration_rate": "train/epsilon",
    "train/learning_rate": "train/learning_rate",
    "train/approx_kl": "train/approx_kl",
    "train/clip_fraction": "train/clip_fraction",
    "train/explained_variance": "train/explained_variance",
}
"""SB3's names for what it logs, and ours."""


class SB3Learner:
    """A learner (learners.learner.Learner) whose work is done by SB3.

    Attributes:
        decisions: simulated since the beginning.
        episodes: summaries of finished episodes; whoever reads them clears the list.
    """

    def __init__(self, plan: Plan) -> None:
        """Prepare the plan's algorithm at its beginning."""
        settings = plan.resolved_settings
        assert isinstance(settings, SB3Settings)
        self.settings = settings
        self.env = training_env(settings.envs, plan)
        self.venv = SB3VecEnv(self.env, settings.reward_centre, settings.reward_scale)
        self.collected = Summaries()
        self.episodes = self.collected.summaries
        self.decisions = 0
        self.generators = GlobalGenerators()
        # SB3 adds the number of the env to a seed and takes 32 bits.
        seeds = np.random.SeedSequence(plan.seed).generate_state(2) >> 1
        with self.generators.lent():
            self.model = build(plan.algorithm, settings, self.venv, int(seeds[0]))
            self.model.set_logger(Logger(folder=None, output_formats=[]))
            self.venv.seed(int(seeds[1]))
            if isinstance(self.model, OnPolicyAlgorithm):
                self.rollouts.policy = lambda: preferences_of(self.model, self.hosted)
            _, self.callback = self.model._setup_learn(plan.budget, self.collected)

    def iterate(self) -> dict[str, float]:
        """One round of SB3's own `learn`: collect, then update."""
        with self.generators.lent():
            if isinstance(self.model, OnPolicyAlgorithm):
                self._iterate_on_policy(self.model)
            else:
                self._iterate_off_policy(self.model)
        self.decisions = self.model.num_timesteps
        return self._scalars()

    def _scalars(self) -> dict[str, float]:
        logged = self.model.logger.name_to_value
        scalars = {ours: float(logged[name]) for name, ours in SCALARS.items() if name in logged}
        if "train/entropy_loss" in logged:
            scalars["train/entropy"] = -float(logged["train/entropy_loss"])
        if isinstance(self.model, OffPolicyAlgorithm):
            # In the learner's units: centred and scaled.
            values = perceptron_of(self.model, self.hosted).preferences(self.venv.result[0])
            scalars |= {"q/mean": float(values.mean()), "q/max": float(values.max())}
            if "train/loss" in logged:
                scalars["loss/td"] = float(logged["train/loss"])
        return scalars

    def _iterate_on_policy(self, model: OnPolicyAlgorithm) -> None:
        model.collect_rollouts(self.venv, self.callback, model.rollout_buffer, model.n_steps)
        model._update_current_progress_remaining(model.num_timesteps, model._total_timesteps)
        model.train()

    def _iterate_off_policy(self, model: OffPolicyAlgorithm) -> None:
        buffer = self.replay
        frequency = cast(TrainFreq, model.train_freq)
        warmup = model.learning_starts
        model.collect_rollouts(
            self.venv, self.callback, frequency, buffer, learning_starts=warmup, log_interval=None
        )
        buffer.release()
        if model.num_timesteps > warmup and len(buffer.replay) > 0:
            model.train(model.gradient_steps, model.batch_size)

    @property
    def replay(self) -> CreditingReplayBuffer:
        """The buffer of an off-policy learner."""
        return cast(CreditingReplayBuffer, cast(OffPolicyAlgorithm, self.model).replay_buffer)

    @property
    def rollouts(self) -> Crediting:
        """The buffer of an on-policy learner."""
        return cast(Crediting, cast(OnPolicyAlgorithm, self.model).rollout_buffer)

    @property
    def hosted(self) -> NDArray[np.bool_]:
        """Actions that lead to a GPU with the model, shape (actions,)."""
        return self.env.simulation.hosted_actions()

    @property
    def router(self) -> AnyRouter:
        """What the policy does when it does not explore."""
        return router_of(self.model, self.hosted)

    def validate(self) -> float:
        """Score of the router on the validation episodes."""
        return validate(self.router, (self.env.config,), self.settings)

    def snapshot(self) -> Snapshot:
        """Everything that a checkpoint needs, SB3's zip not among it."""
        model = self.model
        tensors = prefixed("policy", model.policy.state_dict())
        tensors |= moments_of(model.policy.optimizer)
        if isinstance(model, RecurrentPPO):
            tensors |= prefixed("lstm", remembered(model))
        arrays: dict[str, NDArray[Any]] = prefixed("env", self.env.snapshot().named)
        numbers: dict[str, Any] = {name: getattr(model, name) for name in counters(model)}
        numbers["actions"] = model.action_space.np_random.bit_generator.state
        if isinstance(model, OffPolicyAlgorithm):
            arrays |= prefixed("buffer", self.replay.arrays())
            numbers["drawing"] = self.replay.rng.bit_generator.state
        else:
            numbers["drawing"] = self.rollouts.rng.bit_generator.state
            arrays["starts"] = np.asarray(model._last_episode_starts)
        return Snapshot(tensors, arrays | prefixed("global", self.generators.arrays()), numbers)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from the snapshot of a learner with the same settings."""
        tensors, arrays, numbers = snapshot
        model = self.model
        model.policy.load_state_dict(chosen(tensors, "policy"))
        restore_moments(model.policy.optimizer, tensors)
        if isinstance(model, RecurrentPPO):
            remember(model, chosen(tensors, "lstm"))
        model._last_obs = self.env.restore(State.of_named(chosen(arrays, "env")))
        for name in counters(model):
            setattr(model, name, numbers[name])
        self.decisions = model.num_timesteps
        model.action_space.np_random.bit_generator.state = numbers["actions"]
        if isinstance(model, OffPolicyAlgorithm):
            self.replay.restore(chosen(arrays, "buffer"))
            self.replay.rng.bit_generator.state = numbers["drawing"]
        else:
            self.rollouts.rng.bit_generator.state = numbers["drawing"]
            model._last_episode_starts = arrays["starts"]
        self.generators.restore(chosen(arrays, "global"))


def counters(model: Model) -> tuple[str, ...]:
    """Names of the numbers in `model` that training changes."""
    common = ("num_timesteps", "_n_updates", "_current_progress_remaining")
    off_policy = ("_n_calls", "exploration_rate")
    return (*common, *off_policy) if isinstance(model, OffPolicyAlgorithm) else common


class Summaries(BaseCallback):
    """Collects the summaries of the episodes that end while SB3 collects steps."""

    def __init__(self) -> None:
        """Collect in `summaries`; whoever reads them clears the list."""
        super().__init__()
        self.summaries: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        self.summaries += [infos[e]["summary"] for e in np.flatnonzero(self.locals["dones"])]
        return True
