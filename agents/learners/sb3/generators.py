"""The global random generators that Stable-Baselines3 draws from, kept apart per learner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class GlobalGenerators:
    """The states of NumPy's and torch's global generators, which SB3 draws from, for one learner.

    They are installed while SB3 works and taken out again, so that a run depends on nobody else's
    draws, nobody else's on it, and a checkpoint can hold them.
    """

    def __init__(self) -> None:
        self.states = self._read()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Give SB3 these generators for as long as it works."""
        others = self._read()
        self._write(self.states)
        try:
            yield
        finally:
            self.states = self._read()
            self._write(others)

    @staticmethod
    def _read() -> tuple[dict[str, Any], Tensor]:
        state = np.random.get_state(legacy=False)  # noqa: NPY002 - SB3's own generator
        return state, torch.get_rng_state()

    @staticmethod
    def _write(states: tuple[dict[str, Any], Tensor]) -> None:
        np.random.set_state(states[0])  # noqa: NPY002 - SB3's own generator
        torch.set_rng_state(states[1])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that a checkpoint needs."""
        twister, torch_state = self.states
        key, position = twister["state"]["key"], np.array(twister["state"]["pos"])
        return {"key": key, "position": position, "torch": torch_state.numpy()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `arrays()`."""
        inner = {"key": arrays["key"], "pos": int(arrays["position"])}
        twister = {"bit_generator": "MT19937", "state": inner, "has_gauss": 0, "gauss": 0.0}
        self.states = twister, torch.from_numpy(arrays["torch"])
