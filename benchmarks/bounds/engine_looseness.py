"""How loose the bound of continuous batching is: over exact optima of a miniature.

`python -m benchmarks.bounds.engine_looseness` prints the table of docs/continuous-batching.md. Two
instances, a small model and a large one, answer nine requests with long prompts, of which few
congest them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.bounds.exact import best_routing
from benchmarks.bounds.looseness import LOADS
from benchmarks.bounds.upper import bound_by_events, episodes, peak
from llmroute_env.config import EnvConfig
from llmroute_env.specs import Deadline, Pool, require
from traces.trace import Provenance, Trace

DUE = {
    "ttft and tpot": Deadline(math.inf, ttft_s=1.0, tpot_s=0.05),
    "e2e": Deadline(2.0),
    "soft e2e": Deadline(1.0, "linear", 2.0),
}
TOKENS_PER_S = 10_000.0
"""Prompts at load 1; the large model computes 13,000 to 14,000 a second at its best."""

MEAN_PROMPT_TOKENS, MEAN_ANSWER_TOKENS = 4000, 30


@dataclass(frozen=True)
class EngineLooseness:
    """One row: means over the instances of one load and deadline, and the worst.

    Attributes:
        due: name of the deadline.
        load: arrival rate over what the large model about sustains.
        optimum: utility of the best action sequence, as a share of the peak.
        bound: upper bound / that utility; `worst_bound` is the largest.
        free_bound: upper bound / utility of the best that may turn requests away too. The bound
            does not know that the others must serve them, which keeps the rest waiting.
    """

    due: str
    load: float
    optimum: float
    bound: float
    worst_bound: float
    free_bound: float


def engine_looseness(
    rng: np.random.Generator,
    loads: Sequence[float] = LOADS,
    instances: int = 10,
    requests: int = 9,
) -> list[EngineLooseness]:
    """Bound over optimum on `instances` random instances per deadline and load.

    Raises:
        ConfigError: no instance, or no request.
    """
    require(instances > 0, "instances", instances, "an integer > 0")
    require(requests > 0, "requests", requests, "an integer > 0")
    return [
        _row(due, load, [_config(due, load, requests, rng) for _ in range(instances)])
        for due in DUE
        for load in loads
    ]


def _row(due: str, load: float, configs: Sequence[EnvConfig]) -> EngineLooseness:
    ratios = np.array([_ratios(config) for config in configs])
    optimum, bound, free_bound = (float(mean) for mean in ratios.mean(axis=0))
    return EngineLooseness(due, load, optimum, bound, float(ratios[:, 1].max()), free_bound)


def _ratios(config: EnvConfig) -> tuple[float, float, float]:
    """(optimum / peak, bound / optimum, bound / optimum of those that reject)."""
    (instance,) = episodes(config, np.zeros(1, np.uint64))
    bound, optimum = bound_by_events(instance), best_routing(config, 0)
    rejecting = best_routing(dataclasses.replace(config, reject=True), 0)
    return optimum / peak(instance), bound / optimum, bound / rejecting


def _config(due: str, load: float, requests: int, rng: np.random.Generator) -> EnvConfig:
    """Poisson arrivals of chats, with lengths that are spread as those of real ones are."""
    gap_s = MEAN_PROMPT_TOKENS / TOKENS_PER_S / load
    arrival_s = np.cumsum(rng.exponential(gap_s, requests))
    prompt, answer = (
        np.maximum(np.rint(rng.gamma(2.0, mean / 2, requests)), 1).astype(np.int32)
        for mean in (MEAN_PROMPT_TOKENS, MEAN_ANSWER_TOKENS)
    )
    trace = Trace(
        arrival_s=arrival_s,
        task=np.zeros(requests, np.int16),
        prompt_tokens=prompt,
        output_tokens=answer,
        span_s=float(arrival_s[-1]) + gap_s,
        provenance=Provenance(f"Poisson arrivals at load {load:g} of a miniature"),
        tasks=("chat",),
    )
    return dataclasses.replace(MINIATURE, workload=trace, load=None, deadline=DUE[due])


MINIATURE = EnvConfig(
    profile="qwen2.5",
    pools=(Pool(1, ("qwen2.5-7b",), "a100-sxm"), Pool(1, ("qwen2.5-72b",), "h100-sxm-tp4")),
    service="continuous",
    observation=("task",),
    window_s=math.inf,
    split="all",
)


def main() -> None:
    """Print the table."""
    head = ("due", "load", "optimum, of peak", "bound / optimum", "worst", "bound / rejecting")
    print(f"| {' | '.join(head)} |\n|---{'|--:' * 5}|")
    for row in engine_looseness(np.random.default_rng(0), (0.25, 1.0, 4.0, 16.0)):
        found = (row.optimum, row.bound, row.worst_bound, row.free_bound)
        print(f"| {row.due} | {row.load:g} | {' | '.join(f'{value:.3f}' for value in found)} |")


if __name__ == "__main__":
    main()
