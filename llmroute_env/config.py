"""EnvConfig: everything a user can set about an environment, validated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llmroute_env import profiles
from llmroute_env.dynamics.actions import ACTIONS, number_of_actions
from llmroute_env.dynamics.dispatch import DISPATCHERS
from llmroute_env.dynamics.features import DEFAULT_FEATURES, Layout
from llmroute_env.dynamics.service.models import SERVICES
from llmroute_env.engine_specs import Engine
from llmroute_env.failure_specs import Failures
from llmroute_env.signal_specs import Signals
from llmroute_env.specs import (
    LATER,
    TICK_S,
    ConfigError,
    Deadline,
    Defer,
    GpuSpec,
    ModelSpec,
    Pool,
    Profile,
    RequestClass,
    require,
)
from traces.errors import TraceError
from traces.lengths import Lengths
from traces.tasks import Mix, TaskMix
from traces.trace import Trace
from traces.typed import check_fields
from traces.workloads import PoissonArrivals, Workload, mean_tokens

SPLITS = ("train", "validation", "test", "all")


@dataclass(frozen=True)
class EnvConfig:
    """One environment: cluster, service rules, deadline, workload and what the router sees.

    Attributes:
        profile: name of a shipped one, a `.toml` file, whose content is kept, or a Profile.
        pools: the placement, pool after pool; a pool that names no models hosts all of the profile.
        deadline: when an answer still counts.
        dispatcher: how the GPU is chosen for a model: one of DISPATCHERS.
        action: `model`: Discrete(models); `gpu-model`: Discrete(GPUs x models), GPU-major.
        queue_capacity: requests that may wait in each (GPU, model) queue; more are rejected.
        max_batch: batch limit by model name; the default is the model's b* (docs/service-model.md).
        shed_expired: drop requests that can no longer earn anything when a batch forms.
        deadline_aware_batching: grow a batch only while its head can still be in time.
        observation: names from the FEATURES table, in order.
        rate_windows_s: short and long time constant of the arrival-rate estimates.
        workload: where arrivals come from: a recipe, or a Trace of your own.
        load: mean arrival rate of the workload in units of load 1; (low, high) draws one load per
            episode, log-uniformly. None, only with a Trace: keep the trace's own rate.
        mix: task mix of workloads that have none of their own, traces without tasks included.
        split: which part of the workload's time episodes are cut from: one of SPLITS.
        window_s: length of an episode.
        workload_seed: seed of the workload itself; episodes differ by the seed given to `reset`.
        classes: kinds of users with deadlines and weights of their own; none: all are alike.
        class_mix: how frequent each class is, by name, relative to the others; equal by default.
        service: what happens to requests on a GPU: one of SERVICES.
        reject: whether a router may turn requests away, at once: one more action, after those that
            route.
        reject_utility: what doing so is worth, at most what the largest model earns in time.
        defer: how a router may put requests off: one more action, the last; None: it may not.
        failures: which machines fail, when, and what becomes of requests then; None: none do.
        engine: what the engines of `service="continuous"` may run and hold at once.
        lengths: how long prompts and answers are, by task, for a service that reads them; of tasks
            that it leaves out they are as long as the workload says.
        signals: how late, noisy and incomplete is what a router knows of the GPUs.
    """

    profile: str | Profile = "opt-a100"
    pools: tuple[Pool, ...] = (Pool(4),)
    deadline: Deadline = field(default_factory=Deadline)
    dispatcher: str = "least-work"
    action: str = "model"
    queue_capacity: int = 512
    max_batch: Mapping[str, int] = field(default_factory=dict)
    shed_expired: bool = True
    deadline_aware_batching: bool = False
    observation: tuple[str, ...] = DEFAULT_FEATURES
    rate_windows_s: tuple[float, float] = (0.2, 2.0)
    workload: Workload | Trace = field(default_factory=PoissonArrivals)
    load: float | tuple[float, float] | None = 1.0
    mix: Mix = field(default_factory=TaskMix)
    split: str = "train"
    window_s: float = 30.0
    workload_seed: int = 0
    classes: tuple[RequestClass, ...] = field(default=(), metadata=LATER)
    class_mix: Mapping[str, float] = field(default_factory=dict, metadata=LATER)
    service: str = field(default="static", metadata=LATER)
    reject: bool = field(default=False, metadata=LATER)
    reject_utility: float = field(default=0.0, metadata=LATER)
    defer: Defer | None = field(default=None, metadata=LATER)
    failures: Failures | None = field(default=None, metadata=LATER)
    engine: Engine = field(default_factory=Engine, metadata=LATER)
    lengths: Mapping[str, Lengths] = field(default_factory=dict, metadata=LATER)
    signals: Signals = field(default_factory=Signals, metadata=LATER)

    def __post_init__(self) -> None:
        check_fields(self, error=ConfigError)
        if isinstance(self.profile, str) and self.profile not in profiles.names():
            # The file's content, now: what is made of it later must not follow its changes.
            object.__setattr__(self, "profile", profiles.load(self.profile))
        # Named, so that the configuration says what it hosts wherever it is written.
        named = tuple(pool.naming(self.resolved_profile) for pool in self.pools)
        object.__setattr__(self, "pools", named)
        self._check_rules()
        self._check_workload()
        self._check_placement()
        self._check_classes()
        self._check_lengths()
        self._check_rejection()
        self._check_failures()

    def _check_rules(self) -> None:
        accepted = ", ".join(DISPATCHERS)
        require(self.dispatcher in DISPATCHERS, "dispatcher", self.dispatcher, accepted)
        require(self.action in ACTIONS, "action", self.action, ", ".join(ACTIONS))
        require(self.service in SERVICES, "service", self.service, ", ".join(SERVICES))
        capacity = self.queue_capacity
        require(1 <= capacity <= 1_000_000, "queue_capacity", capacity, "1 to 1000000")
        for window_s in self.rate_windows_s:
            # Below a tick of the clock the estimate is no number.
            valid = math.isfinite(window_s) and window_s >= TICK_S
            accepted = f"two finite lengths >= {TICK_S:.1g} s"
            require(valid, "rate_windows_s", self.rate_windows_s, accepted)
        Layout(self.observation)

    def _check_workload(self) -> None:
        low, high = self.load_range
        valid = math.isfinite(low) and math.isfinite(high) and 0 < low <= high
        require(valid, "load", self.load, "a number > 0, or (low, high) with 0 < low <= high")
        if self.load is None:
            require(isinstance(self.workload, Trace), "load", None, "a number with this workload")
        mixed, tasks = self.resolved_mix.tasks, len(self.tasks)
        require(mixed == tasks, "mix", self.mix, f"one weight per task of the profile, {tasks}")
        require(self.split in SPLITS, "split", self.split, ", ".join(SPLITS))
        require(self.window_s > 0, "window_s", self.window_s, "seconds > 0, or inf")
        require(self.workload_seed >= 0, "workload_seed", self.workload_seed, ">= 0")

    def _check_placement(self) -> None:
        require(len(self.pools) > 0, "pools", self.pools, "at least one Pool")
        hosted = [model for pool in self.pools for model in pool.models]
        for name in self.max_batch:
            require(name in hosted, "max_batch", name, f"hosted models: {', '.join(hosted)}")
        SERVICES[self.service].check(self)

    def _check_classes(self) -> None:
        names = [users.name for users in self.classes]
        require(len(set(names)) == len(names), "classes", names, "names that differ")
        require(len(names) <= 1000, "classes", len(names), "at most 1000")
        for users in self.classes:
            for task in (*users.task_weights, *users.task_deadlines):
                accepted = f"tasks of the profile: {', '.join(self.tasks)}"
                require(task in self.tasks, f"class {users.name!r} task", task, accepted)
        for name, share in self.class_mix.items():
            accepted = f"names of classes: {', '.join(names) or 'there are none'}"
            require(name in names, "class_mix", name, accepted)
            valid = math.isfinite(share) and share > 0
            require(valid, f"class_mix {name!r}", share, "a finite number > 0")
        missing = [name for name in names if self.class_mix and name not in self.class_mix]
        require(not missing, "class_mix lacks", missing, "a share for every class, or for none")

    def _check_rejection(self) -> None:
        most = float(self.utility[:, :, self.models.index(self.largest_model)].max())
        valid = math.isfinite(self.reject_utility) and self.reject_utility <= most
        accepted = f"at most {most:g}, what an answer by the largest model in time is worth"
        require(valid, "reject_utility", self.reject_utility, accepted)
        needed = self.reject or self.reject_utility == 0.0
        require(needed, "reject_utility", self.reject_utility, "0 without reject")

    def _check_failures(self) -> None:
        if self.failures is not None:
            self.failures.machines([pool.gpus for pool in self.pools])
            self.failures.laws(self.split)

    def _check_lengths(self) -> None:
        reads = SERVICES[self.service].reads_lengths
        accepted = f"none with service {self.service!r}, which reads no lengths"
        require(reads or not self.lengths, "lengths", dict(self.lengths), accepted)
        for task in self.lengths:
            require(task in self.tasks, "lengths task", task, ", ".join(self.tasks))
        due = [
            users.deadline_of(task, self.deadline)
            for users in self.resolved_classes
            for task in self.tasks
        ]
        for name in ("ttft_s", "tpot_s", "patience_s"):
            found = min(getattr(deadline, name) for deadline in due)
            accepted = f"inf with service {self.service!r}, which has no tokens"
            require(reads or found == math.inf, f"deadline {name}", found, accepted)

    @property
    def resolved_profile(self) -> Profile:
        """The profile itself, when `profile` is a name."""
        return profiles.load(self.profile) if isinstance(self.profile, str) else self.profile

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """The hosted models, in the order of the profile: the meaning of action 0, 1, ..."""
        hosted = {self.resolved_profile.model(name).name for p in self.pools for name in p.models}
        return tuple(model for model in self.resolved_profile.models if model.name in hosted)

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the hosted models, in action order."""
        return tuple(model.name for model in self.models)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in observation order."""
        return self.resolved_profile.tasks

    @property
    def resolved_mix(self) -> Mix:
        """The mix itself; the default one is equal, however many tasks the profile has."""
        return TaskMix((1.0,) * len(self.tasks)) if self.mix == TaskMix() else self.mix

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of users, in observation order; empty if all users are alike."""
        return tuple(users.name for users in self.classes)

    @property
    def class_shares(self) -> NDArray[np.float64]:
        """Share of the requests by class, shape (C,); one class if all users are alike."""
        shares = [self.class_mix.get(name, 1.0) for name in self.class_names] or [1.0]
        return np.array(shares, np.float64) / sum(shares)

    @property
    def layout(self) -> Layout:
        """Which columns the observation has."""
        sizes = len(self.tasks), self.gpus, len(self.models), max(len(self.classes), 1)
        return Layout(self.observation, *sizes)

    @property
    def resolved_classes(self) -> tuple[RequestClass, ...]:
        """The classes themselves; one of weight 1 if all users are alike."""
        return self.classes or (RequestClass("all"),)

    @property
    def utility(self) -> NDArray[np.float64]:
        """Utility of an answer in time, shape (C, T, M): accuracy x weight of class and task."""
        accuracy = np.array([model.accuracy for model in self.models]).T
        weights = np.array(
            [[users.weight_of(task) for task in self.tasks] for users in self.resolved_classes]
        )
        # In the order of C, as compiled code and files of weights expect.
        return np.ascontiguousarray(weights[:, :, None] * accuracy)

    @property
    def gpus(self) -> int:
        """Number of GPUs."""
        return sum(pool.gpus for pool in self.pools)

    @property
    def actions(self) -> int:
        """Size of the action space."""
        more = self.reject, self.defer is not None
        return number_of_actions(self.action, self.gpus, len(self.models), *more)

    @property
    def most_decisions(self) -> int:
        """The most decisions that one request can cause."""
        tries = 1 if self.failures is None else self.failures.tries
        return tries if self.defer is None else tries + self.defer.most

    @property
    def is_uncertain(self) -> bool:
        """Whether what routers see may not be so, or not stay so."""
        return self.signals.are_late or self.failures is not None

    @property
    def comes_back(self) -> bool:
        """Whether a request can become pending, or be lost, later than it was decided on."""
        return self.defer is not None or self.failures is not None

    @property
    def largest_model(self) -> ModelSpec:
        """The hosted model with the most parameters: serving all by it in time is the peak."""
        return max(self.models, key=lambda model: model.parameters)

    @property
    def load_range(self) -> tuple[float, float]:
        """Lowest and highest load of an episode; (1, 1) when the trace keeps its own rate."""
        if self.load is None:
            return 1.0, 1.0
        return self.load if isinstance(self.load, tuple) else (self.load, self.load)

    @property
    def load_1_per_s(self) -> float:
        """Arrivals per second at load 1: what the largest model alone sustains."""
        return self.sustained_per_s(self.largest_model)

    def sustained_per_s(self, model: ModelSpec) -> float:
        """Requests per second that `model` alone serves in time, on all that host it."""
        return SERVICES[self.service].sustained_per_s(self, model)

    @property
    def mean_tokens(self) -> NDArray[np.float64]:
        """Mean tokens of prompt and answer by task, shape (T, 2), for a service that reads them.

        Raises:
            ConfigError: neither `lengths` nor the workload knows them.
        """
        own = {task: recipe.mean_tokens for task, recipe in self.lengths.items()}
        if set(own) == set(self.tasks):
            return np.array([own[task] for task in self.tasks])
        try:
            means = mean_tokens(self.workload, self.tasks)
        except TraceError as error:
            raise ConfigError(str(error)) from error
        for task, mean in own.items():
            means[self.tasks.index(task)] = mean
        return means

    def gpu_of(self, pool: Pool) -> GpuSpec:
        """The kind of the pool's GPUs."""
        return self.resolved_profile.gpu(pool.gpu)

    def batch_limit(self, model: ModelSpec, pool: Pool | None = None) -> int:
        """The most requests of `model` that run at once on a GPU of `pool`, or of any host."""
        hosts = [p for p in self.pools if model.name in p.models] if pool is None else [pool]
        return max(SERVICES[self.service].batch_limit(self, model, host) for host in hosts)
