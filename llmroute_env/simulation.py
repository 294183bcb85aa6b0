"""A Simulation: the arrays of E envs and the compiled functions that move them.

It knows nothing of Gymnasium. The single env is a Simulation of one, the vector env of many; both
run the same compiled code, so env i of many equals one env with the same seed.
"""

from __future__ import annotations

import math
import operator
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env._compiled import entry_point
from llmroute_env.cluster import Tape
from llmroute_env.config import EnvConfig
from llmroute_env.episode import (
    DISABLED,
    allocate_outputs,
    encode_envs,
    reset_envs,
    step_envs,
)
from llmroute_env.queues import used_slots
from llmroute_env.specs import ConfigError, require
from llmroute_env.state import (
    COMPLETION,
    COMPLETION_STRUCT,
    OPAQUE,
    Completion,
    Log,
    Records,
    State,
    allocate,
    allocate_log,
)
from traces.errors import TraceError
from traces.lengths import as_measured
from traces.trace import Trace
from traces.workloads import build, take_split


def as_integer(action: object) -> int:
    """`action` as an int, or a ConfigError: 0.5, None and the like are no actions."""
    try:
        return operator.index(action)  # type: ignore[arg-type]
    except TypeError:
        raise ConfigError(f"action: got {action!r}; accepted: an integer") from None


def as_actions(actions: object, envs: int) -> NDArray[np.int64]:
    """`actions` as the compiled code reads them, which trusts their type and layout.

    Raises:
        ConfigError: not one integer per env.
    """
    given = np.asarray(actions)
    valid = given.shape == (envs,) and given.dtype.kind in "iu"
    require(valid, "actions", given, f"integers of shape {(envs,)}")
    return np.ascontiguousarray(given, np.int64)


@dataclass
class Part:
    """Envs first..last-1, which one thread steps, and the log of what ends in them."""

    first: int
    last: int
    log: Log


class Simulation:
    """E envs that step together.

    Attributes:
        trace: the split of the workload that episodes are windows of.
        state, outputs: the arrays; the next step overwrites them.
        parts: one per thread.
    """

    def __init__(
        self,
        config: EnvConfig,
        envs: int = 1,
        autoreset: int = DISABLED,
        max_requests: int = 0,
        logs_completions: bool = True,
        threads: int = 1,
    ) -> None:
        """Build the workload, the tables and the arrays.

        Several threads share the envs of a step; results do not depend on how many.

        Raises:
            ConfigError: a workload without requests or with tasks that the profile lacks.
        """
        require(envs >= 1, "num_envs", envs, ">= 1")
        require(1 <= threads <= envs, "threads", threads, f"1 to num_envs, {envs}")
        require(max_requests >= 0, "max_requests", max_requests, ">= 0; 0 for no limit")
        self.config = config
        self.actions = config.actions
        self.trace, tape_load = workload_trace(config)
        self.tape = make_tape(self.trace, config)
        own = {
            "tape_load": tape_load,
            "tape_span_s": self.trace.span_s,
            "autoreset": autoreset,
            "max_requests": max_requests,
        }
        if config.load is None:
            own |= {"min_load": tape_load, "max_load": tape_load}
        self.cluster = config.build_cluster(own)
        rules = self.cluster.rules[0]
        shape = envs, config.gpus, len(config.models), int(rules["classes"]), int(rules["slots"])
        self.state = allocate(*shape)
        self.outputs = allocate_outputs(envs, config.layout.width, self.state)
        edges = [envs * part // threads for part in range(threads + 1)]
        capacity = max(1024, 16 * envs) if logs_completions else 0
        self.parts = [Part(*edge, allocate_log(capacity)) for edge in pairwise(edges)]
        self._action = np.zeros(1, np.int64)
        self._step_envs: Callable[..., int] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._logged: memoryview | None = None

    def observation_bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lowest and highest value of every observation column."""
        return self.config.layout.bounds

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions lead to a GPU that hosts the model, shape (actions,)."""
        hosted: NDArray[np.bool_] = self.cluster.batch_limit > 0
        per_gpu = hosted[self.cluster.pool_of]
        joint = self.config.action == "gpu-model"
        masks: NDArray[np.bool_] = per_gpu.ravel() if joint else np.logical_or.reduce(per_gpu)
        return masks

    def seed(self, chosen: NDArray[np.bool_], seeds: NDArray[np.uint64]) -> None:
        """Start the random streams of the chosen envs anew."""
        self.state.envs["rng"][chosen] = seeds

    def reset(self, chosen: NDArray[np.bool_]) -> None:
        """Begin new episodes in the chosen envs, shape (E,)."""
        reset_envs(self.cluster, self.tape, self.state, self.outputs, chosen)
        self._clear_logs()

    def step(self, actions: NDArray[np.int64]) -> None:
        """Route the pending request of every env; `outputs` and `completions` then hold the result.

        Raises:
            ConfigError: not one integer per env, or one out of range; nothing has changed then.
        """
        actions = as_actions(actions, len(self.state.envs))
        if len(self.parts) == 1:
            self._step_part(self.parts[0], actions)
            return
        invalid = np.flatnonzero((actions < 0) | (actions >= self.actions))
        if len(invalid) > 0:
            raise self._refusal(int(invalid[0]), actions)
        mine, *others = self.parts
        if self._pool is None:
            self._pool = ThreadPoolExecutor(len(others))
        # This thread takes a share too: waking one more would cost as much as hundreds of envs.
        left = self._pool.map(self._step_part, others, repeat(actions))
        self._step_part(mine, actions)
        for _ in left:
            pass

    def step_one(self, action: int) -> None:
        """`step` of the first env, which must be the only one: in half the time.

        Raises:
            ConfigError: out of range; nothing has changed then.
        """
        self._action[0] = action
        step, log = self._step_envs, self.parts[0].log
        if step is None or step(self._action, log, 0, 1, 0) != 1:
            # The first step, an action out of range, or a log that must grow.
            self._step_part(self.parts[0], self._action)

    def _step_part(self, part: Part, actions: NDArray[np.int64]) -> None:
        done, logged = part.first, 0
        while done < part.last:
            if self._step_envs is None:
                arrays = self.cluster, self.tape, self.state, self.outputs
                fastest = entry_point(step_envs, *arrays, actions, part.log, done, done, logged)
                self._step_envs = partial(fastest, *arrays)
            done = self._step_envs(actions, part.log, done, part.last, logged)
            if done < 0:
                raise self._refusal(-1 - done, actions)
            logged = int(part.log.used[0])
            if done < part.last:
                self._grow_log(part, done)

    def _refusal(self, env: int, actions: NDArray[np.int64]) -> ConfigError:
        accepted = f"an integer from 0 to {self.actions - 1}"
        return ConfigError(f"action of env {env}: got {actions[env]}; accepted: {accepted}")

    def __getstate__(self) -> dict[str, Any]:
        """Without threads, memory and compiled code, which no other process could use."""
        return {**self.__dict__, "_step_envs": None, "_pool": None, "_logged": None}

    def _grow_log(self, part: Part, env: int) -> None:
        count = int(part.log.used[0])
        in_flight = int(self.state.envs[env]["waiting"] + self.state.envs[env]["running"])
        grown = allocate_log(2 * (count + in_flight + 1))
        grown.records[:count] = part.log.records[:count]
        grown.used[0] = count
        part.log = grown
        self._logged = None

    def _clear_logs(self) -> None:
        for part in self.parts:
            part.log.used[0] = 0

    @property
    def log(self) -> Log:
        """The log of the first part: of all envs, if one thread steps them."""
        return self.parts[0].log

    @property
    def completions(self) -> Records:
        """The requests that ended in the last step, of all envs: overwritten by the next."""
        first, *others = (part.log.records[: part.log.used.item()] for part in self.parts)
        if not others:
            return first
        return np.concatenate([part.view(OPAQUE) for part in (first, *others)]).view(COMPLETION)

    def ended(self) -> list[Completion]:
        """The completions of the first part: if they are few, quicker than as an array."""
        log = self.parts[0].log
        used = log.used.item()
        if used == 0:
            return []
        if self._logged is None:
            self._logged = memoryview(log.records).cast("B")  # type: ignore[arg-type]
        records = COMPLETION_STRUCT.iter_unpack(self._logged[: COMPLETION_STRUCT.size * used])
        return list(map(Completion._make, records))

    def summary(self, e: int) -> dict[str, Any]:
        """What the episode of env `e` has come to so far."""
        s = self.state
        return summary(self.config, s.envs[e], s.models[e], s.classes[e])

    def final_summary(self, e: int) -> dict[str, Any]:
        """What the last episode of env `e` that has ended came to."""
        out = self.outputs
        ended = out.final_envs[e], out.final_models[e], out.final_classes[e]
        return summary(self.config, *ended)

    def snapshot(self) -> State:
        """A copy of everything that changes; of the slots only those that a ring has reached."""
        return self.state._replace(requests=self.state.requests[:, : used_slots(self.state)]).copy()

    def restore(self, snapshot: State) -> None:
        """Go back to `snapshot` and encode its observations.

        Raises:
            ConfigError: the snapshot is of another shape, or its queues do not fit in here.
        """
        slots = snapshot.requests.shape[1]
        fits = self.state._replace(requests=self.state.requests[:, :slots])
        mine = [array.shape for array in fits]
        theirs = [array.shape for array in snapshot]
        require(mine == theirs, "snapshot shapes", theirs, str(mine))
        fits.restore(snapshot)
        encode_envs(self.cluster, self.state, self.outputs)
        self._clear_logs()


def workload_trace(config: EnvConfig) -> tuple[Trace, float]:
    """The trace of the configuration's split, and the load of the whole tape.

    Raises:
        ConfigError: the workload cannot be built, or has no request in this split.
    """
    if isinstance(config.workload, Trace):
        trace = config.workload
        require(len(trace) > 0, "workload", trace, "a Trace with at least one request")
        tape_load = trace.mean_rate_per_s / config.load_1_per_s
        trace = take_split(trace, config.split)
    else:
        low, high = config.load_range
        tape_load = math.sqrt(low * high)
        rate_per_s = tape_load * config.load_1_per_s
        seed, tasks = config.workload_seed, config.tasks
        recipe = config.workload, rate_per_s, config.resolved_mix, tasks, config.split, seed
        try:
            # Traces of a user's own stay as they are: fingerprints cover lengths, even unread ones.
            trace = as_measured(build(*recipe))
        except TraceError as error:
            # Whoever makes an env need not know which room finds a setting impossible.
            raise ConfigError(str(error)) from error
    if len(trace) == 0:
        raise ConfigError(f"split: {config.split!r} of the workload has no request")
    return trace, tape_load


def make_tape(trace: Trace, config: EnvConfig) -> Tape:
    """The trace as the dynamics read it; its tasks become rows of the accuracy table."""
    for task in trace.tasks:
        require(task in config.tasks, "workload task", task, ", ".join(config.tasks))
    rows = np.array([config.tasks.index(task) for task in trace.tasks], np.int16)
    classes = draw_classes(config, len(trace))
    return Tape(np.ascontiguousarray(trace.arrival_s), rows[trace.task], classes)


def draw_classes(config: EnvConfig, requests: int) -> NDArray[np.int16]:
    """The class of each of the requests of a split, drawn independently; shape (N,)."""
    # A stream of its own, so that classes shift neither arrivals nor tasks.
    seed = config.workload_seed, zlib.crc32(b"classes"), zlib.crc32(config.split.encode())
    shares = config.class_shares
    if len(shares) == 1:
        return np.zeros(requests, np.int16)
    return np.random.default_rng(seed).choice(len(shares), requests, p=shares).astype(np.int16)


def summary(config: EnvConfig, env: np.void, models: Records, classes: Records) -> dict[str, Any]:
    """What an episode came to, from its ENV record, MODEL records and CLASS records.

    Returns:
        requests, in_time, late, rejected, shed, in_flight (counts), utility, peak_utility,
        utility_of_peak, deadline_met (share of requests), share (routed, by model name) and, where
        there are classes of users, classes (`class_summary`, by name).
    """
    routed = max(int(env["routed"]), 1)
    found = {
        "requests": int(env["routed"]),
        **{name: int(env[name]) for name in ("in_time", "late", "rejected", "shed")},
        "in_flight": int(env["waiting"] + env["running"]),
        "utility": float(env["utility"]),
        "peak_utility": float(env["peak_utility"]),
        "utility_of_peak": float(env["utility"] / max(env["peak_utility"], 1e-12)),
        "deadline_met": int(env["in_time"]) / routed,
        "duration_s": float(env["now_s"]),
        "load": float(env["load"]),
        "share": {
            name: int(count) / routed
            for name, count in zip(config.model_names, models["routed"], strict=True)
        },
    }
    if config.classes:
        pairs = zip(config.class_names, classes, strict=True)
        found["classes"] = {name: class_summary(users) for name, users in pairs}
    return found


def class_summary(users: np.void) -> dict[str, Any]:
    """What one class of users came to, from its CLASS record."""
    return {
        "requests": int(users["routed"]),
        "utility": float(users["utility"]),
        "peak_utility": float(users["peak_utility"]),
        "utility_of_peak": float(users["utility"] / max(users["peak_utility"], 1e-12)),
        "deadline_met": int(users["in_time"]) / max(int(users["routed"]), 1),
    }
