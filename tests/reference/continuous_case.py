"""What goes into continuous batching and what comes out: plain data, no behaviour.

Moments and lengths of time are integers, multiples of 2^-30 s, or infinite.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from llmroute_env.engine_specs import StepTimes

TICK_S = 2.0**-30


@dataclass(frozen=True)
class PoolCase:
    """Consecutive instances of one model on one kind of GPU."""

    instances: int
    model: int
    max_num_seqs: int
    max_num_batched_tokens: int
    blocks: int
    context_tokens: int
    times: StepTimes


@dataclass(frozen=True)
class UserCase:
    """Users of one class; `grace` 0 is a hard deadline, else utility falls linearly."""

    deadline: float
    ttft: float
    tpot: float
    patience: float
    grace: int = 0
    weight: float = 1.0


@dataclass(frozen=True)
class RequestCase:
    """One request, and the (instance, model) that its router chose; None: turned away."""

    arrival: int
    prompt_tokens: int
    output_tokens: int
    user: int
    action: tuple[int, int] | None


@dataclass(frozen=True)
class Case:
    """One closed experiment; requests are sorted by arrival."""

    pools: tuple[PoolCase, ...]
    users: tuple[UserCase, ...]
    requests: tuple[RequestCase, ...]
    queue_capacity: int
    kv_blocks_are_set: bool = False
    prefix_caching: bool = True

    @cached_property
    def instances(self) -> tuple[PoolCase, ...]:
        """The pool of every instance."""
        return tuple(pool for pool in self.pools for _ in range(pool.instances))


@dataclass(frozen=True)
class Fate:
    """What became of a request; `start` and `first_token` are its end where there was none."""

    number: int
    outcome: str
    instance: int
    start: int
    first_token: int
    finish: int
    answered: int
    preemptions: int
    utility: float


@dataclass(frozen=True)
class Step:
    """What is known when the next request arrives: who ended since the last, who is left."""

    ended: tuple[Fate, ...]
    waiting: tuple[int, ...]
    running: tuple[int, ...]
