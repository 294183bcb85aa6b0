"""Attention over GPUs as compiled code: exactly routers.layers.Attention up to rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.compiled.layers import Layer, add_row, copy_row, linear
from llmroute_env.dynamics.compiled import compiled


class Attention(NamedTuple):
    """What R rows of W hidden values see of each other, and where that is computed.

    Queries, keys and values have A entries. `weights` holds the layer from a row to its query, key
    and value and that from what a row sees to what is added to it, each its weights row by row and
    its biases; it is empty where rows do not see each other.
    """

    weights: NDArray[np.float32]
    hidden: NDArray[np.float32]  # (R, W)
    projected: NDArray[np.float32]  # (R, 3 A) queries, keys and values
    shares: NDArray[np.float32]  # (R,) of the rows in what one of them sees
    seen: NDArray[np.float32]  # (A,)


def attention_of(layers: Sequence[Layer], rows: int) -> Attention:
    """The attention of `layers`, two or none, over so many rows."""
    if not layers:
        layers, rows = ((np.zeros((0, 0), np.float32), np.zeros(0, np.float32)),) * 2, 0
    (projection, _), (joining, _) = layers
    flat = np.concatenate([part.ravel() for layer in layers for part in layer])
    return Attention(
        weights=flat.astype(np.float32, copy=False),
        hidden=np.zeros((rows, projection.shape[0]), np.float32),
        projected=np.zeros((rows, projection.shape[1]), np.float32),
        shares=np.zeros(rows, np.float32),
        seen=np.zeros(joining.shape[0], np.float32),
    )


NO_ATTENTION = attention_of((), 0)


@compiled
def keep_row(attention: Attention, r: int, hidden: NDArray[np.float32]) -> None:
    """Keep the hidden values of row `r`, with its query, key and value."""
    width, projected = attention.hidden.shape[1], attention.projected.shape[1]
    copy_row(attention.hidden[r], hidden, width)
    linear(attention.weights, hidden, width, projected, attention.projected[r])


@compiled
def keep_twin(attention: Attention, r: int, twin: int) -> None:
    """Keep for row `r` what is kept for `twin`."""
    copy_row(attention.hidden[r], attention.hidden[twin], attention.hidden.shape[1])
    copy_row(attention.projected[r], attention.projected[twin], attention.projected.shape[1])


@compiled
def look_around(attention: Attention, r: int, outputs: NDArray[np.float32]) -> None:
    """The hidden values of row `r` and what it sees of all rows that are kept."""
    width, entries = attention.hidden.shape[1], len(attention.seen)
    share_out(attention, r)
    for i in range(entries):
        attention.seen[i] = 0.0
    for row in range(len(attention.shares)):
        values = attention.projected[row, 2 * entries :]
        add_row(attention.seen, values, attention.shares[row], entries)
    joining = attention.weights[(width + 1) * attention.projected.shape[1] :]
    linear(joining, attention.seen, entries, width, outputs)
    for j in range(width):
        outputs[j] += attention.hidden[r, j]


@compiled
def share_out(attention: Attention, r: int) -> None:
    """How much each row has in what row `r` sees: the softmax of queries times keys."""
    entries, shares = len(attention.seen), attention.shares
    scale = np.float32(1.0 / math.sqrt(entries))
    largest, total = np.float32(-np.inf), np.float32(0.0)
    for row in range(len(shares)):
        score = np.float32(0.0)
        for i in range(entries):
            score += attention.projected[r, i] * attention.projected[row, entries + i]
        shares[row] = scale * score
        largest = max(largest, shares[row])
    for row in range(len(shares)):
        # Less the largest, beyond which there is no number.
        shares[row] = math.exp(shares[row] - largest)
        total += shares[row]
    for row in range(len(shares)):
        shares[row] /= total
