"""Q-networks: a plain multilayer perceptron, and its dueling form."""

from __future__ import annotations

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
        """The most valuable action of every row."""
        with torch.inference_mode():
            actions: NDArray[np.int64] = self(torch.from_numpy(observations)).argmax(dim=1).numpy()
        return actions


def follow(network: QNetwork, leader: QNetwork, rate: float) -> None:
    """Move the weights of `network` towards `leader`'s by the share `rate`; 1 copies them."""
    with torch.no_grad():
        torch._foreach_lerp_(list(network.parameters()), list(leader.parameters()), rate)
