"""Double DQN (van Hasselt, Guez, Silver 2016) on the native vector env.

Read `DoubleDQN.iterate` first: act, store, learn, sync, in order. Numbers: `agents.settings.own`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.compiled.making import COMPILED
from agents.heuristics.tuning import best_tuned, guards_in
from agents.learners.experience import Experience
from agents.learners.replay import Replay, Transitions
from agents.learners.validation import pick_caution, validate
from agents.routers.build import guard, q_network
from agents.routers.networks import Guarded, QNetwork, Router, follow, moments_of, restore_moments
from agents.runs.checkpoint import Snapshot, chosen, prefixed
from agents.settings.own import DoubleDQNSettings
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.state import State
from llmroute_env.vector_env import LLMRouteVectorEnv

NETWORKS = ("online", "target", "average")
GENERATORS = ("acting", "sampling")


def td_targets(online: QNetwork, target: QNetwork, batch: Mapping[str, Tensor]) -> Tensor:
    """Double Q-learning: the online network picks the next action, the target network values it."""
    with torch.no_grad():
        picked = online(batch["next_observations"]).argmax(dim=1, keepdim=True)
        values = target(batch["next_observations"]).gather(1, picked).squeeze(1)
        targets: Tensor = batch["returns"] + batch["discounts"] * values
        return targets


class Learning(NamedTuple):
    """Statistics of an update."""

    q_mean: float
    q_max: float
    td_error: float
    loss: float

    def scalars(self) -> dict[str, float]:
        """By TensorBoard name."""
        names = ("q/mean", "q/max", "q/td_error", "loss/td")
        return dict(zip(names, self, strict=True))


class DoubleDQN:
    """The learner: networks, optimiser, replay and the decisions that wait for their reward.

    Attributes:
        device: of the networks.
        decisions, updates: counted since the beginning.
        episodes: summaries of finished episodes; whoever reads them clears the list.
    """

    device = "cpu"

    def __init__(
        self, settings: DoubleDQNSettings, env: LLMRouteVectorEnv, budget: int, seed: int
    ) -> None:
        """Prepare to learn in `env` for `budget` decisions."""
        self.settings, self.env, self.budget = settings, env, budget
        columns = env.config.layout.width
        self.actions = env.config.actions
        seeds = np.random.SeedSequence(seed).generate_state(4)
        shape = settings.hidden, settings.dueling, int(seeds[0]), settings.attention
        self.online, self.target, self.average = (
            q_network(env.config, *shape).to(self.device) for _ in range(3)
        )
        self.parameters = list(self.online.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, fused=True)
        self.acting, self.sampling = (np.random.default_rng(s) for s in seeds[1:3])
        offset = mean_peak(env.config) if settings.subtracts_peak else 0.0
        self._keep(columns, offset)
        self.guarded = self._guard() if settings.guarded or settings.demonstrators else None
        self.observations, _ = env.reset(seed=int(seeds[3]))
        self.episodes: list[dict[str, Any]] = []
        self.decisions = self.updates = 0

    def _keep(self, columns: int, offset: float) -> None:
        s = self.settings
        self.replay = Replay(s.replay_capacity, columns)
        self.experience = Experience(s.envs, columns, s.n_step, s.credit, offset)

    def _guard(self) -> Guarded:
        config = self.env.config
        name, setting, _ = best_tuned(guards_in(config), config)
        return guard(self.average, config, COMPILED[name](config, setting))

    def iterate(self) -> dict[str, float]:
        """One round: act, store, learn, sync; returns what TensorBoard shows."""
        for _ in range(self.settings.collect_steps):
            self.collect()
        self.decisions += self.settings.collect_steps * self.settings.envs
        self.replay.add(self.experience.release())
        learning = None
        while self.is_update_due():
            learning = self.learn(self.replay.sample(self.settings.batch_size, self.sampling))
            self.sync()
        scalars = {"train/epsilon": self.exploration}
        return scalars if learning is None else scalars | learning.scalars()

    def collect(self) -> None:
        """One step of every env: act and store."""
        actions = self.act()
        result = self.env.step(actions)
        discounts = self.discounts(result[4]["elapsed_s"])
        self.experience.store(self.observations, actions, discounts, result)
        self.observations = result[0]
        self.episodes += finished(self.env, result[4])

    def act(self) -> NDArray[np.int64]:
        """Epsilon-greedy actions; in the first envs the heuristic takes the learner's place."""
        actions = self.online.greedy(self.observations)
        if self.guarded is not None:
            shown = round(self.settings.demonstrators * len(actions))
            actions[:shown] = self.guarded.usual(self.observations[:shown])
        explores = self.acting.random(len(actions)) < self.exploration
        return np.where(explores, self.acting.integers(self.actions, size=len(actions)), actions)

    def learn(self, sampled: Transitions) -> Learning:
        """One gradient step towards the targets."""
        batch = {name: torch.as_tensor(array) for name, array in sampled._asdict().items()}
        targets = td_targets(self.online, self.target, batch)
        q = self.online(batch["observations"])
        error = q.gather(1, batch["actions"][:, None]).squeeze(1) - targets
        loss = error.square().mean()
        self.optimizer.param_groups[0]["lr"] = self.learning_rate
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.settings.largest_gradient)
        self.optimizer.step()
        self.updates += 1
        return Learning(q.mean().item(), q.max().item(), error.abs().mean().item(), loss.item())

    def sync(self) -> None:
        """Let the target and the averaged weights follow the online ones."""
        if self.updates % self.settings.target_period == 0:
            follow(self.target, self.online, self.settings.target_rate)
        follow(self.average, self.online, self.settings.average_rate)

    def is_update_due(self) -> bool:
        """Whether the replay ratio asks for one more update."""
        if len(self.replay) == 0:
            return False
        learned = self.decisions - self.settings.warmup_decisions
        return self.updates * self.settings.batch_size < learned * self.settings.replay_ratio

    def discounts(self, elapsed_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Discount of decisions that lasted `elapsed_s`, shape (E,) -> (E,)."""
        decay: NDArray[np.float64] = np.exp(-self.settings.discount_rate_per_s * elapsed_s)
        return self.settings.discount_per_decision * decay

    @property
    def exploration(self) -> float:
        """Share of random actions by now."""
        s = self.settings
        done = self.decisions / max(s.exploration_fraction * self.budget, 1)
        return s.exploration_start + min(done, 1.0) * (s.exploration_end - s.exploration_start)

    @property
    def learning_rate(self) -> float:
        """Step size of the next update."""
        return self.settings.learning_rate_at(self.decisions, self.budget)

    @property
    def router(self) -> Router:
        """The network with averaged weights, guarded or not."""
        if self.guarded is not None and self.settings.guarded:
            return self.guarded
        return self.average

    def validate(self) -> float:
        """Score of the router on the validation episodes; they pick its caution, if it has one."""
        if self.guarded is not None and self.settings.guarded:
            return pick_caution(self.guarded, (self.env.config,), self.settings)
        return validate(self.average, (self.env.config,), self.settings)

    def snapshot(self) -> Snapshot:
        """Everything that a checkpoint needs."""
        arrays = prefixed("replay", self.replay.arrays())
        arrays |= prefixed("experience", self.experience.arrays())
        arrays |= prefixed("env", self.env.snapshot().named)
        tensors = moments_of(self.optimizer)
        for name in NETWORKS:
            tensors |= prefixed(name, getattr(self, name).state_dict())
        generators = {name: getattr(self, name).bit_generator.state for name in GENERATORS}
        counts = {"decisions": self.decisions, "updates": self.updates}
        return Snapshot(tensors, arrays, counts | generators)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from the snapshot of a learner with the same settings."""
        self.replay.restore(chosen(snapshot.arrays, "replay"))
        self.experience.restore(chosen(snapshot.arrays, "experience"))
        self.observations = self.env.restore(State.of_named(chosen(snapshot.arrays, "env")))
        for name in NETWORKS:
            getattr(self, name).load_state_dict(chosen(snapshot.tensors, name))
        restore_moments(self.optimizer, snapshot.tensors)
        for name in GENERATORS:
            getattr(self, name).bit_generator.state = snapshot.numbers[name]
        self.decisions, self.updates = snapshot.numbers["decisions"], snapshot.numbers["updates"]


def mean_peak(config: EnvConfig) -> float:
    """Utility of a request that the largest model serves in time, averaged over tasks."""
    by_class = config.utility[:, :, config.models.index(config.largest_model)].mean(axis=1)
    return float(config.class_shares @ by_class)


def finished(env: LLMRouteVectorEnv, infos: dict[str, Any]) -> list[dict[str, Any]]:
    """Summaries of the episodes that ended in a step."""
    ended = np.flatnonzero(infos.get("_final_info", ()))
    return [env.simulation.final_summary(int(e)) for e in ended]
