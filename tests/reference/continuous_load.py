"""Load 1 and mean tokens from the formulas of docs/continuous-batching.md, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from llmroute_env.engine_specs import StepTimes
from traces.lengths import LognormalLengths

from .continuous_case import PoolCase
from .continuous_times import value

Tokens = tuple[float, float]
"""Of prompt and answer."""


@dataclass(frozen=True)
class Due:
    """The environment's own deadline, in seconds."""

    deadline_s: float
    ttft_s: float
    tpot_s: float


def mean_of(lengths: Sequence[tuple[int, int]]) -> Tokens:
    """Of requests; a length of 0 counts as 1."""
    prompts, answers = zip(*lengths, strict=True)
    return mean([max(p, 1) for p in prompts]), mean([max(o, 1) for o in answers])


def mean(numbers: Sequence[float]) -> float:
    return math.fsum(numbers) / len(numbers)


def mean_of_lognormal(lengths: LognormalLengths) -> Tokens:
    """Over the quantiles (k + 1/2) / 10000."""
    deviates = [NormalDist().inv_cdf((k + 0.5) / 10_000) for k in range(10_000)]

    def over(log_mean: float, log_std: float) -> float:
        drawn = [round(math.exp(log_mean + log_std * z)) for z in deviates]
        return mean([min(max(n, 1), lengths.most_tokens) for n in drawn])

    return (
        over(lengths.prompt_log_mean, lengths.prompt_log_std),
        over(lengths.output_log_mean, lengths.output_log_std),
    )


def mixed(means: Sequence[Tokens], weights: Sequence[float]) -> Tokens:
    """Over the tasks, each as often as the workload has it."""
    shares = [weight / sum(weights) for weight in weights]
    prompt = sum(p * share for (p, _), share in zip(means, shares, strict=True))
    answer = sum(o * share for (_, o), share in zip(means, shares, strict=True))
    return prompt, answer


@dataclass(frozen=True)
class Full:
    """An instance where B* requests are always there: `step_s` is D(B*), `each_s` is Y(B*)."""

    requests: int
    step_s: float
    each_s: float


def decode_step_s(times: StepTimes, b: int, context: float) -> float:
    """D: a step in which b decode, with this mean context."""
    grid = times.decode
    columns = [[row[j] for row in grid.seconds] for j in range(len(grid.columns))]
    at_b = [value(grid.rows, column, b) for column in columns]
    attention = value(grid.columns, at_b, context)  # type: ignore[arg-type]
    linear, head = (value(line.at, line.seconds, b) for line in (times.linear, times.head))
    return times.host_s + linear + head + attention


def prompt_s(times: StepTimes, tokens: int) -> float:
    """A: what a prompt adds."""
    one, all_of_it = (value(times.linear.at, times.linear.seconds, n) for n in (1, tokens))
    attention = value(times.prefill.rows, [row[0] for row in times.prefill.seconds], tokens)
    return times.prefill_factor * (max(all_of_it - one, 0.0) + attention)


def full(pool: PoolCase, means: Tokens, due: Due) -> Full:
    """B* and what follows from it."""
    prompt, answer = means
    added_s = prompt_s(pool.times, round(prompt))
    found = []
    for b in range(1, pool.max_num_seqs + 1):
        step_s = decode_step_s(pool.times, b, prompt + answer / 2)
        each_s = max(answer * step_s + b * added_s, 2.0**-40)
        in_time = (
            each_s <= due.deadline_s
            and (each_s - added_s) / max(answer, 1) <= due.tpot_s
            and step_s + added_s <= due.ttft_s
        )
        fits = b * (prompt + answer) <= 16 * pool.blocks
        if b == 1 or (in_time and fits):
            found.append(Full(b, step_s, each_s))
    return found[-1]


def sustained_per_s(instances: Sequence[PoolCase], means: Tokens, due: Due) -> float:
    """What these instances serve: load 1, if they are those of the largest model."""
    best = [full(pool, means, due) for pool in instances]
    return math.fsum(one.requests / one.each_s for one in best)
