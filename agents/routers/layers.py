"""Layers that networks are made of, initialised from a generator of their own."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.compiled.layers import Layer


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer, He-initialised from `generator`."""
    # Skipping torch's own initialisation keeps the global generator untouched.
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
    nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)
    bound = inputs**-0.5
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


def perceptron(sizes: list[int], generator: torch.Generator) -> nn.Sequential:
    """Linear layers of `sizes` with ReLU between them, He-initialised from `generator`."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [linear(inputs, outputs, generator), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Views:
    """Weights and biases of linear layers as NumPy and compiled code have them.

    They are on the memory of the parameters. Making them takes a while, so they are kept.
    """

    def __init__(self, linear: tuple[nn.Linear, ...], skipped: int = 0) -> None:
        """Of the last layer the first `skipped` outputs are left out."""
        self.linear, self.skipped = linear, skipped
        self.known: list[Layer] = []
        self.memory: list[int] = []

    def current(self) -> list[Layer]:
        """Those of the parameters as they are now."""
        parameters = [p for layer in self.linear for p in (layer.weight, layer.bias)]
        memory = [parameter.data_ptr() for parameter in parameters]
        if memory != self.memory:
            arrays = [parameter.detach().numpy() for parameter in parameters]
            *before, (weights, biases) = zip((w.T for w in arrays[::2]), arrays[1::2], strict=True)
            self.known = [*before, (weights[:, self.skipped :], biases[self.skipped :])]
            self.memory = memory
        return self.known

    def __getstate__(self) -> dict[str, Any]:
        """For copies, whose layers have memory of their own."""
        return self.__dict__ | {"memory": [], "known": []}


class Attention(nn.Module):
    """What every row sees of all rows, added to it.

    Scaled dot-product attention of one head (Vaswani et al. 2017) without positions: rows that
    change places change places in what comes out, and there may be any number of them. At first it
    adds nothing.
    """

    def __init__(self, width: int, entries: int, generator: torch.Generator) -> None:
        """Over rows of `width`; queries, keys and values have so many `entries`."""
        super().__init__()
        self.projection = linear(width, 3 * entries, generator)
        self.joining = linear(entries, width, generator)
        nn.init.zeros_(self.joining.weight)
        nn.init.zeros_(self.joining.bias)
        self.views = Views((self.projection, self.joining))

    def forward(self, rows: Tensor) -> Tensor:
        """Rows after attention, shape (B, R, W) -> (B, R, W)."""
        queries, keys, values = self.projection(rows).chunk(3, dim=2)
        scores = queries @ keys.transpose(1, 2) * self.joining.in_features**-0.5
        seen: Tensor = self.joining(scores.softmax(dim=2) @ values)
        return rows + seen

    def layers(self) -> list[Layer]:
        """Weights and biases: to queries, keys and values, and of what is added."""
        return self.views.current()


def attended(rows: NDArray[np.float32], projection: Layer, joining: Layer) -> NDArray[np.float32]:
    """As Attention in NumPy, by its layers."""
    queries, keys, values = np.split(rows @ projection[0] + projection[1], 3, axis=2)
    scores = queries @ keys.transpose(0, 2, 1) * np.float32(queries.shape[2] ** -0.5)
    shares = np.exp(scores - scores.max(axis=2, keepdims=True))
    shares /= shares.sum(axis=2, keepdims=True)
    after: NDArray[np.float32] = rows + (shares @ values @ joining[0] + joining[1])
    return after
