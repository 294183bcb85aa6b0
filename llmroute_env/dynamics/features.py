"""What a router may see: one table of features, and which columns an observation of some has.

All features are float32 and bounded. Backlogs and slacks are compressed by logarithms instead of
clipped at a small value, so that they still order states deep in overload.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.specs import require

MOST_LOG = 16.0
"""Bound of the logarithmic features: log1p of nine million requests, or of as many times load 1."""


class Feature(NamedTuple):
    """One row of the observation table; `per` says how many columns it takes."""

    name: str
    per: str
    low: float
    high: float
    meaning: str


FEATURES = (
    Feature("task", "task", 0, 1, "one-hot task of the pending request; all 0 after the last one"),
    Feature("fast_rate", "once", 0, MOST_LOG, "log1p of the arrival rate over the short window, in units of load 1"),
    Feature("slow_rate", "once", 0, MOST_LOG, "the same over the long window"),
    Feature("backlog", "model", 0, MOST_LOG, "log1p of the requests that wait for the model, per GPU"),
    Feature("running", "model", 0, 1, "requests of the model in running batches / (GPUs x its largest batch limit)"),
    Feature("busy", "once", 0, 1, "share of the GPUs that run a batch"),
    Feature("slack", "model", -MOST_LOG, 1, "predicted slack if routed to the model, 1 - latency / deadline; below -1 logarithmic"),
    Feature("deadline", "once", -MOST_LOG, MOST_LOG, "log of the deadline, s"),
    Feature("gpu_slack", "gpu-model", -MOST_LOG, 1, "the slack on each GPU, GPU-major; -16 where the model is not hosted"),
    Feature("gpu_work", "gpu-model", 0, MOST_LOG, "GPU time that the request adds there, in units of 1 / load 1 per GPU; 16 where not hosted"),
    Feature("gpu_backlog", "gpu-model", 0, MOST_LOG, "log1p of the requests that wait for the model on each GPU"),
    Feature("gpu_running", "gpu-model", 0, MOST_LOG, "log1p of the time until the model's batch on the GPU ends, in units of gpu_work"),
    Feature("batch", "model", 0, 10_000, "requests of the model, waiting and running / (GPUs x its largest batch limit)"),
    Feature("rate", "once", 0, 10_000, "arrival rate over the long window, in units of load 1"),
    Feature("grace", "once", 0, MOST_LOG, "log1p of how long late answers still earn, in units of the deadline; 0 if it is hard"),
    Feature("short_rate", "once", 0, 10_000, "arrival rate over the short window, in units of load 1"),
    Feature("class", "class", 0, 1, "one-hot class of the pending request's user; all 0 after the last one"),
    Feature("prompt", "once", 0, MOST_LOG, "log1p of the tokens of the pending prompt; 0 where requests have none"),
    Feature("ttft", "model", 0, MOST_LOG, "log1p of the predicted milliseconds to the first token, if routed to the model"),
    Feature("tpot", "model", 0, MOST_LOG, "log1p of the predicted microseconds for each token after it"),
    Feature("kv", "model", 0, 1, "share of the KV cache in use where the model would be served"),
    Feature("prefill", "model", 0, MOST_LOG, "log1p of the tokens of prompts that are still to be computed there"),
    Feature("gpu_ttft", "gpu-model", 0, MOST_LOG, "ttft on each GPU, GPU-major; 16 where the model is not hosted"),
    Feature("gpu_tpot", "gpu-model", 0, MOST_LOG, "tpot on each GPU; 16 where not hosted"),
    Feature("gpu_kv", "gpu-model", 0, 1, "kv on each GPU; 1 where not hosted"),
    Feature("gpu_prefill", "gpu-model", 0, MOST_LOG, "prefill on each GPU; 16 where not hosted"),
    Feature("gpu_held", "gpu-model", 0, MOST_LOG, "log1p of the requests that run and wait for the model on each GPU"),
    Feature("age", "model", 0, MOST_LOG, "log1p of how old the signals of the GPU are that would serve the model, in units of 0.1 s; 0 if exact"),
    Feature("sent", "model", 0, MOST_LOG, "log1p of the requests sent to the model since what is seen of their GPUs"),
    Feature("gpu_age", "gpu", 0, MOST_LOG, "age on each GPU"),
    Feature("gpu_sent", "gpu-model", 0, MOST_LOG, "sent on each GPU, GPU-major"),
    Feature("gpu_in_flight", "gpu-model", 0, MOST_LOG, "log1p of the requests sent to the model on each GPU that have not come back"),
    Feature("gpu_up", "gpu", 0, 1, "1 where the router must believe that the GPU is up"),
    Feature("gpu_leaving", "gpu", 0, MOST_LOG, "log1p of the milliseconds until the GPU goes, as was told; 16 where nothing was"),
    Feature("tries", "once", 0, MOST_LOG, "log1p of how often the pending request has failed"),
    Feature("waited", "once", 0, MOST_LOG, "log1p of the milliseconds since the pending request arrived"),
)  # fmt: skip


FEATURE_NAMES = tuple(feature.name for feature in FEATURES)


DEFAULT_FEATURES = ("task", "fast_rate", "slow_rate", "backlog", "running", "busy", "slack")


PAPER_FEATURES = ("task", "batch", "rate")


PAIR_FEATURES = ("task", "fast_rate", "gpu_slack", "gpu_work")


GPU_FEATURES = (*DEFAULT_FEATURES, "gpu_slack", "gpu_work", "gpu_backlog", "gpu_running")


ENGINE_FEATURES = (
    *("task", "prompt", "fast_rate", "slow_rate", "backlog", "running"),
    *("slack", "ttft", "tpot", "kv"),
)


# Their numbers, as compiled code reads them: derived, so that the table may change its order.
TASK = FEATURE_NAMES.index("task")
FAST_RATE = FEATURE_NAMES.index("fast_rate")
SLOW_RATE = FEATURE_NAMES.index("slow_rate")
BACKLOG = FEATURE_NAMES.index("backlog")
RUNNING = FEATURE_NAMES.index("running")
BUSY = FEATURE_NAMES.index("busy")
SLACK = FEATURE_NAMES.index("slack")
DEADLINE = FEATURE_NAMES.index("deadline")
GPU_SLACK = FEATURE_NAMES.index("gpu_slack")
GPU_WORK = FEATURE_NAMES.index("gpu_work")
GPU_BACKLOG = FEATURE_NAMES.index("gpu_backlog")
GPU_RUNNING = FEATURE_NAMES.index("gpu_running")
BATCH = FEATURE_NAMES.index("batch")
RATE = FEATURE_NAMES.index("rate")
GRACE = FEATURE_NAMES.index("grace")
SHORT_RATE = FEATURE_NAMES.index("short_rate")
CLASS = FEATURE_NAMES.index("class")
PROMPT = FEATURE_NAMES.index("prompt")
TTFT = FEATURE_NAMES.index("ttft")
TPOT = FEATURE_NAMES.index("tpot")
KV = FEATURE_NAMES.index("kv")
PREFILL = FEATURE_NAMES.index("prefill")
GPU_TTFT = FEATURE_NAMES.index("gpu_ttft")
GPU_TPOT = FEATURE_NAMES.index("gpu_tpot")
GPU_KV = FEATURE_NAMES.index("gpu_kv")
GPU_PREFILL = FEATURE_NAMES.index("gpu_prefill")
GPU_HELD = FEATURE_NAMES.index("gpu_held")
AGE = FEATURE_NAMES.index("age")
SENT = FEATURE_NAMES.index("sent")
GPU_AGE = FEATURE_NAMES.index("gpu_age")
GPU_SENT = FEATURE_NAMES.index("gpu_sent")
GPU_IN_FLIGHT = FEATURE_NAMES.index("gpu_in_flight")
GPU_UP = FEATURE_NAMES.index("gpu_up")
GPU_LEAVING = FEATURE_NAMES.index("gpu_leaving")
TRIES = FEATURE_NAMES.index("tries")
WAITED = FEATURE_NAMES.index("waited")


@dataclass(frozen=True)
class Layout:
    """Which columns an observation has: features by name, for so many tasks, GPUs, ...

    Raises:
        ConfigError: a name that is no feature, or one that stands twice.
    """

    names: tuple[str, ...]
    tasks: int = 1
    gpus: int = 1
    models: int = 1
    classes: int = 1

    def __post_init__(self) -> None:
        names = self.names
        known = f"one or more of {', '.join(FEATURE_NAMES)}, each once"
        valid = len(names) > 0 and set(names) <= set(FEATURE_NAMES)
        require(valid and len(set(names)) == len(names), "observation", names, known)

    def columns(self, name: str) -> int:
        """How many columns feature `name` takes."""
        sizes = {"task": self.tasks, "once": 1, "model": self.models, "class": self.classes}
        sizes |= {"gpu": self.gpus, "gpu-model": self.gpus * self.models}
        return sizes[FEATURES[FEATURE_NAMES.index(name)].per]

    @property
    def width(self) -> int:
        """How many columns there are."""
        return sum(map(self.columns, self.names))

    def first(self, name: str) -> int:
        """First column of feature `name`; -1 if it is left out."""
        if name not in self.names:
            return -1
        return sum(map(self.columns, self.names[: self.names.index(name)]))

    @property
    def starts(self) -> NDArray[np.int64]:
        """First column of every feature of FEATURES; -1 where it is left out."""
        return np.array([self.first(name) for name in FEATURE_NAMES], np.int64)

    @property
    def bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lowest and highest value of every column."""
        chosen = [FEATURES[FEATURE_NAMES.index(name)] for name in self.names]
        widths = [self.columns(name) for name in self.names]
        low = np.repeat(np.array([feature.low for feature in chosen], np.float32), widths)
        high = np.repeat(np.array([feature.high for feature in chosen], np.float32), widths)
        return low, high
