"""A router that remembers: an LSTM over what has been observed since the episode began."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.base import Actions, Learned, Observations
from agents.routers.layers import perceptron
from agents.routers.networks import Router

Memory = tuple[Tensor, Tensor]
"""Hidden and cell states of an LSTM, each of shape (layers, B, width)."""


class RecurrentNetwork(nn.Module):
    """The preference for every action, by an observation and those before it.

    An LSTM and a multilayer perceptron on what it puts out: the actor of sb3-contrib's
    RecurrentPPO. It keeps no state: whoever asks holds the memory.
    """

    def __init__(
        self,
        columns: int,
        width: int,
        layers: int,
        hidden: tuple[int, ...],
        actions: int,
        seed: int = 0,
    ) -> None:
        """`layers` LSTMs of `width` on top of each other, then linear ones of `hidden`."""
        super().__init__()
        self.columns, self.actions = columns, actions
        # Built where nothing is drawn from torch's global generator.
        self.lstm = nn.LSTM(columns, width, layers, device="meta").to_empty(device="cpu")
        generator, bound = torch.Generator().manual_seed(seed), width**-0.5
        for weights in self.lstm.parameters():
            nn.init.uniform_(weights, -bound, bound, generator=generator)
        self.body = perceptron([width, *hidden, actions], generator)

    def fresh(self, rows: int) -> Memory:
        """What is remembered where `rows` episodes begin: nothing."""
        shape = self.lstm.num_layers, rows, self.lstm.hidden_size
        return torch.zeros(shape), torch.zeros(shape)

    def forward(self, observations: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Preferences, shape (B, F) -> (B, actions), and what is remembered after that."""
        outputs, memory = self.lstm(observations[None], memory)
        return self.body(outputs[0]), memory

    def preferences(
        self, observations: NDArray[np.float32], memory: Memory
    ) -> tuple[NDArray[np.float32], Memory]:
        """The same in NumPy; changes neither argument."""
        with torch.no_grad():
            values, memory = self(torch.from_numpy(observations), memory)
        preferred: NDArray[np.float32] = values.numpy()
        return preferred, memory


def forgotten(memory: Memory, begun: NDArray[np.bool_]) -> Memory:
    """`memory` without that of the rows in which an episode has `begun`, shape (B,)."""
    kept = torch.from_numpy(~begun).float()[:, None]
    return memory[0] * kept, memory[1] * kept


class RecurrentRouter(Learned):
    """A trained router that remembers: an Agent. Row e of its memory is that of env e.

    Whoever begins other episodes in the same envs says so by `forget`.
    """

    def __init__(
        self, network: RecurrentNetwork, name: str, observation: tuple[str, ...], action: str
    ) -> None:
        self.network, self.name, self.observation, self.action = network, name, observation, action
        self.columns, self.actions = network.columns, network.actions
        self.memory = network.fresh(1)

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Forget everything."""
        self.memory = self.network.fresh(envs)

    def forget(self, begun: NDArray[np.bool_]) -> None:
        """Forget what was in the envs where an episode has `begun`, shape (E,)."""
        self.memory = forgotten(self.memory, begun)

    def act(self, observations: Observations) -> Actions:
        """The action for every row of `observations`, shape (E, F) -> (E,); remembers them."""
        values, self.memory = self.network.preferences(observations, self.memory)
        actions: Actions = values.argmax(axis=1)
        return actions


AnyRouter = Router | RecurrentNetwork
"""What training yields and `weights.safetensors` holds."""
