"""What `llmroute trace convert` takes and does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.commands.options import Said
from benchmarks.commands.trace.sources import Sources, open_sources, warn_of
from traces import lengths, operations, storage
from traces.errors import require
from traces.trace import Trace

Policy = Literal["clamp", "reject", "keep"]


@dataclass(frozen=True)
class Convert:
    """Read any trace, change it as asked, and write npz (exact) or plain CSV."""

    sources: Sources
    """File of any known format, name of a bundled trace, or several days of MAF 2019."""
    out: Path
    """File to write, .npz or .csv."""
    strict: Said[bool] = False
    """Fail on the first row that would be dropped, with file and line."""
    only_trigger: Said[tuple[str, ...]] = ()
    """Of MAF 2019: only functions with one of these triggers."""
    without_trigger: Said[tuple[str, ...]] = ()
    """Of MAF 2019: no functions with one of these triggers, such as timer."""
    cv: Said[float | None] = None
    """Of calls per minute: cv of the gaps; exact counts, uniform within minutes, if left out."""
    start: float = 0.0
    """Cut to the requests from here on, seconds."""
    end: Said[float | None] = None
    """Cut to the requests before this, seconds."""
    rate: Said[float | None] = None
    """Thin or multiply the requests to this many per second."""
    stretch: float = 1.0
    """Make time longer by this factor."""
    fold: Said[float | None] = None
    """Take time modulo this many seconds."""
    sample_lengths: Said[bool] = False
    """Draw lengths from the bundled conversations; those that a trace lacks always come there."""
    context: int = 2048
    """Tokens that prompt and output may have together."""
    beyond: Policy = "keep"
    """Requests beyond the context: clamp the prompt, reject, or keep them."""
    seed: int = 0
    """Of everything random."""

    def run(self) -> None:
        """Read, change and write the trace, and print what came of it."""
        rng = np.random.default_rng(self.seed)
        trace = self._changed(self._requests(rng), rng)
        drawn = lengths.LENGTHS if self.sample_lengths else lengths.missing_lengths(trace)
        if drawn:
            trace = lengths.sample_lengths(trace, rng, names=drawn)
            why = "as asked for" if self.sample_lengths else "as the trace has none"
            print(f"{', '.join(drawn)}: drawn from azure-conv, {why}")
        fitted = lengths.fit_context(trace, self.context, self.beyond)
        storage.save(fitted.trace, self.out)
        count = f"{len(fitted.trace):,} requests, {fitted.beyond:,} beyond {self.context} tokens"
        print(f"{self.out}: {count} ({self.beyond})")

    def _requests(self, rng: np.random.Generator) -> Trace:
        reading = open_sources(self.sources, self.strict, merge=True)
        warn_of(reading.report)
        content = reading.content
        filters = (*self.only_trigger, *self.without_trigger)
        if isinstance(content, Trace):
            require(not filters, "trigger filter", filters, "a trace of MAF 2019")
            return content
        if filters:
            content = content.filter_trigger(self.only_trigger, self.without_trigger)
        calls_per_s = float(content.total.sum() / content.span_s)
        if self.rate is not None and 0 < self.rate < calls_per_s:
            # A whole day has more calls than memory, and most would be dropped afterwards.
            content = content.thin(self.rate / calls_per_s, rng)
        return content.to_trace(self.cv, rng)

    def _changed(self, trace: Trace, rng: np.random.Generator) -> Trace:
        if self.start > 0 or self.end is not None:
            trace = trace.slice(self.start, trace.span_s if self.end is None else self.end)
        if self.rate is not None:
            trace = operations.rescale_rate(trace, self.rate, rng)
        if self.stretch != 1:
            trace = operations.rescale_time(trace, self.stretch)
        return trace if self.fold is None else operations.fold(trace, self.fold)
