"""Scenarios of continuous batching, as data: clusters, requests with lengths, deadlines.

Deadlines are of the kinds that benchmarks of serving use: MLPerf's chats want a first token within
0.45 to 2 s and tokens at 40 to 200 ms (mlcommons/inference_policies), DistServe's completions of
code within 0.125 s and 0.2 s (arXiv 2401.09670); RouteBalance's requests end within 10 s.
"""

from __future__ import annotations

import math
from typing import Any

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import ENGINE_FEATURES
from llmroute_env.specs import Deadline, Pool, RequestClass
from traces.lengths import Lengths, LognormalLengths, MeasuredLengths
from traces.tasks import TaskMix
from traces.workloads import CountsReplay, PoissonArrivals, TaskReplay, TraceReplay

POOLS = (
    Pool(1, ("qwen2.5-3b",), "l40s"),
    Pool(1, ("qwen2.5-7b",), "a100-sxm"),
    Pool(1, ("qwen2.5-14b",), "h100-sxm"),
    Pool(1, ("qwen2.5-72b",), "h100-sxm-tp4"),
)
"""Four sizes, each where it fits: the smaller the model, the cheaper its GPU."""

SMALL_CACHES = (
    Pool(1, ("qwen2.5-7b",), "l40s"),
    Pool(1, ("qwen2.5-14b",), "l40s"),
    Pool(1, ("qwen2.5-32b",), "h100-sxm"),
)
"""Models that nearly fill their GPUs: 458,000, 61,000 and 37,000 tokens are left for all."""

CHAT = Deadline(math.inf, ttft_s=1.0, tpot_s=0.05)
PATIENT = Deadline(math.inf, ttft_s=2.0, tpot_s=0.1)
CODE = Deadline(2.0)
"""Whoever reads wants to begin soon and read on; a completion is of use when it is all there."""

BASE: dict[str, Any] = {
    "profile": "qwen2.5",
    "pools": POOLS,
    "service": "continuous",
    "observation": ENGINE_FEATURES,
    "deadline": CHAT,
    "window_s": 60.0,
}

SOLVED: dict[str, Lengths] = {
    "chat": MeasuredLengths("azure-conv"),
    "knowledge": LognormalLengths(5.5, 0.6, 4.0, 0.8),
    "arithmetic": LognormalLengths(5.0, 0.4, 5.3, 0.5),
    "math": LognormalLengths(5.0, 0.5, 6.0, 0.6),
    "functions": LognormalLengths(5.5, 0.5, 5.0, 0.5),
    "code": MeasuredLengths("azure-code"),
}
"""Chats and completions as Azure measured them; of the others nothing is published with arrivals:
medians of 55 (knowledge) to 403 tokens (math) are assumed, as answers that reason step by step
have."""

LONG = LognormalLengths(8.84, 1.0, 5.86, 0.6, most_tokens=30_000)
"""Medians of Mooncake's conversations, 6,909 and 350 tokens (kvcache-ai/Mooncake 3b5a5941), with
less spread, so that all fit into the context."""

ENGINE_SCENARIOS: dict[str, tuple[str, str, EnvConfig]] = {
    "chat": (
        "tokens real",
        "Azure LLM inference 2023, conversations with their own lengths, four sizes of Qwen2.5",
        EnvConfig(
            **BASE,
            workload=TraceReplay("azure-conv"),
            mix=TaskMix((1.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
            load=2.0,
        ),
    ),
    "code": (
        "tokens real",
        "Azure LLM inference 2023, coding, a minute in 15 s: long prompts, short answers in 2 s",
        EnvConfig(
            **BASE | {"deadline": CODE},
            workload=TraceReplay("azure-code", second_s=0.25),
            mix=TaskMix((0.0, 0.0, 0.0, 0.0, 0.0, 1.0)),
            load=1.0,
        ),
    ),
    "chat-and-code": (
        "tokens real classes",
        "both at once, two chats for one completion, each due in its own way",
        EnvConfig(
            **BASE,
            workload=TaskReplay(("azure-conv", "azure-code"), ("chat", "code"), (2.0, 1.0)),
            classes=(RequestClass("user", task_deadlines={"code": CODE}),),
            load=2.0,
        ),
    ),
    "burst": (
        "tokens real",
        "the arrivals of unpredictable-1, six tasks with lengths of their own",
        EnvConfig(**BASE, workload=CountsReplay(), lengths=SOLVED, load=1.5),
    ),
    "long-context": (
        "tokens synthetic",
        "prompts of 7,000 tokens in the middle and up to 30,000; a first token within 10 s",
        EnvConfig(
            **BASE | {"deadline": Deadline(math.inf, ttft_s=10.0, tpot_s=0.1), "window_s": 300.0},
            workload=PoissonArrivals(6000.0),
            lengths=dict.fromkeys(SOLVED, LONG),
            load=3.0,
        ),
    ),
    "kv-pressure": (
        "tokens real",
        "conversations on models that nearly fill their GPUs: caches overflow, requests start anew",
        EnvConfig(
            **BASE | {"pools": SMALL_CACHES, "deadline": PATIENT},
            workload=TraceReplay("azure-conv"),
            mix=TaskMix((1.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
            load=4.0,
        ),
    ),
}
"""Tags, summary and configuration, by name."""
