"""Linear layers as compiled code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.compiled import compiled

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weights, shape (inputs, outputs), and biases, shape (outputs,)."""


@compiled
def linear(
    layer: NDArray[np.float32],
    inputs: NDArray[np.float32],
    rows: int,
    columns: int,
    outputs: NDArray[np.float32],
) -> None:
    """Of the first `rows` inputs the first `columns` outputs.

    `layer` begins with its weights, row by row, and its biases.
    """
    copy_row(outputs, layer[rows * columns :], columns)
    # Row by row, which vectorises: no sum has to be reordered.
    for i in range(rows):
        if inputs[i] != 0.0:
            add_row(outputs, layer[i * columns :], inputs[i], columns)


@compiled
def copy_row(target: NDArray[np.float32], row: NDArray[np.float32], columns: int) -> None:
    """The first `columns` entries of `row`."""
    for j in range(columns):
        target[j] = row[j]


@compiled
def add_row(
    target: NDArray[np.float32], row: NDArray[np.float32], factor: float, columns: int
) -> None:
    """Add `factor` times the first `columns` entries of `row`."""
    for j in range(columns):
        target[j] += factor * row[j]
