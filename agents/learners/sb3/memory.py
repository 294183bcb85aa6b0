"""What the LSTMs of a RecurrentPPO remember of every env, between two rounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from torch import Tensor


def states_of(model: RecurrentPPO) -> RNNStates:
    """Hidden and cell states of policy (`pi`) and critic (`vf`), each (layers, E, width)."""
    # Contrib says None, which it is only before there are envs.
    return cast(RNNStates, model._last_lstm_states)


def remembered(model: RecurrentPPO) -> dict[str, Tensor]:
    """The same by names, for a checkpoint."""
    return {
        f"{owner}.{part}": tensor
        for owner, states in states_of(model)._asdict().items()
        for part, tensor in zip(("hidden", "cell"), states, strict=True)
    }


def remember(model: RecurrentPPO, tensors: Mapping[str, Tensor]) -> None:
    """Continue from `remembered` of a model with the same settings."""
    pi, vf = ((tensors[f"{owner}.hidden"], tensors[f"{owner}.cell"]) for owner in ("pi", "vf"))
    cast(Any, model)._last_lstm_states = RNNStates(pi, vf)
