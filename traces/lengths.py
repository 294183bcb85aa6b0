"""Lengths of requests: drawn for traces that have none, and fitted into a model's context."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from traces import catalog
from traces.errors import require
from traces.trace import Trace

POLICIES = ("clamp", "reject", "keep")
"""For requests beyond the context: shorten the prompt, drop the request, or leave it as it is."""

LENGTHS = ("prompt_tokens", "output_tokens")

MEASURED_PROMPT_TOKENS, MEASURED_OUTPUT_TOKENS = 128, 8
"""Lengths of the request whose batches the shipped profiles time; each says so, with its source."""


def has_lengths(trace: Trace) -> bool:
    """Whether any request has a prompt or an output; formats without lengths read as 0."""
    return missing_lengths(trace) != LENGTHS


def missing_lengths(trace: Trace) -> tuple[str, ...]:
    """Which of the lengths no request has."""
    return tuple(name for name in LENGTHS if not getattr(trace, name).any())


def sample_lengths(
    trace: Trace,
    rng: np.random.Generator,
    source: str = "azure-conv",
    names: tuple[str, ...] = LENGTHS,
) -> Trace:
    """The same requests with prompt and output drawn together from those of a bundled trace.

    Only the lengths called `names` are taken from there.

    Raises:
        TraceError: `source` is not bundled, or has no lengths.
    """
    donor = catalog.load(source)
    accepted = "azure-conv, azure-code"
    require(has_lengths(donor), "source of lengths", source, accepted)
    # In pairs, so that what a prompt's length says about its output's is kept.
    row = rng.integers(0, len(donor), len(trace))
    of = "" if names == LENGTHS else f"{', '.join(names)}: "
    return dataclasses.replace(
        trace,
        prompt_tokens=donor.prompt_tokens[row] if LENGTHS[0] in names else trace.prompt_tokens,
        output_tokens=donor.output_tokens[row] if LENGTHS[1] in names else trace.output_tokens,
        provenance=trace.provenance.then(f"{of}lengths from {source}"),
    )


# As many as `workloads.build` keeps: every simulation of a workload asks for the same trace again.
@lru_cache(maxsize=8)
def as_measured(trace: Trace) -> Trace:
    """The same requests, each as long as the one whose latency was measured.

    Static batching takes its times from a table of batches of such requests, so to it all are
    equally long, whatever a trace says. A service model that reads lengths leaves this out.
    """
    return dataclasses.replace(
        trace,
        prompt_tokens=np.full(len(trace), MEASURED_PROMPT_TOKENS, np.int32),
        output_tokens=np.full(len(trace), MEASURED_OUTPUT_TOKENS, np.int32),
        provenance=trace.provenance.then("lengths as measured"),
    )


@dataclass(frozen=True)
class Fitted:
    """A trace after a policy, and how many of its requests were beyond the context."""

    trace: Trace
    beyond: int


def fit_context(trace: Trace, context_tokens: int, policy: str) -> Fitted:
    """Apply a policy to the requests whose prompt and output together exceed the context.

    `clamp` cuts the prompt, as servers do that drop its oldest part; an output that alone does not
    fit is cut to leave room for one token of prompt.

    Raises:
        TraceError: an unknown policy, or a context below 2.
    """
    require(policy in POLICIES, "context policy", policy, ", ".join(POLICIES))
    require(context_tokens >= 2, "context_tokens", context_tokens, ">= 2")
    total = trace.prompt_tokens.astype(np.int64) + trace.output_tokens
    beyond = total > context_tokens
    count = int(beyond.sum())
    operation = f"context {context_tokens}: {policy} {count} of {len(trace)}"
    if policy == "reject":
        kept = np.flatnonzero(~beyond)
        return Fitted(trace.take(kept, trace.arrival_s[kept], trace.span_s, operation), count)
    if policy == "keep":
        provenance = trace.provenance.then(operation)
        return Fitted(dataclasses.replace(trace, provenance=provenance), count)
    return Fitted(_clamp(trace, context_tokens, operation), count)


def _clamp(trace: Trace, context_tokens: int, operation: str) -> Trace:
    output = np.minimum(trace.output_tokens, context_tokens - 1)
    prompt = np.minimum(trace.prompt_tokens, context_tokens - output)
    return dataclasses.replace(
        trace,
        prompt_tokens=prompt.astype(np.int32),
        output_tokens=output.astype(np.int32),
        provenance=trace.provenance.then(operation),
    )
