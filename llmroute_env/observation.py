"""What the router sees: one table of features and its compiled encoder.

All features are float32 and bounded. Backlogs and slacks are compressed by logarithms instead of
clipped at a small value, so that they still order states deep in overload.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env._compiled import compiled
from llmroute_env.cluster import Cluster
from llmroute_env.dispatch import FINISH, added_work_s, choose_gpu, predicted_latency_s
from llmroute_env.specs import require
from llmroute_env.world import World

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
)  # fmt: skip

FEATURE_NAMES = tuple(feature.name for feature in FEATURES)
DEFAULT_FEATURES = ("task", "fast_rate", "slow_rate", "backlog", "running", "busy", "slack")
PAPER_FEATURES = ("task", "batch", "rate")
PAIR_FEATURES = ("task", "fast_rate", "gpu_slack", "gpu_work")
GPU_FEATURES = (*DEFAULT_FEATURES, "gpu_slack", "gpu_work", "gpu_backlog", "gpu_running")

TASK, FAST_RATE, SLOW_RATE, BACKLOG, RUNNING, BUSY, SLACK, DEADLINE = range(8)
GPU_SLACK, GPU_WORK, GPU_BACKLOG, GPU_RUNNING, BATCH, RATE, GRACE = range(8, 15)
SHORT_RATE, CLASS = range(15, len(FEATURES))


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
        sizes["gpu-model"] = self.gpus * self.models
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


@compiled
def slack(latency_s: float, deadline_s: float) -> float:
    """1 - latency / deadline, compressed logarithmically below -1 and bounded by -16."""
    if deadline_s == math.inf:
        return 1.0
    if deadline_s <= 0.0:
        return -MOST_LOG
    value = 1.0 - latency_s / deadline_s
    if value >= -1.0:
        return value
    return max(-1.0 - math.log(-value), -MOST_LOG)


@compiled
def log_rate(load: float) -> float:
    """log1p of an arrival rate; exact enough for float32, and twice as fast as log1p."""
    return min(math.log(1.0 + load), MOST_LOG)


@compiled
def log_backlog(cluster: Cluster, waiting: int) -> float:
    """log1p of the waiting requests per GPU."""
    if waiting < len(cluster.log_backlog):
        return float(cluster.log_backlog[waiting])
    return min(math.log1p(waiting / cluster.rules[0].gpus), MOST_LOG)


@compiled
def encode(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write the observation of env `e` into `row`."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    at = cluster.layout
    env = s.envs[e]
    if at[TASK] >= 0:
        for task in range(rules.tasks):
            row[at[TASK] + task] = 1.0 if task == env.task else 0.0
    if at[FAST_RATE] >= 0:
        row[at[FAST_RATE]] = log_rate(env.fast_rate_per_s / rules.load_1_per_s)
    if at[SLOW_RATE] >= 0:
        row[at[SLOW_RATE]] = log_rate(env.slow_rate_per_s / rules.load_1_per_s)
    if at[RATE] >= 0:
        row[at[RATE]] = min(env.slow_rate_per_s / rules.load_1_per_s, 10_000.0)
    if at[SHORT_RATE] >= 0:
        row[at[SHORT_RATE]] = min(env.fast_rate_per_s / rules.load_1_per_s, 10_000.0)
    if at[CLASS] >= 0:
        for user_class in range(rules.classes):
            row[at[CLASS] + user_class] = 1.0 if user_class == env.user_class else 0.0
    if at[BUSY] >= 0:
        row[at[BUSY]] = env.busy_gpus / rules.gpus
    if at[DEADLINE] >= 0:
        bounded_s = min(max(env.deadline_s, 1e-6), 8e6)
        row[at[DEADLINE]] = math.log(bounded_s)
    if at[GRACE] >= 0:
        relative = env.grace_s / max(env.deadline_s, 1e-6)
        row[at[GRACE]] = min(math.log1p(relative), MOST_LOG)
    encode_models(world, e, row)
    if at[GPU_SLACK] >= 0:
        encode_slacks(world, e, row)
    if at[GPU_WORK] >= 0:
        encode_work(world, e, row)
    if at[GPU_BACKLOG] >= 0:
        encode_backlogs(world, e, row)
    if at[GPU_RUNNING] >= 0:
        encode_running(world, e, row)


@compiled
def encode_for_pairs(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write only what priced pairs read, where an observation that holds it all has it."""
    cluster, s = world.cluster, world.state
    for task in range(cluster.rules[0].tasks):
        row[cluster.layout[TASK] + task] = 1.0 if task == s.envs[e].task else 0.0
    row[cluster.layout[FAST_RATE]] = log_rate(
        s.envs[e].fast_rate_per_s / cluster.rules[0].load_1_per_s
    )
    if cluster.layout[CLASS] >= 0:
        for user_class in range(cluster.rules[0].classes):
            here = user_class == s.envs[e].user_class
            row[cluster.layout[CLASS] + user_class] = 1.0 if here else 0.0
    encode_slacks(world, e, row)
    encode_work(world, e, row)


@compiled
def encode_models(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write the features that have one column per model."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    at = cluster.layout
    # Read once: after every write into the row the compiler would read them again.
    backlog, running, batch, slacks = at[BACKLOG], at[RUNNING], at[BATCH], at[SLACK]
    gpus, deadline_s = rules.gpus, s.envs[e].deadline_s
    for m in range(rules.models):
        model = s.models[e, m]
        full = gpus * cluster.largest_limit[m]
        if backlog >= 0:
            row[backlog + m] = log_backlog(cluster, model.waiting)
        if running >= 0:
            row[running + m] = model.running / full
        if batch >= 0:
            row[batch + m] = min((model.waiting + model.running) / full, 10_000.0)
        if slacks >= 0:
            gpu = choose_gpu(world, e, m)
            latency_s = predicted_latency_s(world, e, gpu, m)
            row[slacks + m] = slack(latency_s, deadline_s)


@compiled
def encode_slacks(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write the predicted slack on every (GPU, model)."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    column = cluster.layout[GPU_SLACK]
    for gpu in range(rules.gpus):
        for m in range(rules.models):
            value = -MOST_LOG
            if cluster.batch_limit[cluster.pool_of[gpu], m] > 0:
                latency_s = predicted_latency_s(world, e, gpu, m)
                value = slack(latency_s, s.envs[e].deadline_s)
            row[column] = value
            column += 1


@compiled
def encode_work(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write the work that the pending request adds on every (GPU, model)."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    column = cluster.layout[GPU_WORK]
    per_s = rules.load_1_per_s / rules.gpus
    for gpu in range(rules.gpus):
        pool = cluster.pool_of[gpu]
        for m in range(rules.models):
            value = MOST_LOG
            if cluster.batch_limit[pool, m] > 0:
                added_s = added_work_s(cluster, pool, m, s.queues[e, gpu, m].waiting)
                value = min(added_s * per_s, MOST_LOG)
            row[column] = value
            column += 1


@compiled
def encode_backlogs(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write how many requests wait for every (GPU, model)."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    column = cluster.layout[GPU_BACKLOG]
    for gpu in range(rules.gpus):
        for m in range(rules.models):
            row[column] = min(math.log(1.0 + s.queues[e, gpu, m].waiting), MOST_LOG)
            column += 1


@compiled
def encode_running(world: World, e: int, row: NDArray[np.float32]) -> None:
    """Write how long every GPU still runs its batch, in the column of the batch's model."""
    cluster, s = world.cluster, world.state
    rules = cluster.rules[0]
    column = cluster.layout[GPU_RUNNING]
    per_s = rules.load_1_per_s / rules.gpus
    for gpu in range(rules.gpus):
        for m in range(rules.models):
            row[column + m] = 0.0
        model = s.gpus[e, gpu].model
        if model >= 0:
            left_s = max(s.contests[e, FINISH, gpu].key - s.envs[e].now_s, 0.0)
            row[column + model] = min(math.log(1.0 + left_s * per_s), MOST_LOG)
        column += rules.models
