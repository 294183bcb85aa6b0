"""Instances small enough to try everything, congested enough that choices matter."""

import math
from dataclasses import replace

import numpy as np

from benchmarks.bounds.instance import Instance
from benchmarks.bounds.upper import episodes
from llmroute_env.config import EnvConfig
from llmroute_env.specs import Deadline, GpuSpec, ModelSpec, Pool, Profile, RequestClass
from traces.trace import Provenance, Trace

UNIT_S = 2.0**-6
SEED = 5


def make_trace(arrival_s, task, tasks):
    requests = len(arrival_s)
    return Trace(
        arrival_s=np.array(arrival_s, float),
        task=np.array(task, np.int16),
        prompt_tokens=np.ones(requests, np.int32),
        output_tokens=np.ones(requests, np.int32),
        span_s=float(arrival_s[-1]) + 1.0,
        provenance=Provenance(source="small instance", sha256="", operations=()),
        tasks=tuple(f"task-{t}" for t in range(tasks)),
    )


def make_config(arrival_s, task, models, pools=((1, (0, 1), 1.0),), **fields):
    """`models`: (latencies, accuracies by task) each; `pools`: (GPUs, models, speed) each."""
    tasks = len(models[0][1])
    profile = Profile(
        name="small",
        tasks=tuple(f"task-{t}" for t in range(tasks)),
        models=tuple(
            ModelSpec(f"model-{m}", m + 1, 0, 0, tuple(latency_s), tuple(accuracy))
            for m, (latency_s, accuracy) in enumerate(models)
        ),
        gpus=tuple(GpuSpec(f"gpu-{p}", 1, speed) for p, (_, _, speed) in enumerate(pools)),
    )
    return EnvConfig(
        profile=profile,
        pools=tuple(
            Pool(gpus, tuple(f"model-{m}" for m in hosted), f"gpu-{p}")
            for p, (gpus, hosted, _) in enumerate(pools)
        ),
        max_batch={f"model-{m}": len(models[m][0]) for m in {m for _, h, _ in pools for m in h}},
        workload=make_trace(arrival_s, task, tasks),
        load=None,
        split="all",
        window_s=math.inf,
        **fields,
    )


def random_config(seed, requests=5):
    """Any rules: dispatchers, pairs, decays, shedding, placements, speeds, queue capacities."""
    rng = np.random.default_rng(seed)
    tables = [_latencies(rng), _latencies(rng)]
    pools = [((int(rng.integers(1, 3)), (0, 1), 1.0),)]
    pools.append(((1, (0,), 1.0), (1, (0, 1), float(rng.choice([0.5, 1.0, 2.0])))))
    deadline_s = UNIT_S * int(rng.integers(3, 40))
    kind = str(rng.choice(["hard", "hard", "linear", "exponential"]))
    grace_s = 0.0 if kind == "hard" else UNIT_S * int(rng.integers(1, 30))
    gaps = rng.integers(0, int(rng.choice([2, 8, 30])), requests)
    return make_config(
        UNIT_S * np.cumsum(gaps),
        rng.integers(0, 2, requests),
        [(table, rng.integers(20, 101, 2) / 100) for table in tables],
        pools[int(rng.integers(2))],
        deadline=Deadline(deadline_s, kind, grace_s),
        dispatcher=str(rng.choice(["least-work", "shortest-queue", "round-robin"])),
        action=str(rng.choice(["model", "gpu-model"])),
        queue_capacity=int(rng.choice([1, 2, 100])),
        shed_expired=bool(rng.integers(2)),
        deadline_aware_batching=bool(rng.integers(2)),
    )


def with_classes(config, seed):
    """In every third instance, two classes of users with weights and deadlines of any kind."""
    if seed % 3:
        return config
    rng = np.random.default_rng([seed, 1])
    kind = str(rng.choice(["hard", "linear", "exponential"]))
    grace_s = 0.0 if kind == "hard" else UNIT_S * int(rng.integers(1, 30))
    other = Deadline(UNIT_S * int(rng.integers(3, 40)), kind, grace_s)
    weight = float(rng.choice([0.5, 3.0]))
    return replace(config, classes=(RequestClass("a"), RequestClass("b", weight, other)))


def _latencies(rng):
    """T(1), T(2), ... of one to three requests, mostly growing less than proportionally."""
    first, steps = int(rng.integers(3, 25)), rng.integers(0, 10, int(rng.integers(0, 3)))
    return UNIT_S * np.cumsum([first, *steps])


def instance_of(config) -> Instance:
    return episodes(config, np.array([SEED], np.uint64))[0]
