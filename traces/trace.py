"""Trace: requests sorted by arrival, what was done to them, and how bursty they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError as TraceError
from traces.tasks import TASKS


@dataclass(frozen=True)
class Provenance:
    """Where a trace comes from: its source, the file's SHA-256, and what was done since."""

    source: str
    sha256: str = ""
    operations: tuple[str, ...] = ()

    def then(self, operation: str) -> Provenance:
        """This provenance with `operation` after those before."""
        return dataclasses.replace(self, operations=(*self.operations, operation))


def lock(record: object, *names: str) -> None:
    """Make arrays of a frozen dataclass read-only, here but not for who holds them otherwise.

    Traces and tables are kept and shared: a change of one would change what others simulate.
    """
    for name in names:
        array = getattr(record, name)
        if array.flags.writeable:
            locked = array.view()
            locked.flags.writeable = False
            object.__setattr__(record, name, locked)


@dataclass(frozen=True, eq=False)
class Trace:
    """N requests within [0, span_s).

    Attributes:
        arrival_s: (N,) float64, sorted, seconds since the trace began.
        task: (N,) int16, index into `tasks`; 0 where `has_tasks` is False.
        prompt_tokens: (N,) int32.
        output_tokens: (N,) int32.
        span_s: length of the observation, with the silence before and after the requests.
        tasks: names of the tasks.
        has_tasks: whether `task` says what the requests are, or their source does not tell.
    """

    arrival_s: NDArray[np.float64]
    task: NDArray[np.int16]
    prompt_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    span_s: float
    provenance: Provenance
    tasks: tuple[str, ...] = TASKS
    has_tasks: bool = field(default=True, metadata={"added later": True})

    def __post_init__(self) -> None:
        """Check everything, here alone.

        Raises:
            TraceError: lengths differ, times are unsorted, not finite or outside the span, or a
                task has no name.
        """
        for name in ("task", "prompt_tokens", "output_tokens"):
            length = len(getattr(self, name))
            if length != len(self):
                raise TraceError(
                    f"{name}: got {length} entries; accepted: {len(self)}, as arrivals"
                )
        if not (np.isfinite(self.span_s) and self.span_s > 0):
            raise TraceError(f"span_s: got {self.span_s!r}; accepted: finite seconds > 0")
        self._check_times()
        if len(self) and not (self.task.min() >= 0 and self.task.max() < len(self.tasks)):
            found = f"{self.task.min()} to {self.task.max()}"
            raise TraceError(f"task: got {found}; accepted: 0 to {len(self.tasks) - 1}")
        lock(self, "arrival_s", "task", "prompt_tokens", "output_tokens")

    def _check_times(self) -> None:
        bad = ~np.isfinite(self.arrival_s) | (self.arrival_s < 0) | (self.arrival_s > self.span_s)
        if bad.any():
            row = int(bad.argmax())
            accepted = f"finite seconds from 0 to span_s, {self.span_s:g}"
            raise TraceError(f"arrival_s[{row}]: got {self.arrival_s[row]}; accepted: {accepted}")
        falls = self.arrival_s[1:] < self.arrival_s[:-1]
        if falls.any():
            row = int(falls.argmax()) + 1
            accepted = "times that do not fall"
            raise TraceError(f"arrival_s[{row}]: got {self.arrival_s[row]}; accepted: {accepted}")

    def __len__(self) -> int:
        """Number of requests."""
        return len(self.arrival_s)

    @property
    def mean_rate_per_s(self) -> float:
        """Requests per second over the whole span."""
        return len(self) / self.span_s

    def split(self, fractions: Sequence[float]) -> tuple[Trace, ...]:
        """Consecutive parts of the span, without overlap; together they hold every request.

        Raises:
            TraceError: fractions that are not positive or do not sum to 1.
        """
        if min(fractions, default=0) <= 0 or abs(sum(fractions) - 1) > 1e-9:
            raise TraceError(f"fractions: got {fractions!r}; accepted: positive, with sum 1")
        edges = [self.span_s * share for share in accumulate(fractions, initial=0.0)]
        # A request may arrive at the very end of the span, from which rounding may be just off.
        edges[-1] = np.inf
        return tuple(self.slice(start, end) for start, end in pairwise(edges))

    def slice(self, start_s: float, end_s: float) -> Trace:
        """The requests that arrive within [start_s, end_s), on a clock that begins at start_s.

        Raises:
            TraceError: an empty or reversed interval, or one outside the span.
        """
        last_s = min(end_s, self.span_s)
        if not 0 <= start_s < last_s:
            raise TraceError(
                f"slice: got [{start_s}, {end_s}); accepted: a start below the end, "
                f"within 0 to {self.span_s:g} s"
            )
        first, last = np.searchsorted(self.arrival_s, [start_s, end_s])
        chosen = slice(int(first), int(last))
        return self.take(
            chosen,
            self.arrival_s[chosen] - start_s,
            last_s - start_s,
            f"slice {start_s:g} {end_s:g}",
        )

    def take(
        self, chosen: Any, arrival_s: NDArray[np.float64], span_s: float, operation: str
    ) -> Trace:
        """A trace of the requests `chosen` (an index of any kind) with new times.

        Raises:
            TraceError: times that fall or leave the span.
        """
        return dataclasses.replace(
            self,
            arrival_s=arrival_s,
            task=self.task[chosen],
            prompt_tokens=self.prompt_tokens[chosen],
            output_tokens=self.output_tokens[chosen],
            span_s=span_s,
            provenance=self.provenance.then(operation),
        )
