"""The mean of several networks as one network, which everything that takes one takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from agents.routers.networks import QNetwork
from llmroute_env.specs import require

PERCEPTRON = "body."
"""What the names of all parameters of a network begin with that is a perceptron and no more."""


def mean_network(networks: Sequence[QNetwork]) -> QNetwork:
    """The network whose values are the means of those of `networks`, which read the same.

    Up to what all actions of a state have in common, as a dueling network's value of it.
    Perceptrons of one depth beside each other are one as wide as all of them together: blocks of
    weights on the diagonal and, in the last layer, which adds them up, their share of the mean.

    Raises:
        ConfigError: they are not perceptrons of one depth.
    """
    for network in networks:
        others = [name for name, _ in network.named_parameters() if not name.startswith(PERCEPTRON)]
        require(not others, "network", others, "multilayer perceptrons, in an ensemble")
    depths = [len(network.layers()) for network in networks]
    require(len(set(depths)) == 1, "layers", depths, "networks of one depth, in an ensemble")
    parts = [
        (
            [torch.from_numpy(w.T.copy()) for w in weights],
            [torch.from_numpy(b.copy()) for b in biases],
        )
        for weights, biases in (zip(*network.layers(), strict=True) for network in networks)
    ]
    weights = side_by_side([part[0] for part in parts])
    biases = [torch.cat(own) for own in zip(*(part[1] for part in parts), strict=True)]
    biases[-1] = torch.stack([part[1][-1] for part in parts]).mean(dim=0)
    return perceptron_of(networks[0], weights, biases)


def side_by_side(weights: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Weights (outputs, inputs) of each layer of the mean, from those of every network."""
    first, *middle, last = zip(*weights, strict=True)
    blocks = [torch.block_diag(*own) for own in middle]  # type: ignore[no-untyped-call]
    return [torch.cat(first), *blocks, torch.cat(last, dim=1) / len(weights)]


def perceptron_of(like: QNetwork, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> QNetwork:
    """A network that reads what `like` reads, with these layers."""
    hidden = tuple(len(own) for own in biases[:-1])
    inputs = like.inputs.numpy() if like.reads_gpus else like.columns
    network = QNetwork(inputs, hidden, len(biases[-1]), dueling=False, seed=0)
    linear = [layer for layer in network.body if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer, weight, bias in zip(linear, weights, biases, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return network
