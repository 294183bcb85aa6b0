"""What a cluster is: models, GPUs, pools and deadlines as frozen, validated dataclasses.

Everything a user can set is checked here, once, where it enters; the simulator behind trusts it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeVar

from llmroute_env.engine_specs import LATER as LATER
from llmroute_env.engine_specs import StepTimes, check_step_limits
from llmroute_env.errors import ConfigError as ConfigError
from llmroute_env.errors import require as require
from traces.typed import check_fields

TICK_S, TICKS_PER_S = 2.0**-30, 2.0**30
"""Resolution of the clock. Sums of multiples of it are exact in float64 below 48 days."""


def to_ticks_s(seconds: float) -> float:
    """`seconds` rounded to the nearest whole number of ticks."""
    ticks = seconds / TICK_S
    return float(round(ticks) * TICK_S) if math.isfinite(ticks) else seconds


@dataclass(frozen=True)
class ModelSpec:
    """One size of a language model.

    Attributes:
        batch_latency_s: entry b-1 is the time of a batch of b requests, run to completion, on the
            profile's first GPU; on others it is divided by their `relative_speed`,
        latency_by_gpu: but for those that have a table of their own here, by name.
        accuracy: one value in [0, 1] per task of the profile.
        step_times: how long steps of continuous batching take, by the name of the kind of GPU.
        context_tokens: the most that prompt and answer may have together.
    """

    name: str
    parameters: int
    weights_bytes: int
    kv_bytes_per_token: int
    batch_latency_s: tuple[float, ...]
    accuracy: tuple[float, ...]
    accuracy_source: tuple[str, ...] = ()
    latency_source: str = ""
    latency_by_gpu: Mapping[str, tuple[float, ...]] = field(default_factory=dict, metadata=LATER)
    step_times: Mapping[str, StepTimes] = field(default_factory=dict, metadata=LATER)
    context_tokens: int = field(default=32_768, metadata=LATER)

    def __post_init__(self) -> None:
        check_fields(self, f"model {self.name!r} ", ConfigError)
        where = f"model {self.name!r}"
        require(self.weights_bytes >= 0, f"{where} weights_bytes", self.weights_bytes, ">= 0")
        tables = {f"latency_by_gpu {gpu!r}": table for gpu, table in self.latency_by_gpu.items()}
        for name, table in {"batch_latency_s": self.batch_latency_s, **tables}.items():
            # One that was measured step by step needs no batches that run to completion.
            measured = len(table) > 0 or (name == "batch_latency_s" and len(self.step_times) > 0)
            require(measured, f"{where} {name}", (), "one per batch size")
            for latency_s in table:
                valid = math.isfinite(latency_s) and latency_s > 0
                require(valid, f"{where} {name}", latency_s, "finite seconds > 0")
            # A batch that grows quicker would make work negative: queues would drain by growing.
            falls = [pair for pair in pairwise(table) if pair[1] < pair[0]]
            require(
                not falls, f"{where} {name}", falls[:1], "seconds that never fall with the batch"
            )
        require(self.context_tokens >= 2, f"{where} context_tokens", self.context_tokens, ">= 2")
        for accuracy in self.accuracy:
            require(0 <= accuracy <= 1, f"{where} accuracy", accuracy, "a fraction in [0, 1]")

    def latency_s(self, gpu: GpuSpec) -> tuple[float, ...]:
        """T(1), T(2), ... on a kind of GPU, as far as it was measured."""
        if gpu.name in self.latency_by_gpu:
            return self.latency_by_gpu[gpu.name]
        return tuple(latency_s / gpu.relative_speed for latency_s in self.batch_latency_s)

    def sustainable_batch(self, gpu: GpuSpec, deadline_s: float) -> int:
        """The largest b with 2 T(b) <= deadline_s (wait for a batch, run in one); at least 1."""
        fits = [b for b, t in enumerate(self.latency_s(gpu), 1) if 2 * t <= deadline_s]
        return max(fits, default=1)


@dataclass(frozen=True)
class GpuSpec:
    """One kind of GPU, or of groups of them that run a model together (tensor parallel).

    Attributes:
        memory_bytes: of all its GPUs together.
        relative_speed: divides the batch latencies of models without a table for it.
        gpus: how many it is.
        reserved_bytes: what neither weights nor KV cache can use, of all together.
        max_num_seqs: requests that an engine runs in one step on it.
        max_num_batched_tokens: tokens, likewise.
    """

    name: str
    memory_bytes: int
    relative_speed: float = 1.0
    gpus: int = field(default=1, metadata=LATER)
    reserved_bytes: int = field(default=0, metadata=LATER)
    max_num_seqs: int = field(default=256, metadata=LATER)
    max_num_batched_tokens: int = field(default=2048, metadata=LATER)

    def __post_init__(self) -> None:
        where = f"gpu {self.name!r}"
        check_fields(self, f"{where} ", ConfigError)
        valid = math.isfinite(self.relative_speed) and self.relative_speed > 0
        require(valid, f"{where} relative_speed", self.relative_speed, "finite, > 0")
        require(self.gpus >= 1, f"{where} gpus", self.gpus, ">= 1")
        require(self.reserved_bytes >= 0, f"{where} reserved_bytes", self.reserved_bytes, ">= 0")
        check_step_limits(where, self.max_num_seqs, self.max_num_batched_tokens)


@dataclass(frozen=True)
class Profile:
    """Models, GPUs and tasks that were measured together."""

    name: str
    tasks: tuple[str, ...]
    models: tuple[ModelSpec, ...]
    gpus: tuple[GpuSpec, ...]
    task_items: tuple[int, ...] = ()
    tokens_per_request: int = 0

    def __post_init__(self) -> None:
        check_fields(self, f"profile {self.name!r} ", ConfigError)
        require(len(self.models) > 0, f"profile {self.name!r} models", (), "at least one model")
        require(len(self.gpus) > 0, f"profile {self.name!r} gpus", (), "at least one GPU")
        for model in self.models:
            accepted = f"one per task, {len(self.tasks)}"
            where = f"model {model.name!r} accuracy"
            require(len(model.accuracy) == len(self.tasks), where, model.accuracy, accepted)
            known = [kind.name for kind in self.gpus]
            for name in ("latency_by_gpu", "step_times"):
                for gpu in getattr(model, name):
                    where = f"model {model.name!r} {name}"
                    require(gpu in known, where, gpu, ", ".join(known))

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of its models, in their order."""
        return tuple(model.name for model in self.models)

    def model(self, name: str) -> ModelSpec:
        """The model called `name`, or a ConfigError."""
        return _named(self.models, name, "model")

    def gpu(self, name: str) -> GpuSpec:
        """The GPU called `name`, the first for an empty one, or a ConfigError."""
        return self.gpus[0] if name == "" else _named(self.gpus, name, "gpu")


Spec = TypeVar("Spec", ModelSpec, GpuSpec)


def _named(specs: Sequence[Spec], name: str, field: str) -> Spec:
    for spec in specs:
        if spec.name == name:
            return spec
    raise ConfigError(f"{field}: {name!r} is unknown; accepted: {', '.join(s.name for s in specs)}")


@dataclass(frozen=True)
class Pool:
    """Consecutive GPUs of one kind that host the same models.

    `models` are names in the profile; none for all of them. `gpu` is the kind's name there; empty
    for the first.
    """

    gpus: int
    models: tuple[str, ...] = ()
    gpu: str = ""

    def __post_init__(self) -> None:
        check_fields(self, "pool ", ConfigError)
        require(1 <= self.gpus <= 4096, "pool gpus", self.gpus, "1 to 4096")
        unique = len(set(self.models)) == len(self.models)
        require(unique, "pool models", self.models, "each model once")

    def naming(self, profile: Profile) -> Pool:
        """The pool with its models named: all of the profile, if it names none."""
        return self if self.models else replace(self, models=profile.model_names)


DEADLINE_KINDS = ("hard", "linear", "exponential")


@dataclass(frozen=True)
class Deadline:
    """When an answer still counts.

    `hard`: accuracy if the latency is at most `deadline_s`, else 0. `linear` and `exponential`
    fall from the full accuracy at `deadline_s` to 0 at `deadline_s + grace_s`.

    Only continuous batching has tokens, and so more of these: `ttft_s` to the first one, `tpot_s`
    for each after it. Lateness is then that of what is latest (docs/continuous-batching.md). After
    `patience_s` the user has gone.
    """

    deadline_s: float = 0.4
    kind: str = "hard"
    grace_s: float = 0.0
    ttft_s: float = field(default=math.inf, metadata=LATER)
    tpot_s: float = field(default=math.inf, metadata=LATER)
    patience_s: float = field(default=math.inf, metadata=LATER)

    def __post_init__(self) -> None:
        check_fields(self, "deadline ", ConfigError)
        require(self.kind in DEADLINE_KINDS, "deadline kind", self.kind, ", ".join(DEADLINE_KINDS))
        for name in ("deadline_s", "ttft_s", "tpot_s", "patience_s"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "seconds >= 0, or inf")
        patience_s, accepted = self.patience_s, f"at least {TICK_S:.1g} s, or inf"
        require(patience_s >= TICK_S, "patience_s", patience_s, accepted)
        if self.kind == "hard":
            require(self.grace_s == 0, "grace_s", self.grace_s, "0 with a hard deadline")
        else:
            valid = math.isfinite(self.grace_s) and self.grace_s > 0
            require(valid, "grace_s", self.grace_s, f"finite seconds > 0 with a {self.kind} one")


@dataclass(frozen=True)
class Defer:
    """How a router may put a request off.

    Attributes:
        wait_s: after which it is pending again.
        most: how often one request can be put off; once more rejects it.
    """

    wait_s: float
    most: int

    def __post_init__(self) -> None:
        check_fields(self, "defer ", ConfigError)
        valid = math.isfinite(self.wait_s) and self.wait_s >= TICK_S
        require(valid, "defer wait_s", self.wait_s, f"finite seconds >= {TICK_S:.1g}")
        require(1 <= self.most <= 1000, "defer most", self.most, "1 to 1000")


@dataclass(frozen=True)
class RequestClass:
    """Users of one kind: how much their answers count, and when these are due.

    Attributes:
        name: of the class.
        weight: factor of the utility of an answer, and of its peak.
        deadline: when answers still count; None: the environment's own deadline.
        task_weights: further factors, by task.
        task_deadlines: in place of `deadline`, by task.
    """

    name: str
    weight: float = 1.0
    deadline: Deadline | None = None
    task_weights: Mapping[str, float] = field(default_factory=dict)
    task_deadlines: Mapping[str, Deadline] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, f"class {self.name!r} ", ConfigError)
        require(self.name != "", "class name", self.name, "a text that is not empty")
        where = f"class {self.name!r}"
        for name, weight in {"weight": self.weight, **self.task_weights}.items():
            valid = math.isfinite(weight) and weight > 0
            what = name if name == "weight" else f"task_weights {name!r}"
            require(valid, f"{where} {what}", weight, "a finite number > 0")

    def weight_of(self, task: str) -> float:
        """Factor of the utility of an answer to `task`."""
        return self.weight * self.task_weights.get(task, 1.0)

    def deadline_of(self, task: str, usual: Deadline) -> Deadline:
        """When an answer to `task` counts; `usual` is the environment's."""
        return self.task_deadlines.get(task, self.deadline or usual)
