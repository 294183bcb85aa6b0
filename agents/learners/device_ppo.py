"""PPO (Schulman et al. 2017) that collects and learns on a device: envs, rollouts, networks.

Read `DevicePPO.iterate` first: collect, release, learn. It is `ppo` of Stable-Baselines3 with its
settings. Two things differ: decisions whose reward is not known yet wait for a later round
(device_rollouts.py), so that `look_ahead_steps` decides nothing; and actions that lead to no host
are never taken, which there has to be learned.

Validation runs on the CPU, as it does for all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from agents.learners.device_experience import stepped
from agents.learners.device_rollouts import Decisions, DeviceRollouts
from agents.learners.device_training import discounts_of, place_of, refuse_to_resume, to_look_at
from agents.learners.validation import validate
from agents.routers.logits import LEAST_LOGIT, router_of_logits
from agents.routers.networks import QNetwork
from agents.runs.checkpoint import Snapshot
from agents.settings.sb3 import OnPolicySettings
from llmroute_env.cuda.vector_env import LLMRouteCudaVectorEnv

NETWORKS = ("policy", "critic")
HIDDEN_GAIN, POLICY_GAIN, VALUE_GAIN = 2**0.5, 0.01, 1.0
"""Of orthogonal initial weights: every action is about as likely at first."""


class Learning(NamedTuple):
    """Statistics of a minibatch, as tensors without a shape, so that nobody waits for them."""

    policy_loss: Tensor
    value_loss: Tensor
    entropy: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor


NAMES = ("loss/policy", "loss/value", "train/entropy", "train/approx_kl", "train/clip_fraction")
"""Those of Learning, for TensorBoard."""


class DevicePPO:
    """A learner (learners.learner.Learner) whose numbers stay on the device.

    Attributes:
        device: of the networks.
        decisions: simulated since the beginning.
        episodes: summaries of the episodes that ended in the last step of a round; whoever reads
            them clears the list.
    """

    def __init__(
        self, settings: OnPolicySettings, env: LLMRouteCudaVectorEnv, budget: int, seed: int
    ) -> None:
        """Prepare to learn in `env`, which logs what ends, for `budget` decisions."""
        self.settings, self.env, self.budget = settings, env, budget
        self.device = place_of(env)
        columns, s = env.config.layout.width, settings
        seeds = np.random.SeedSequence(seed).generate_state(4)
        self.policy = QNetwork(columns, s.hidden, env.config.actions, False, int(seeds[0]))
        self.critic = QNetwork(columns, s.hidden, 1, False, int(seeds[1]))
        for name, gain in zip(NETWORKS, (POLICY_GAIN, VALUE_GAIN), strict=True):
            begin_orthogonal(getattr(self, name), gain, int(seeds[0]))
            getattr(self, name).to(self.device)
        self.parameters = [*self.policy.parameters(), *self.critic.parameters()]
        # As SB3 has it.
        self.optimizer = torch.optim.Adam(self.parameters, eps=1e-5, fused=True)
        self.hosted = env.simulation.tile.hosted_actions()
        self.closed = torch.from_numpy(~self.hosted).to(self.device)
        self.chance = torch.Generator(self.device).manual_seed(int(seeds[2]))
        self.rollouts = DeviceRollouts(
            s.envs, columns, s.reward_centre, s.reward_scale, self.device
        )
        self.observations = torch.as_tensor(env.reset(seed=int(seeds[3]))[0])
        self.episodes: list[dict[str, Any]] = []
        self.decisions = 0

    def iterate(self) -> dict[str, float]:
        """One round: collect, release, learn; returns what TensorBoard shows."""
        for _ in range(self.settings.collect_steps):
            self.collect()
        self.decisions += self.settings.collect_steps * self.settings.envs
        self.episodes += self.env.final_summaries().values()
        found = self.rollouts.release(self.settings.trace_decay)
        rate = self.settings.learning_rate_at(self.decisions, self.budget)
        self.optimizer.param_groups[0]["lr"] = rate
        scalars = {"train/learning_rate": rate}
        # Advantages are compared with each other, for which it takes two.
        return scalars | self.learn(found) if len(found.actions) > 1 else scalars

    def collect(self) -> None:
        """One step of every env: act and store."""
        # The step overwrites what the last one told.
        seen, s = self.observations.clone(), self.settings
        with torch.no_grad():
            logs, values = self.log_probabilities(seen), self.critic(seen)[:, 0]
            drawn = logs.exp().multinomial(1, generator=self.chance)
            told = logs.gather(1, drawn)[:, 0], values
        actions = drawn[:, 0]
        step, elapsed_s = stepped(self.env, actions)
        discounts = discounts_of(s, elapsed_s)
        self.rollouts.store(seen, actions, told, discounts, step, s.credit == "decision")
        self.observations = step.next_observations

    def log_probabilities(self, observations: Tensor) -> Tensor:
        """Of all actions, (B, F) -> (B, actions); about LEAST_LOGIT of those without a host."""
        logits: Tensor = self.policy(observations)
        return logits.masked_fill(self.closed, LEAST_LOGIT).log_softmax(1)

    def learn(self, found: Decisions) -> dict[str, float]:
        """Learn `uses` times from every decision, in minibatches; means over these."""
        count, told = len(found.actions), []
        for _ in range(self.settings.uses):
            order: Any = torch.randperm(count, generator=self.chance, device=self.device)
            for chosen in order.split(self.settings.batch_size):
                if len(chosen) > 1:
                    told.append(self.update(found.some(chosen)))
        explained = 1 - (found.returns - found.values).var() / found.returns.var()
        means = (torch.stack(column).mean().item() for column in zip(*told, strict=True))
        scalars = dict(zip(NAMES, means, strict=True))
        return scalars | {"train/explained_variance": explained.item()}

    def update(self, batch: Decisions) -> Learning:
        """One gradient step of both networks."""
        s = self.settings
        logs = self.log_probabilities(batch.observations)
        change = logs.gather(1, batch.actions[:, None])[:, 0] - batch.log_probabilities
        ratio = change.exp()
        advantages = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + 1e-8)
        clipped = ratio.clamp(1 - s.clip_range, 1 + s.clip_range)
        policy_loss = -torch.minimum(advantages * ratio, advantages * clipped).mean()
        value_loss = mse_loss(self.critic(batch.observations)[:, 0], batch.returns)
        entropy = -(logs.exp() * logs).sum(1).mean()
        loss: Any = policy_loss + s.value_weight * value_loss - s.entropy_weight * entropy
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, s.largest_gradient)
        self.optimizer.step()
        kl = (ratio - 1 - change).mean()
        outside = ((ratio - 1).abs() > s.clip_range).float().mean()
        return Learning(*(t.detach() for t in (policy_loss, value_loss, entropy, kl, outside)))

    @property
    def router(self) -> QNetwork:
        """What the policy does when it does not explore, on the CPU."""
        return router_of_logits(self.policy.linear, self.hosted)

    def validate(self) -> float:
        """Score of the router on the validation episodes."""
        return validate(self.router, (self.env.config,), self.settings)

    def snapshot(self) -> Snapshot:
        """Networks and the count of decisions: enough to look at, not to go on."""
        networks = {name: getattr(self, name) for name in NETWORKS}
        return to_look_at(self.optimizer, networks, {"decisions": self.decisions})

    def restore(self, snapshot: Snapshot) -> None:
        """Refuse: what a device holds is not kept."""
        refuse_to_resume()


def begin_orthogonal(network: QNetwork, last_gain: float, seed: int) -> None:
    """Orthogonal weights, and no biases, as SB3's policies begin."""
    generator = torch.Generator().manual_seed(seed)
    gains = [*[HIDDEN_GAIN] * (len(network.linear) - 1), last_gain]
    for layer, gain in zip(network.linear, gains, strict=True):
        nn.init.orthogonal_(layer.weight, gain, generator=generator)
        nn.init.zeros_(layer.bias)
