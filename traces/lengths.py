"""Lengths of requests: drawn for traces that have none, and fitted into a model's context."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from traces import catalog
from traces.errors import require
from traces.trace import Trace
from traces.typed import check_fields

POLICIES = ("clamp", "reject", "keep")
"""For requests beyond the context: shorten the prompt, drop the request, or leave it as it is."""

LENGTHS = ("prompt_tokens", "output_tokens")

MEASURED_PROMPT_TOKENS, MEASURED_OUTPUT_TOKENS = 128, 8
"""Lengths of the request whose batches the shipped profiles time; each says so, with its source."""


Tokens = NDArray[np.int32]

MOST_TOKENS = 1_000_000
"""Of a prompt or an answer."""


class Lengths(Protocol):
    """A recipe for the lengths of requests; hashable, with a repr that says what it is."""

    def __hash__(self) -> int: ...

    @property
    def mean_tokens(self) -> tuple[float, float]:
        """Mean tokens of prompt and answer."""
        ...

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        """Tokens of prompt and answer of so many requests, each at least 1; shapes (N,)."""
        ...


@dataclass(frozen=True)
class FixedLengths:
    """All are equally long."""

    prompt_tokens: int
    output_tokens: int

    def __post_init__(self) -> None:
        check_fields(self)
        for name in LENGTHS:
            tokens = getattr(self, name)
            require(1 <= tokens <= MOST_TOKENS, name, tokens, f"1 to {MOST_TOKENS}")

    @property
    def mean_tokens(self) -> tuple[float, float]:
        """They themselves."""
        return float(self.prompt_tokens), float(self.output_tokens)

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        """So many alike; nothing is drawn."""
        prompts = np.full(count, self.prompt_tokens, np.int32)
        return prompts, np.full(count, self.output_tokens, np.int32)


@dataclass(frozen=True)
class LognormalLengths:
    """Prompt and answer are log-normal, independent of each other, rounded, and at least 1.

    Attributes:
        prompt_log_mean, prompt_log_std: of the logarithm of the tokens of a prompt,
        output_log_mean, output_log_std: and of an answer.
        most_tokens: longer ones are cut to it.
    """

    prompt_log_mean: float
    prompt_log_std: float
    output_log_mean: float
    output_log_std: float
    most_tokens: int = 32_768

    def __post_init__(self) -> None:
        check_fields(self)
        for of in ("prompt", "output"):
            mean, std = getattr(self, f"{of}_log_mean"), getattr(self, f"{of}_log_std")
            require(0 <= mean <= 14, f"{of}_log_mean", mean, "0 to 14")
            require(0 <= std <= 4, f"{of}_log_std", std, "0 to 4")
        most = self.most_tokens
        require(1 <= most <= MOST_TOKENS, "most_tokens", most, f"1 to {MOST_TOKENS}")

    @property
    def mean_tokens(self) -> tuple[float, float]:
        """Means over ten thousand equally likely values."""
        deviates = _deviates()
        prompt = self._tokens(self.prompt_log_mean, self.prompt_log_std, deviates).mean()
        output = self._tokens(self.output_log_mean, self.output_log_std, deviates).mean()
        return float(prompt), float(output)

    def _tokens(self, mean: float, std: float, deviates: NDArray[np.float64]) -> Tokens:
        drawn = np.rint(np.exp(mean + std * deviates))
        return np.clip(drawn, 1, self.most_tokens).astype(np.int32)

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        """So many prompts, then so many answers."""
        drawn = rng.standard_normal((2, count))
        prompts = self._tokens(self.prompt_log_mean, self.prompt_log_std, drawn[0])
        return prompts, self._tokens(self.output_log_mean, self.output_log_std, drawn[1])


@lru_cache
def _deviates() -> NDArray[np.float64]:
    usual = NormalDist()
    return np.array([usual.inv_cdf((k + 0.5) / 10_000) for k in range(10_000)])


@dataclass(frozen=True)
class MeasuredLengths:
    """Prompt and answer drawn together from the requests of the catalogue's `source`."""

    source: str = "azure-conv"

    def __post_init__(self) -> None:
        check_fields(self)
        known = "azure-conv, azure-code"
        require(self.source in known.split(", "), "source of lengths", self.source, known)

    @property
    def mean_tokens(self) -> tuple[float, float]:
        """Means over the source."""
        return mean_of(catalog.load(self.source))

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        """In pairs, so that what a prompt's length says about its answer's is kept."""
        donor = catalog.load(self.source)
        row = rng.integers(0, len(donor), count)
        return at_least_1(donor.prompt_tokens[row]), at_least_1(donor.output_tokens[row])


def at_least_1(tokens: Tokens) -> Tokens:
    """Lengths of which none is 0: whoever asks for nothing still asks."""
    return np.maximum(tokens, 1)


def mean_of(trace: Trace) -> tuple[float, float]:
    """Mean tokens of prompt and answer of a trace."""
    means = [float(at_least_1(getattr(trace, name)).mean()) for name in LENGTHS]
    return means[0], means[1]


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
