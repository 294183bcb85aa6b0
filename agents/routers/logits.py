"""From the layers of a policy, whose outputs are logits, to the router that takes the largest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.routers.networks import QNetwork

LEAST_LOGIT = -1e9
"""Of an action that leads to no host, whatever the observation."""


def router_of_logits(layers: Sequence[nn.Linear], hosted: NDArray[np.bool_]) -> QNetwork:
    """The network, on the CPU, whose largest output is the action that `layers` prefer.

    `hosted`, shape (actions,), is False for actions that lead to no GPU with the model.
    """
    columns, hidden = layers[0].in_features, tuple(layer.out_features for layer in layers[:-1])
    router = QNetwork(columns, hidden, len(hosted), dueling=False, seed=0)
    tensors = preferring(layers, hosted)
    router.load_state_dict(dict(zip(router.state_dict(), tensors, strict=True)))
    return router


def preferring(layers: Sequence[nn.Linear], hosted: NDArray[np.bool_]) -> list[Tensor]:
    """Weights and biases of `layers`, of which the last has one output for every action."""
    weight, bias = layers[-1].weight.detach(), layers[-1].bias.detach()
    # QR-DQN has one output per quantile and action and acts on the mean of the quantiles.
    weight = weight.reshape(-1, len(hosted), weight.shape[1]).mean(dim=0)
    bias = bias.reshape(-1, len(hosted)).mean(dim=0)
    # Nothing but the bias may decide about these.
    closed = torch.from_numpy(~hosted).to(weight.device)
    weight[closed], bias[closed] = 0.0, LEAST_LOGIT
    before = [t.detach() for layer in layers[:-1] for t in (layer.weight, layer.bias)]
    return [*before, weight, bias]
