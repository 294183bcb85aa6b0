"""What `llmroute trace make` takes and does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.commands.options import Said
from benchmarks.commands.trace.sources import open_sources, warn_of
from traces import lengths, storage
from traces.errors import TraceError, require
from traces.processes import arrivals, modulated
from traces.synthesis import fit, generate
from traces.tasks import TaskMix
from traces.trace import Provenance, Trace

Process = Literal["poisson", "gamma", "weibull", "mmpp", "diurnal", "spike", "flash-crowd", "like"]


@dataclass(frozen=True)
class Make:
    """Synthesise a trace: a textbook process, or fresh days like those of a MAF file."""

    out: Path
    """File to write, .npz or .csv."""
    process: Process = "poisson"
    """Kind of arrivals; `like` needs --like."""
    rate: float = 10.0
    """Mean (for spike and flash-crowd: base) requests per second; of `like`, that of the file."""
    span: float = 3600.0
    """Seconds; of `like`, see --days."""
    cv: float = 1.0
    """Coefficient of variation of the gaps, where the process has one."""
    peak: float = 5.0
    """Of mmpp, spike and flash-crowd: the high rate, as a multiple of the low one."""
    sojourn: float = 60.0
    """Of mmpp: mean seconds in a regime."""
    swing: float = 0.8
    """Of diurnal: how far the rate moves from its mean, 0 to 1."""
    like: Said[str | None] = None
    """MAF 2019 file or bundled name to learn rate profile, burstiness and skew from."""
    days: int = 1
    """Of `like`: how many times the length of the file."""
    seed: int = 0
    """Of everything random."""

    def run(self) -> None:
        """Draw the arrivals, write the trace, and print its size."""
        rng = np.random.default_rng(self.seed)
        trace = self._like(rng) if self.process == "like" else self._textbook(rng)
        storage.save(lengths.sample_lengths(trace, rng), self.out)
        print(f"{self.out}: {len(trace):,} requests in {trace.span_s:,.0f} s")

    def _like(self, rng: np.random.Generator) -> Trace:
        require(self.like is not None, "like", self.like, "a MAF 2019 file or maf2019-500fn")
        reading = open_sources((str(self.like),))
        warn_of(reading.report)
        content = reading.content
        if isinstance(content, Trace):
            raise TraceError(f"like: got {self.like}; accepted: calls per minute (MAF 2019)")
        return generate(fit(content), self.days, rng).to_trace(self.cv, rng)

    def _textbook(self, rng: np.random.Generator) -> Trace:
        arrivals.check_rate(self.rate, self.span)
        arrival_s = PROCESSES[self.process](self, rng)
        nothing = np.zeros(len(arrival_s), np.int32)
        settings = f"{self.process}, {self.rate:g}/s, cv {self.cv:g}, seed {self.seed}"
        task = TaskMix().sample(arrival_s, rng)
        return Trace(arrival_s, task, nothing, nothing, self.span, Provenance(settings))

    @property
    def ends(self) -> tuple[float, float]:
        """Base rate and peak rate."""
        return self.rate, self.rate * self.peak

    def regimes(self) -> tuple[float, float]:
        """Two rates whose mean is `rate`, one `peak` times the other."""
        low = 2 * self.rate / (1 + self.peak)
        return low, low * self.peak


PROCESSES: dict[str, Callable[[Make, np.random.Generator], NDArray[np.float64]]] = {
    "poisson": lambda m, rng: arrivals.poisson(m.rate, m.span, rng),
    "gamma": lambda m, rng: arrivals.gamma(m.rate, m.cv, m.span, rng),
    "weibull": lambda m, rng: arrivals.weibull(m.rate, m.cv, m.span, rng),
    "mmpp": lambda m, rng: modulated.mmpp(m.regimes(), (m.sojourn, m.sojourn), m.span, rng),
    "diurnal": lambda m, rng: modulated.diurnal(m.rate, m.swing, m.span, m.span, rng, m.cv),
    "spike": lambda m, rng: modulated.spike(
        m.ends, (0.4 * m.span, 0.5 * m.span), m.span, rng, m.cv
    ),
    "flash-crowd": lambda m, rng: modulated.flash_crowd(
        m.ends, (0.3 * m.span, 0.35 * m.span), m.span, rng, 0.1 * m.span
    ),
}
"""Processes of `trace make`: spike and crowd sit at fixed shares of the span."""
