"""Double DQN that collects and learns on a device: envs, experience, replay and networks are there.

Validation runs on the CPU, as it does for all: what a router scores does not depend on where it was
trained.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from agents.learners.device_experience import DeviceExperience, DeviceReplay, stepped
from agents.learners.device_training import discounts_of, place_of, refuse_to_resume, to_look_at
from agents.learners.double_dqn import DoubleDQN
from agents.routers.networks import Guarded, GuardedNetwork, Router, follow
from agents.runs.checkpoint import Snapshot
from agents.settings.own import DoubleDQNSettings
from llmroute_env.cuda.vector_env import LLMRouteCudaVectorEnv
from llmroute_env.specs import require


class DeviceDQN(DoubleDQN):
    """DoubleDQN whose numbers never leave the device, but for the score and what TensorBoard shows.

    `average` is a copy on the CPU of the averaged weights, made when somebody asks for the router.
    """

    def __init__(
        self, settings: DoubleDQNSettings, env: LLMRouteCudaVectorEnv, budget: int, seed: int
    ) -> None:
        """Prepare to learn in `env` for `budget` decisions."""
        require(env.config.action == "model", "action", env.config.action, "'model' on a device")
        self.device = place_of(env)
        stay: Any = env
        super().__init__(settings, stay, budget, seed)
        self.following = self.average
        self.average = deepcopy(self.following).cpu()
        if self.guarded is not None:
            self.guarded.network = self.average
        self.chance = torch.Generator(self.device).manual_seed(seed)
        self.observations: Any = torch.as_tensor(self.observations)

    def _keep(self, columns: int, offset: float) -> None:
        s, place = self.settings, self.device
        self.replay: Any = DeviceReplay(s.replay_capacity, columns, place)
        self.experience: Any = DeviceExperience(s.envs, columns, s.n_step, offset, place)

    def collect(self) -> None:
        """One step of every env: act and store."""
        # The step overwrites what the last one told.
        seen = self.observations.clone()
        actions: Any = self.act()
        env: Any = self.env
        step, elapsed_s = stepped(env, actions)
        waits = self.settings.credit == "decision"
        self.experience.store(seen, actions, discounts_of(self.settings, elapsed_s), step, waits)
        self.observations = step.next_observations

    def iterate(self) -> dict[str, float]:
        """One round; summaries are those of the episodes that ended in its last step."""
        scalars = super().iterate()
        env: Any = self.env
        self.episodes += env.final_summaries().values()
        return scalars

    def act(self) -> Any:
        """Epsilon-greedy actions; in the first envs the heuristic takes the learner's place."""
        with torch.no_grad():
            actions = self.online(self.observations).argmax(1)
        if self.guarded is not None:
            shown = round(self.settings.demonstrators * len(actions))
            actions[:shown] = usual(self.guarded, self.observations[:shown])
        draws = torch.rand(len(actions), generator=self.chance, device=self.device)
        others = torch.randint(
            self.actions, (len(actions),), generator=self.chance, device=self.device
        )
        return torch.where(draws < self.exploration, others, actions)

    def sync(self) -> None:
        """Let the target and the averaged weights follow the online ones."""
        if self.updates % self.settings.target_period == 0:
            follow(self.target, self.online, self.settings.target_rate)
        follow(self.following, self.online, self.settings.average_rate)

    @property
    def router(self) -> Router:
        """The network with averaged weights, guarded or not, on the CPU."""
        self._fetch()
        return super().router

    def validate(self) -> float:
        """Score of the router on the validation episodes."""
        self._fetch()
        return super().validate()

    def _fetch(self) -> None:
        # The router is asked for at the very beginning too, before there is a copy.
        self.average.load_state_dict(self.following.state_dict())

    def snapshot(self) -> Snapshot:
        """Networks and counts: enough to look at, not to go on."""
        networks = {name: getattr(self, name) for name in ("online", "target", "following")}
        counts = {"decisions": self.decisions, "updates": self.updates}
        return to_look_at(self.optimizer, networks, counts)

    def restore(self, snapshot: Snapshot) -> None:
        """Refuse: what a device holds is not kept."""
        refuse_to_resume()


def usual(guarded: Guarded, observations: Tensor) -> Tensor:
    """What the heuristic of a guarded router over models does, (B, F) -> (B,)."""
    assert isinstance(guarded, GuardedNetwork)
    order = torch.as_tensor(guarded.order, device=observations.device)
    slacks = observations[:, guarded.slack + order]
    enough = slacks >= guarded.margin
    # Of those that are enough the first, else that with the most: argmax takes the first of equals.
    picks = torch.where(enough.any(1), enough.int().argmax(1), slacks.argmax(1))
    return order[picks]
