"""Rollout policy iteration: try every action from visited states, learn what differs.

Lagoudakis and Parr (2003) and Lazaric, Ghavamzadeh and Munos (2010, direct policy iteration) with
regression in place of classification. The base policy is the tuned heuristic. From states that it,
and later the router itself, visit on the training arrivals, the most promising actions are tried
and the base policy followed for a while under the same true future. A network learns the values,
centred per state. Learning is supervised: no bootstrapping, and no noise from the number of
arrivals, which is common to all actions. The heuristic is overruled only where the promised gain
exceeds a caution that validation picks, so the router starts at the heuristic's level and is never
kept below it. Several environments may be learned in together, by one network.

Read `RolloutIteration.iterate` first: visit, try, learn. Numbers: `agents.settings.own`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.compiled.making import COMPILED
from agents.compiled.policies import CompiledPolicy
from agents.compiled.rollouts import UNLIMITED
from agents.heuristics.tuning import Choice, guards_in, setting_scores
from agents.learners.grounds import Ground, by_gpus, make_grounds, make_memories
from agents.learners.validation import pick_caution
from agents.routers.build import compiled_router, guard, network_inputs, q_network
from agents.routers.networks import QNetwork, Router, follow, moments_of, restore_moments
from agents.runs.checkpoint import Snapshot, chosen, prefixed
from agents.settings.own import RolloutSettings
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.state import State

GENERATORS = ("visiting", "sampling")


class RolloutIteration:
    """The learner: the states tried so far and the network that generalises from them.

    Attributes:
        updates: counted since the beginning.
        episodes: summaries of finished episodes; whoever reads them clears the list.
        visitor: the best router so far, which visits states besides the heuristic.
        grounds: where states are visited: the environments, and the same at higher loads.
        memories: of their states, and inputs: what the network reads of them; both by the number
            of GPUs, which the width of an observation depends on.
    """

    def __init__(
        self,
        settings: RolloutSettings,
        configs: Sequence[EnvConfig],
        budget: int,
        seed: int,
        keeps_budget: bool = False,
        teachers: Sequence[QNetwork] = (),
    ) -> None:
        """Prepare to learn in all of `configs`, which host the same models, for `budget` decisions.

        The router is made for the first of them. The last round is finished, whatever it takes,
        unless it `keeps_budget`. With `teachers` nothing is tried: what they say in the mean is
        learned (distillation: Hinton et al. 2015; of policies, Rusu et al. 2016).
        """
        self.settings, self.configs, self.budget = settings, tuple(configs), budget
        seeds = np.random.SeedSequence(seed).generate_state(3 + 2 * len(configs))
        first = configs[0]
        scores = [setting_scores(guards_in(config), config) for config in configs]
        self.grounds = make_grounds(settings, configs, scores, seeds[3:], teachers)
        name, setting = best_in_all(scores)
        usual = COMPILED[name](first, setting)
        self.network, average, visitor = (
            q_network(first, settings.hidden, seed=int(seeds[0]), attention=settings.attention)
            for _ in range(3)
        )
        self.average, self.visitor = (
            guard(n, first, usual, settings.tries) for n in (average, visitor)
        )
        self.optimizer = torch.optim.Adam(self.network.parameters(), fused=True)
        self.visiting, self.sampling = (np.random.default_rng(s) for s in seeds[1:3])
        self.memories = make_memories(settings.capacity, self.grounds)
        self.inputs = {
            gpus: torch.from_numpy(network_inputs(self.network, ground.config))
            for gpus, ground in by_gpus(self.grounds).items()
        }
        self.most = budget if keeps_budget else UNLIMITED
        self.episodes: list[dict[str, Any]] = []
        self.updates = 0
        self.best_score = 0.0

    @property
    def decisions(self) -> int:
        """Simulated since the beginning; rollouts count."""
        return sum(ground.decisions for ground in self.grounds)

    @property
    def states(self) -> int:
        """Tried since the beginning."""
        return sum(memory.states for memory in self.memories.values())

    def iterate(self) -> dict[str, float]:
        """One round: visit and try states, learn; returns what TensorBoard shows."""
        follows_router = self.visiting.random() < self.settings.on_policy_share
        behaviours = [self.behaviour(ground, follows_router) for ground in self.grounds]
        visits = len(self.grounds) * self.grounds[0].envs
        for _ in range(-(-self.settings.states_per_round // visits)):
            for waiting, ground in zip(range(len(self.grounds), 0, -1), self.grounds, strict=True):
                # What is left is shared by those that wait for their turn, so that all have one.
                most = -(-(self.most - self.decisions) // waiting)
                tried = ground.visit(behaviours[-waiting], self.visiting, most)
                self.memories[ground.config.gpus].remember(tried)
                self.episodes += ground.finished()
        scalars: dict[str, float] = {}
        while self.updates * self.settings.batch_size < self.states * self.settings.uses_per_state:
            scalars = self.learn()
        return scalars | {"train/states": self.states}

    def behaviour(self, ground: Ground, follows_router: bool) -> CompiledPolicy:
        """Who visits states in this round."""
        return compiled_router(self.visitor, ground.config) if follows_router else ground.base

    def learn(self) -> dict[str, float]:
        """One gradient step towards the centred values."""
        output, error = self._errors()
        loss = torch.nn.functional.huber_loss(
            error, torch.zeros_like(error), delta=self.settings.huber_delta
        )
        self.optimizer.param_groups[0]["lr"] = self.learning_rate
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.updates += 1
        follow(self.average.network, self.network, self.settings.average_rate)
        return {
            "q/mean": output.mean().item(),
            "q/max": output.max().item(),
            "q/error": error.abs().mean().item(),
            "loss/values": loss.item(),
        }

    def _errors(self) -> tuple[Tensor, Tensor]:
        """What the network says of sampled states, and how far its centred values are off."""
        known = sum(len(memory) for memory in self.memories.values())
        outputs, errors = [], []
        for gpus, memory in self.memories.items():
            if len(memory) == 0:
                continue
            share = round(self.settings.batch_size * len(memory) / known)
            picks = self.sampling.integers(len(memory), size=share)
            rows, values = (
                torch.from_numpy(a[picks]) for a in (memory.observations, memory.values)
            )
            found = self.network(rows, self.inputs[gpus])
            outputs.append(found.flatten())
            errors.append((found - found.mean(dim=1, keepdim=True) - values).flatten())
        return torch.cat(outputs), torch.cat(errors)

    @property
    def learning_rate(self) -> float:
        """Step size of the next update."""
        return self.settings.learning_rate_at(self.decisions, self.budget)

    @property
    def router(self) -> Router:
        """The guarded network with averaged weights and the caution that validation picked."""
        return self.average

    def validate(self) -> float:
        """Pick the caution; the best router so far visits states from now on."""
        score = pick_caution(self.average, self.configs, self.settings)
        if score > self.best_score:
            self.best_score = score
            self.visitor.load_state_dict(self.average.state_dict())
        return score

    def snapshot(self) -> Snapshot:
        """Everything that a checkpoint needs."""
        arrays: dict[str, NDArray[Any]] = {}
        for number, ground in enumerate(self.grounds):
            arrays |= prefixed(f"env{number}", ground.simulation.snapshot().named)
        for gpus, memory in self.memories.items():
            arrays |= prefixed(f"memory{gpus}", memory.arrays())
        tensors = moments_of(self.optimizer)
        for name in ("network", "average", "visitor"):
            tensors |= prefixed(name, getattr(self, name).state_dict())
        numbers = {name: getattr(self, name).bit_generator.state for name in GENERATORS}
        numbers["decisions"] = [ground.decisions for ground in self.grounds]
        for name in ("updates", "best_score"):
            numbers[name] = getattr(self, name)
        return Snapshot(tensors, arrays, numbers)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from the snapshot of a learner with the same settings."""
        for number, ground in enumerate(self.grounds):
            ground.simulation.restore(State.of_named(chosen(snapshot.arrays, f"env{number}")))
            ground.decisions = snapshot.numbers["decisions"][number]
        for gpus, memory in self.memories.items():
            memory.restore(chosen(snapshot.arrays, f"memory{gpus}"))
        for name in ("network", "average", "visitor"):
            getattr(self, name).load_state_dict(chosen(snapshot.tensors, name))
        restore_moments(self.optimizer, snapshot.tensors)
        for name in GENERATORS:
            getattr(self, name).bit_generator.state = snapshot.numbers[name]
        for name in ("updates", "best_score"):
            setattr(self, name, snapshot.numbers[name])


def best_in_all(scores: Sequence[Mapping[Choice, float]]) -> Choice:
    """The heuristic and setting that earn most over all environments together."""
    common = set.intersection(*map(set, scores))
    # In the order of the first, so that of equals the first is taken.
    choices = [choice for choice in scores[0] if choice in common]
    return max(choices, key=lambda choice: sum(own[choice] for own in scores))
