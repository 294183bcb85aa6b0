"""What an engine can hold and sustain: its limits, and the rate that is load 1.

docs/continuous-batching.md, "Load", has the formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.service.continuous.arrays import BLOCK, FINE_PER_S
from llmroute_env.dynamics.service.continuous.tables import on_line, step_times_of
from llmroute_env.engine_specs import StepTimes, check_step_limits
from llmroute_env.specs import Deadline, ModelSpec, Pool, require
from traces.workloads import task_weights

Values = NDArray[np.float64]


class Limits(NamedTuple):
    """What an instance of a pool can hold."""

    most_running: int
    most_tokens: int
    blocks: int
    length_limit: int


class Usual(NamedTuple):
    """The mean request that load 1 is of, and when it is due."""

    prompt_tokens: float
    output_tokens: float
    deadline: Deadline


class Sustained(NamedTuple):
    """What an instance sustains within the deadline."""

    running: int
    requests_per_s: float
    step_s: float


def limits_of(config: Any, pool: Pool) -> Limits:
    """What an instance of the pool can hold.

    Raises:
        ConfigError: the model does not fit its GPUs, or limits that contradict each other.
    """
    gpu, model = config.gpu_of(pool), config.resolved_profile.model(pool.models[0])
    engine = config.engine
    running = engine.max_num_seqs or gpu.max_num_seqs
    tokens = engine.max_num_batched_tokens or gpu.max_num_batched_tokens
    check_step_limits("engine", running, tokens)
    blocks = engine.kv_blocks.get(model.name, fitting_blocks(config, pool, model))
    require(
        blocks >= 1,
        f"pool models {model.name!r}",
        f"{model.weights_bytes / 1e9:.1f} GB of weights on {gpu.name!r}",
        f"weights and a KV cache within {engine.gpu_memory_utilization:g} of its "
        f"{gpu.memory_bytes / 1e9:.1f} GB, less {gpu.reserved_bytes / 1e9:.1f} GB",
    )
    return Limits(running, tokens, blocks, min(model.context_tokens, blocks * BLOCK))


def fitting_blocks(config: Any, pool: Pool, model: ModelSpec) -> int:
    """Blocks of the KV cache that fit beside the weights."""
    gpu = config.gpu_of(pool)
    free = config.engine.gpu_memory_utilization * gpu.memory_bytes
    free -= model.weights_bytes + gpu.reserved_bytes
    return int(free // (BLOCK * model.kv_bytes_per_token)) if model.kv_bytes_per_token else 2**30


def usual_request(config: Any) -> Usual:
    """The mean request over the tasks, as often as the mix has them."""
    weights = task_weights(config.workload, config.resolved_mix, config.tasks)
    prompt, output = (config.mean_tokens * weights[:, None]).sum(axis=0)
    return Usual(float(prompt), float(output), config.deadline)


def sustained(config: Any, pool: Pool) -> Sustained:
    """What an instance of the pool sustains within the environment's own deadline."""
    return _sustained(step_times_of(config, pool), limits_of(config, pool), usual_request(config))


@lru_cache(maxsize=64)
def _sustained(times: StepTimes, limits: Limits, usual: Usual) -> Sustained:
    prompt, output, due = usual
    together = np.arange(1, limits.most_running + 1)
    decode_s = decode_steps_s(times, together, prompt + output / 2)
    prompt_s = alone_s(times, prompt)
    latency_s = np.maximum(output * decode_s + together * prompt_s, 1 / FINE_PER_S)
    tpot_s = (latency_s - prompt_s) / max(output, 1.0)
    valid = (latency_s <= due.deadline_s) & (tpot_s <= due.tpot_s)
    valid &= decode_s + prompt_s <= due.ttft_s
    valid &= together * (prompt + output) <= limits.blocks * BLOCK
    most = int(np.flatnonzero(valid).max(initial=0))
    return Sustained(most + 1, float((most + 1) / latency_s[most]), float(decode_s[most]))


def decode_steps_s(
    times: StepTimes, together: NDArray[np.int64], context: float
) -> NDArray[np.float64]:
    """Seconds of a step in which so many decode, each with a mean context."""
    attention = at_least_0(times.decode.rows, times.decode.seconds, together)
    knots = np.array(times.decode.columns)
    if len(knots) > 1:
        at = max(context, knots[0])
        j = int(np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2))
        share = (at - knots[j]) / (knots[j + 1] - knots[j])
        found = attention[:, j] + (attention[:, j + 1] - attention[:, j]) * share
    else:
        found = attention[:, 0]
    found = np.maximum(found, 0.0)
    linear = at_least_0(times.linear.at, times.linear.seconds, together)
    head = at_least_0(times.head.at, times.head.seconds, together)
    seconds: NDArray[np.float64] = times.host_s + linear + head + found
    return seconds


def alone_s(times: StepTimes, prompt: float) -> float:
    """Seconds that a prompt adds to a step."""
    tokens = np.array([max(round(prompt), 1)])
    linear = at_least_0(times.linear.at, times.linear.seconds, np.array([1, tokens[0]]))
    rows = at_least_0(times.prefill.rows, times.prefill.seconds, tokens)
    added = max(linear[1] - linear[0], 0.0) + rows[0, 0]
    return float(times.prefill_factor * added)


def at_least_0(knots: Sequence[int], seconds: Sequence[Any], at: NDArray[np.int64]) -> Values:
    """Times at `at`, of which none is less than 0 however the last line falls."""
    return np.maximum(on_line(knots, np.array(seconds), at), 0.0)
