"""Arrays that grow at their end in place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Growing:
    """One column of a file that is read piece by piece.

    Pieces that are joined in the end are in memory twice for a moment; this never is.
    """

    def __init__(self, dtype: DTypeLike) -> None:
        self._values: NDArray[Any] = np.empty(0, dtype)
        self._length = 0

    def append(self, piece: NDArray[Any]) -> None:
        """Add a piece at the end, converted to the column's type."""
        length = self._length + len(piece)
        if length > len(self._values):
            self._values.resize(length + length // 8, refcheck=False)
        self._values[self._length : length] = piece
        self._length = length

    def take(self) -> NDArray[Any]:
        """Everything so far; the column is empty afterwards."""
        values = self._values
        values.resize(self._length, refcheck=False)
        self._values, self._length = np.empty(0, values.dtype), 0
        return values
