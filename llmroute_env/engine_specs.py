"""Continuous batching: how long an engine's steps take, as measured, and what it may run at once.

docs/continuous-batching.md says what each of these does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from llmroute_env.errors import ConfigError, require
from traces.typed import check_fields

BLOCK_TOKENS = 16
"""Tokens of a block of the KV cache."""

LATER = {"added later": True}
"""Of a field without which older data was written: it is left out of fingerprints and run cards
where it has its default, so that these stay what they were."""


def check_step_limits(where: str, seqs: int, tokens: int) -> None:
    """Raise a ConfigError unless every running request gets a token in every step."""
    require(1 <= seqs <= 4096, f"{where} max_num_seqs", seqs, "1 to 4096")
    accepted = f"max_num_seqs, {seqs}, to 65536"
    require(seqs <= tokens <= 65_536, f"{where} max_num_batched_tokens", tokens, accepted)


def check_knots(where: str, knots: Sequence[int]) -> None:
    """Raise a ConfigError unless something was measured, at numbers that rise."""
    rises = all(before < after for before, after in pairwise(knots))
    require(len(knots) > 0 and knots[0] >= 0 and rises, where, knots, "integers >= 0 that rise")


def check_seconds(where: str, seconds: Sequence[float], knots: Sequence[int]) -> None:
    """Raise a ConfigError unless there is a time >= 0 at every knot."""
    require(len(seconds) == len(knots), where, len(seconds), f"one per knot, {len(knots)}")
    for value in seconds:
        require(0 <= value < 3600, where, value, "seconds from 0 to 3600")


@dataclass(frozen=True)
class Line:
    """Seconds measured at rising integers."""

    at: tuple[int, ...]
    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        check_fields(self, "line ", ConfigError)
        check_knots("line at", self.at)
        check_seconds("line seconds", self.seconds, self.at)


@dataclass(frozen=True)
class Surface:
    """Seconds measured at pairs of rising integers; `seconds[i][j]` at rows[i] and columns[j]."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    seconds: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        check_fields(self, "surface ", ConfigError)
        check_knots("surface rows", self.rows)
        check_knots("surface columns", self.columns)
        rows = len(self.seconds)
        require(rows == len(self.rows), "surface seconds", rows, f"{len(self.rows)} rows")
        for row in self.seconds:
            check_seconds("surface seconds", row, self.columns)


@dataclass(frozen=True)
class StepTimes:
    """How long the steps of an engine take: the sum of what its parts take.

    Attributes:
        linear: by the tokens of the step.
        decode: attention of those that answer, by their number and their mean context.
        prefill: attention of a piece of a prompt, by its tokens and those computed before it.
        head: by the number of requests that get a token.
        host_s: of every step.
        prefill_factor: of what prompts add.
        source: where this was measured.
        mixed: what `decode` is in steps that also compute prompts, at the same contexts; none: the
            same.
        beside: what attention takes longer in such steps, by the requests that answer and the
            tokens of prompts; none: nothing.
    """

    linear: Line
    decode: Surface
    prefill: Surface
    head: Line
    host_s: float = 0.0
    prefill_factor: float = 1.0
    source: str = ""
    mixed: Surface | None = field(default=None, metadata=LATER)
    beside: Surface | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        check_fields(self, "step_times ", ConfigError)
        require(0 <= self.host_s < 3600, "step_times host_s", self.host_s, "seconds >= 0")
        factor, valid = self.prefill_factor, 0 < self.prefill_factor <= 100
        require(valid, "step_times prefill_factor", factor, "a number > 0, at most 100")
        accepted = "a mean context of at least 1"
        require(self.decode.columns[0] >= 1, "step_times decode", self.decode.columns[0], accepted)
        if self.mixed is not None:
            columns, accepted = self.mixed.columns, f"those of decode, {self.decode.columns}"
            require(columns == self.decode.columns, "step_times mixed columns", columns, accepted)


@dataclass(frozen=True)
class Engine:
    """Settings of the engines of continuous batching.

    Attributes:
        max_num_seqs: requests that run at once; None: what the kind of GPU has.
        max_num_batched_tokens: tokens of a step; None likewise.
        gpu_memory_utilization: share of the memory that weights and KV cache may take.
        kv_blocks: blocks of the KV cache by model; others have what fits into the memory.
        prefix_caching: whether requests that were preempted find those of their blocks again that
            nobody has taken.
    """

    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    gpu_memory_utilization: float = 0.9
    kv_blocks: Mapping[str, int] = field(default_factory=dict)
    prefix_caching: bool = field(default=True, metadata=LATER)

    def __post_init__(self) -> None:
        check_fields(self, "engine ", ConfigError)
        share, valid = self.gpu_memory_utilization, 0 < self.gpu_memory_utilization <= 1
        require(valid, "engine gpu_memory_utilization", share, "a share > 0, at most 1")
        for model, blocks in self.kv_blocks.items():
            require(1 <= blocks < 2**31, f"engine kv_blocks {model!r}", blocks, ">= 1")
        for name in ("max_num_seqs", "max_num_batched_tokens"):
            value = getattr(self, name)
            accepted = ">= 1, or nothing for what the kind of GPU has"
            require(value is None or value >= 1, f"engine {name}", value, accepted)
