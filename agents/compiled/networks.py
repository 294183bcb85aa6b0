"""A multilayer perceptron as compiled code: exactly routers.networks.QNetwork up to rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.compiled.attention import (
    NO_ATTENTION,
    Attention,
    attention_of,
    keep_row,
    keep_twin,
    look_around,
)
from agents.compiled.layers import Layer, linear
from llmroute_env.dynamics.compiled import compiled

TIE = 1e-5
"""Values that differ by less are equal for a network that reads every GPU alike. GPUs often are in
the same state up to rounding, and the order of sums, other in every runtime, would choose."""


class Perceptron(NamedTuple):
    """Layers with ReLU between them, and where they compute.

    They are applied to every row of `inputs`, columns of the observation, and the outputs are
    joined: one row of all columns for a network that reads the whole observation at once, one row
    per GPU for one that reads what concerns that GPU. With attention, rows see each other after the
    first layer.

    `weights` holds the layers one after the other, each its weights row by row and its biases.
    """

    inputs: NDArray[np.int64]  # (R, I) columns of the observation
    sizes: NDArray[np.int64]  # (L + 1,) widths of the L layers, from I on
    weights: NDArray[np.float32]
    observation: NDArray[np.float32]  # (F,)
    scratch: NDArray[np.float32]  # (2, widest layer)
    outputs: NDArray[np.float32]  # (R x last width,)
    tie: np.float32
    attention: Attention


def perceptron(
    layers: Sequence[Layer],
    inputs: NDArray[np.int64],
    columns: int,
    attention: Sequence[Layer] = (),
) -> Perceptron:
    """The perceptron of `layers` on observations of `columns` columns."""
    sizes = np.array([len(layers[0][0])] + [len(biases) for _, biases in layers], np.int64)
    flat = np.concatenate([part.ravel() for layer in layers for part in layer])
    return Perceptron(
        inputs=np.ascontiguousarray(inputs, np.int64),
        sizes=sizes,
        weights=flat.astype(np.float32, copy=False),
        observation=np.zeros(columns, np.float32),
        scratch=np.zeros((2, int(sizes.max())), np.float32),
        outputs=np.zeros(len(inputs) * int(sizes[-1]), np.float32),
        tie=np.float32(tie_of(len(inputs))),
        attention=attention_of(attention, len(inputs)),
    )


def no_network(columns: int) -> Perceptron:
    """Only the place for an observation of `columns` columns."""
    return Perceptron(
        inputs=np.zeros((0, 0), np.int64),
        sizes=np.zeros(1, np.int64),
        weights=np.zeros(0, np.float32),
        observation=np.zeros(columns, np.float32),
        scratch=np.zeros((2, 1), np.float32),
        outputs=np.zeros(0, np.float32),
        tie=np.float32(0.0),
        attention=NO_ATTENTION,
    )


def tie_of(rows: int) -> float:
    """By how much values must differ to be different in a network with so many rows of inputs."""
    return TIE if rows > 1 else 0.0


@compiled
def evaluate(network: Perceptron) -> None:
    """Compute the outputs from the observation."""
    width, first = network.sizes[-1], int(len(network.attention.weights) > 0)
    if first > 0:
        keep_rows(network)
    for r in range(len(network.inputs)):
        twin = same_row(network, r)
        if twin >= 0:
            for k in range(width):
                network.outputs[r * width + k] = network.outputs[twin * width + k]
            continue
        if first > 0:
            look_around(network.attention, r, network.scratch[1])
        else:
            read_row(network, r)
        half = run_layers(network, first)
        for k in range(width):
            network.outputs[r * width + k] = network.scratch[half, k]


@compiled
def read_row(network: Perceptron, r: int) -> None:
    """The inputs of row `r`, into the first half of the scratch."""
    for i in range(network.sizes[0]):
        network.scratch[0, i] = network.observation[network.inputs[r, i]]


@compiled
def keep_rows(network: Perceptron) -> None:
    """What the first layer makes of every row, for all to see."""
    for r in range(len(network.inputs)):
        twin = same_row(network, r)
        if twin >= 0:
            keep_twin(network.attention, r, twin)
            continue
        read_row(network, r)
        forward(network, 0, 0, True)
        keep_row(network.attention, r, network.scratch[1])


@compiled
def largest_output(network: Perceptron) -> int:
    """The largest of the computed outputs; of those that tie with it, the first."""
    outputs = network.outputs
    best = 0
    for k in range(1, len(outputs)):
        if outputs[k] > outputs[best]:
            best = k
    for k in range(best):
        if outputs[k] >= outputs[best] - network.tie:
            return k
    return best


@compiled
def same_row(network: Perceptron, r: int) -> int:
    """An earlier row with the same inputs as `r`, or -1: idle GPUs often are alike."""
    for earlier in range(r):
        alike = True
        for i in range(network.sizes[0]):
            mine, other = network.inputs[r, i], network.inputs[earlier, i]
            if network.observation[mine] != network.observation[other]:
                alike = False
                break
        if alike:
            return earlier
    return -1


@compiled
def run_layers(network: Perceptron, first: int) -> int:
    """From layer `first` on, whose inputs are in the half of the scratch of its parity.

    Returns the half that holds the output.
    """
    layers = len(network.sizes) - 1
    start = 0
    for layer in range(layers):
        if layer >= first:
            forward(network, layer, start, layer < layers - 1)
        start += (network.sizes[layer] + 1) * network.sizes[layer + 1]
    return layers % 2


@compiled
def forward(network: Perceptron, layer: int, start: int, rectifies: bool) -> None:
    """One layer, from one half of the scratch to the other."""
    rows, columns = network.sizes[layer], network.sizes[layer + 1]
    inputs, outputs = network.scratch[layer % 2], network.scratch[(layer + 1) % 2]
    linear(network.weights[start:], inputs, rows, columns, outputs)
    if rectifies:
        for j in range(columns):
            outputs[j] = max(outputs[j], np.float32(0.0))
