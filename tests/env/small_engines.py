"""A small cluster of continuous batching, with step times made up to tell rules apart."""

from typing import Any

from llmroute_env import EnvConfig
from llmroute_env.engine_specs import Line, StepTimes, Surface
from llmroute_env.specs import Deadline, GpuSpec, ModelSpec, Pool, Profile
from traces.lengths import MeasuredLengths
from traces.tasks import TaskMix
from traces.workloads import PoissonArrivals

FEATURES = ("task", "prompt", "slack", "ttft", "tpot", "kv", "prefill", "gpu_kv", "gpu_held")


def step_times(factor: float) -> StepTimes:
    """Steps of a model so many times as slow as the middle one."""
    linear_s = (0.005, 0.0055, 0.009, 0.036)
    return StepTimes(
        linear=Line((1, 64, 512, 2048), tuple(factor * s for s in linear_s)),
        decode=Surface(
            (1, 8, 64),
            (64, 1024, 8192),
            ((1e-4, 2e-4, 1e-3), (2e-4, 8e-4, 5e-3), (1e-3, 5e-3, 4e-2)),
        ),
        prefill=Surface((16, 512), (0, 2048), ((1e-4, 2e-4), (5e-4, 2e-3))),
        head=Line((1, 256), (2e-4, 6e-4)),
        host_s=5e-4,
        prefill_factor=1.15,
    )


def model(name: str, billions: int, kv_bytes: int, accuracy: tuple[float, ...]) -> ModelSpec:
    """A model of two bytes a parameter."""
    parameters = billions * 10**9
    times = {"card": step_times(billions / 7)}
    return ModelSpec(name, parameters, 2 * parameters, kv_bytes, (), accuracy, step_times=times)


PROFILE = Profile(
    "small",
    ("chat", "code"),
    (
        model("small", 3, 36_864, (0.6, 0.5)),
        model("middle", 7, 57_344, (0.7, 0.72)),
        model("large", 14, 196_608, (0.8, 0.7)),
    ),
    (GpuSpec("card", 80 * 10**9, max_num_seqs=64, max_num_batched_tokens=512),),
)

POOLS = (Pool(1, ("small",)), Pool(1, ("middle",)), Pool(2, ("large",)))


def small_engines(**changes: Any) -> EnvConfig:
    """Three sizes on four cards: chats and code, due in time and at a pace."""
    fields: dict[str, Any] = {
        "profile": PROFILE,
        "pools": POOLS,
        "deadline": Deadline(20.0, ttft_s=2.0, tpot_s=0.2),
        "service": "continuous",
        "workload": PoissonArrivals(300.0),
        "mix": TaskMix((2.0, 1.0)),
        "lengths": {"chat": MeasuredLengths("azure-conv"), "code": MeasuredLengths("azure-code")},
        "observation": FEATURES,
        "window_s": 10.0,
    }
    return EnvConfig(**(fields | changes))
