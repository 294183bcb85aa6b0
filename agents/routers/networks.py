"""Q-networks: a multilayer perceptron, its dueling form, and one that overrules a heuristic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.compiled.layers import Layer
from agents.compiled.networks import tie_of
from agents.compiled.rules import Limits, PairRule, Price, leave_out_of_rows
from agents.heuristics.models import feasible
from agents.heuristics.pairs import choose_pairs
from agents.routers.layers import Attention, Views, attended, perceptron


class QNetwork(nn.Module):
    """The value of every action.

    With `dueling` (Wang et al. 2016) the last layer has one more output, the value of the state;
    the others are advantages, centred per state, so that what all actions share is learned once.

    The same layers serve every row of `inputs` (pairs.gpu_inputs): what is learned of one GPU holds
    for all, and for any number of them. With one row they see the whole observation at once. With
    `attention` (layers.Attention) rows see each other after the first hidden layer.
    """

    inputs: Tensor

    def __init__(
        self,
        inputs: NDArray[np.int64] | int,
        hidden: tuple[int, ...],
        models: int,
        dueling: bool,
        seed: int,
        attention: int = 0,
    ) -> None:
        """`inputs`, shape (R, I), are columns for each GPU, or there are so many, all read at once.

        There are R x `models` actions. `attention`: entries of its queries, 0 for none.
        """
        super().__init__()
        self.reads_gpus = not isinstance(inputs, int)
        if isinstance(inputs, int):
            inputs = np.arange(inputs)[None]
        generator = torch.Generator().manual_seed(seed)
        self.dueling, self.tie = dueling, tie_of(len(inputs))
        self.register_buffer("inputs", torch.tensor(inputs), persistent=False)
        self.body = perceptron([inputs.shape[1], *hidden, models + dueling], generator)
        self.linear = tuple(layer for layer in self.body if isinstance(layer, nn.Linear))
        # After the body, whose draws are the same with and without it.
        self.attention = Attention(hidden[0], attention, generator) if attention > 0 else None
        self.views = Views(self.linear, skipped=int(dueling))

    def forward(self, observations: Tensor, inputs: Tensor | None = None) -> Tensor:
        """Q values, shape (B, F) -> (B, actions).

        `inputs` are those for another number of GPUs.
        """
        inputs = self.inputs if inputs is None else inputs
        outputs: Tensor = observations[:, inputs]
        for number, layer in enumerate(self.body):
            outputs = layer(outputs)
            if number == 1 and self.attention is not None:
                outputs = self.attention(outputs)
        if not self.dueling:
            return outputs.flatten(1)
        value, advantages = outputs[:, :, 0].mean(dim=1), outputs[:, :, 1:].flatten(1)
        return value[:, None] + advantages - advantages.mean(dim=1, keepdim=True)

    @property
    def columns(self) -> int:
        """How many columns an observation must have."""
        return int(self.inputs.numpy().max()) + 1

    @property
    def actions(self) -> int:
        """How many actions it gives a value to."""
        weights, _ = self.layers()[-1]
        return len(self.inputs) * int(weights.shape[1])

    def layers(self) -> list[Layer]:
        """Weights and biases of every layer, on the memory of the parameters.

        The value of a state, which a dueling network puts first, is left out: it is the same for
        all actions.
        """
        return self.views.current()

    def preferences(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values of the actions up to what is common to all, shape (B, F) -> (B, actions).

        In NumPy: for few rows torch takes several times as long.
        """
        *hidden, (weights, biases) = self.layers()
        outputs = observations[:, self.inputs.numpy()]
        for number, (hidden_weights, hidden_biases) in enumerate(hidden):
            outputs = np.maximum(outputs @ hidden_weights + hidden_biases, 0.0)
            if number == 0 and self.attention is not None:
                outputs = attended(outputs, *self.attention.layers())
        values: NDArray[np.float32] = outputs @ weights + biases
        return values.reshape(len(observations), -1)

    def greedy(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """The most valuable action of every row."""
        return self.best(self.preferences(observations))

    def best(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """The largest of every row; of those that tie with it, the first."""
        largest = values.max(axis=1, keepdims=True)
        actions: NDArray[np.int64] = (values >= largest - self.tie).argmax(axis=1)
        return actions


class Guard(nn.Module):
    """A heuristic, overruled where a Q-network promises more than `caution` by it.

    With infinite caution it is the heuristic, with none the network. Where the feature `fast_rate`
    is above `busiest` it is the heuristic as well. Of pairs only the `tries` that the heuristic
    values most are taken, any if it is 0.
    """

    caution: Tensor
    busiest: Tensor
    rate: int | Tensor
    tries = 0

    def __init__(self, network: QNetwork) -> None:
        """Begin as the heuristic."""
        super().__init__()
        self.network = network
        self.register_buffer("caution", torch.tensor(torch.inf))
        self.register_buffer("busiest", torch.tensor(torch.inf))

    def greedy(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """The action for every row."""
        usual, values = self.consider(observations)
        rows, best = np.arange(len(values)), self.network.best(values)
        gain = values[rows, best] - values[rows, usual]
        overrules = gain > float(self.caution) + self.network.tie
        rate = int(self.rate)
        if rate >= 0:
            overrules &= observations[:, rate] <= np.float32(self.busiest)
        return np.where(overrules, best, usual)

    def consider(
        self, observations: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """What the heuristic does, and the values of the actions; -inf where one is not taken."""
        return self.usual(observations), self.network.preferences(observations)

    def usual(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """What the heuristic does."""
        raise NotImplementedError


class GuardedNetwork(Guard):
    """Largest-feasible and a network over models."""

    margin: Tensor
    slack: Tensor
    rate: Tensor
    order: Tensor

    def __init__(
        self, network: QNetwork, margin: float, slack: int, rate: int, order: list[int]
    ) -> None:
        """`slack` and `rate`: first columns of the features `slack` and `fast_rate`, or -1."""
        super().__init__(network)
        self.register_buffer("margin", torch.tensor(margin, dtype=torch.float32))
        self.register_buffer("slack", torch.tensor(slack))
        self.register_buffer("rate", torch.tensor(rate))
        self.register_buffer("order", torch.tensor(order))

    def usual(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """What the heuristic does: heuristics.models.LargestFeasible."""
        return feasible(observations, int(self.slack), float(self.margin), self.order.numpy())


class GuardedPairs(Guard):
    """A rule over pairs and a network over pairs."""

    price: Tensor
    growth: Tensor
    accuracy: Tensor
    held_s: Tensor
    per_s: Tensor
    order: Tensor
    least_slack: Tensor

    def __init__(self, network: QNetwork, rule: PairRule, tries: int = 0) -> None:
        """`rule` is the heuristic: priced-pair or steep-pair, or has limits."""
        super().__init__(network)
        columns, utility, price, limits = rule
        self.tries, self.rate, self.columns = tries, columns.rate, columns
        self.register_buffer("price", torch.tensor(price.at_load_1, dtype=torch.float64))
        self.register_buffer("growth", torch.tensor(price.growth, dtype=torch.float64))
        # Under its name in files that hold weights from before there were classes of users.
        self.register_buffer("accuracy", torch.tensor(utility))
        self.limit(limits)

    def limit(self, limits: Limits) -> None:
        """Let the rule be that of `limits`, if there are any."""
        # Files that hold the weights of others know nothing of them.
        holds, are_there = limits.held_s > 0, len(limits.order) > 0
        held_s = torch.tensor(limits.held_s, dtype=torch.float64)
        margin = torch.tensor(limits.margin, dtype=torch.float64)
        self.register_buffer("held_s", held_s, persistent=holds)
        self.register_buffer("per_s", torch.tensor(limits.per_s), persistent=holds)
        self.register_buffer("order", torch.tensor(limits.order), persistent=are_there)
        self.register_buffer("least_slack", margin, persistent=are_there and not holds)

    def consider(
        self, observations: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """What the heuristic does, and the values of the pairs that it values most."""
        usual, worths = self.choose(observations)
        values = self.network.preferences(observations)
        if self.tries > 0:
            leave_out_of_rows(values, worths, self.tries)
        return usual, values

    def usual(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """What the heuristic does: heuristics.pairs.BestPair."""
        return self.choose(observations)[0]

    def choose(
        self, observations: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The heuristic's action for every row, and what every pair is worth to it."""
        return choose_pairs(observations, self.rule)

    @property
    def rule(self) -> PairRule:
        """The heuristic."""
        price = Price(float(self.price), float(self.growth))
        per_s, order = self.per_s.numpy(), self.order.numpy()
        limits = Limits(float(self.held_s), per_s, order, float(self.least_slack))
        return PairRule(self.columns, self.accuracy.numpy(), price, limits)


Guarded = GuardedNetwork | GuardedPairs
Router = QNetwork | Guarded
"""A router to which the observation at hand is all there is."""


def follow(network: QNetwork, leader: QNetwork, rate: float) -> None:
    """Move the weights of `network` towards `leader`'s by the share `rate`; 1 copies them."""
    with torch.no_grad():
        torch._foreach_lerp_(list(network.parameters()), list(leader.parameters()), rate)


def moments_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimiser remembers of every parameter, by names for a checkpoint."""
    remembered = optimizer.state_dict()["state"].items()
    return {f"adam.{i}.{name}": t for i, moments in remembered for name, t in moments.items()}


def restore_moments(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Continue from `moments_of` an optimiser of the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam."):
            _, i, moment = name.split(".")
            state.setdefault(int(i), {})[moment] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
