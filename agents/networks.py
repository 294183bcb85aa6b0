"""Q-networks: a multilayer perceptron, its dueling form, and one that overrules a heuristic."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def perceptron(sizes: list[int], generator: torch.Generator) -> nn.Sequential:
    """Linear layers of `sizes` with ReLU between them, He-initialised from `generator`."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        # Skipping torch's own initialisation keeps the global generator untouched.
        layer = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
        nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)
        bound = inputs**-0.5
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class QNetwork(nn.Module):
    """The value of every action.

    With `dueling` (Wang et al. 2016) the last layer has one more output, the value of the state;
    the others are advantages, centred per state, so that what all actions share is learned once.
    """

    def __init__(
        self,
        columns: int,
        hidden: tuple[int, ...],
        actions: int,
        dueling: bool,
        seed: int,
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.dueling = dueling
        self.body = perceptron([columns, *hidden, actions + dueling], generator)

    def forward(self, observations: Tensor) -> Tensor:
        """Q values, shape (B, F) -> (B, actions)."""
        outputs: Tensor = self.body(observations)
        if not self.dueling:
            return outputs
        value, advantages = outputs[:, :1], outputs[:, 1:]
        return value + advantages - advantages.mean(dim=1, keepdim=True)

    def greedy(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """The most valuable action of every row.

        In NumPy, on the memory of the weights: for few rows torch takes several times as long.
        """
        outputs = observations
        for layer in self.body:
            if isinstance(layer, nn.Linear):
                weights, biases = layer.weight.detach().numpy(), layer.bias.detach().numpy()
                outputs = outputs @ weights.T + biases
            else:
                outputs = np.maximum(outputs, 0.0)
        # The value of the state, which a dueling network puts first, is the same for all actions.
        actions: NDArray[np.int64] = outputs[:, int(self.dueling) :].argmax(axis=1)
        return actions


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
