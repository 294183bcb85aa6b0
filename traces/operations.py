"""What can be done to a trace; every result remembers it in its provenance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import require
from traces.processes.arrivals import check_expected
from traces.trace import Provenance, Trace


def thin(trace: Trace, keep: float, rng: np.random.Generator) -> Trace:
    """Keep every request independently with probability `keep`.

    Raises:
        TraceError: `keep` is no probability above 0.
    """
    require(0 < keep <= 1, "keep", keep, "a probability above 0, at most 1")
    chosen = np.flatnonzero(rng.random(len(trace)) < keep)
    return trace.take(chosen, trace.arrival_s[chosen], trace.span_s, f"thin {keep:g}")


def rescale_rate(trace: Trace, rate_per_s: float, rng: np.random.Generator) -> Trace:
    """More or fewer requests in the same time, with the same ups and downs.

    A lower rate thins. For a higher one every request gets as many copies as needed, uniform in the
    gap up to the next: the profile is kept at every scale above a gap, bursts are filled up rather
    than stretched. Copies have the task and the lengths of their request.

    Raises:
        TraceError: a rate that is not finite and positive, a trace without requests, or more
            requests than fit into memory.
    """
    require(0 < rate_per_s < np.inf, "rate_per_s", rate_per_s, "finite, > 0")
    require(len(trace) > 0, "requests", len(trace), "at least one")
    factor = rate_per_s / trace.mean_rate_per_s
    operation = f"rescale rate to {rate_per_s:g}/s"
    check_expected(rate_per_s * trace.span_s)
    whole = int(factor)
    copies = whole + (rng.random(len(trace)) < factor - whole)
    chosen = np.repeat(np.arange(len(trace)), copies)
    gap_s = np.diff(np.append(trace.arrival_s, trace.span_s))
    # The first copy of a request stays where it was, so that a factor of 1 changes nothing.
    original = np.diff(chosen, prepend=-1) > 0
    shift_s = np.where(original, 0.0, rng.random(len(chosen)) * gap_s[chosen])
    # The sum may round to just above the end of the span.
    arrival_s = np.minimum(trace.arrival_s[chosen] + shift_s, trace.span_s)
    order = np.argsort(arrival_s, kind="stable")
    return trace.take(chosen[order], arrival_s[order], trace.span_s, operation)


def rescale_time(trace: Trace, factor: float) -> Trace:
    """Stretch time: gaps and span get longer by `factor`, the rate lower; the cv stays.

    Raises:
        TraceError: a factor that is not finite and positive.
    """
    require(0 < factor < np.inf, "factor", factor, "finite, > 0")
    everything = slice(None)
    operation = f"rescale time by {factor:g}"
    return trace.take(everything, trace.arrival_s * factor, trace.span_s * factor, operation)


def fold(trace: Trace, period_s: float) -> Trace:
    """Time modulo `period_s`: the periods of a long trace on top of each other, bursts intact.

    Raises:
        TraceError: a period that is not positive, or longer than the trace.
    """
    require(0 < period_s <= trace.span_s, "period_s", period_s, f"up to {trace.span_s:g} s, > 0")
    folded = trace.arrival_s % period_s
    order = np.argsort(folded, kind="stable")
    return trace.take(order, folded[order], period_s, f"fold {period_s:g}")


def merge(*traces: Trace) -> Trace:
    """All requests of traces that start together; the span is the longest.

    Raises:
        TraceError: no trace, or traces with different tasks.
    """
    require(len(traces) > 0, "traces", len(traces), "at least one")
    first = traces[0]
    for other in traces:
        require(other.tasks == first.tasks, "tasks", other.tasks, f"{first.tasks}, as in the first")
    arrival_s = np.concatenate([trace.arrival_s for trace in traces])
    # Stable: requests that arrive together stay in the order in which the traces are given.
    order = np.argsort(arrival_s, kind="stable")

    def column(name: str) -> NDArray[Any]:
        joined: NDArray[Any] = np.concatenate([getattr(trace, name) for trace in traces])[order]
        return joined

    sources = "; ".join(describe(trace.provenance) for trace in traces)
    return Trace(
        arrival_s[order],
        column("task"),
        column("prompt_tokens"),
        column("output_tokens"),
        max(trace.span_s for trace in traces),
        Provenance(sources, " ".join(trace.provenance.sha256 for trace in traces), ("merge",)),
        first.tasks,
        all(trace.has_tasks for trace in traces),
    )


def describe(provenance: Provenance) -> str:
    """A provenance in one line: the source, then every operation after a `>`."""
    return " > ".join([provenance.source, *provenance.operations])
