"""A Simulation: the arrays of E envs and the compiled functions that move them.

It knows nothing of Gymnasium. The single env is a Simulation of one, the vector env of many; both
run the same compiled code, so env i of many equals one env with the same seed.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.actions import masks
from llmroute_env.dynamics.compiled import entry_point
from llmroute_env.dynamics.masks import mask_envs
from llmroute_env.dynamics.service.models import SERVICES
from llmroute_env.dynamics.state import (
    COMPLETION,
    COMPLETION_STRUCT,
    OPAQUE,
    Completion,
    Log,
    Records,
    Shape,
    State,
    allocate,
    allocate_log,
)
from llmroute_env.dynamics.stepping import (
    DISABLED,
    allocate_outputs,
    reset_envs,
    show_envs,
    step_envs,
)
from llmroute_env.dynamics.world import World
from llmroute_env.simulation.snapshots import crc32_of, put_back, take
from llmroute_env.simulation.summary import share_of_peak, summary
from llmroute_env.simulation.tables import build_cluster
from llmroute_env.simulation.tape import make_tape, most_requests, workload_trace
from llmroute_env.specs import ConfigError, require


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
    """Envs first..last-1, which one thread steps, and the log of what ends in them.

    `step` is step_envs as compiled code that has its world, once it was asked for.
    """

    first: int
    last: int
    log: Log
    step: Callable[..., int] | None = None


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
            ConfigError: a workload without requests or with tasks that the profile lacks, or a
                split that is shorter than an episode.
        """
        require(envs >= 1, "num_envs", envs, ">= 1")
        require(1 <= threads <= envs, "threads", threads, f"1 to num_envs, {envs}")
        require(max_requests >= 0, "max_requests", max_requests, ">= 0; 0 for no limit")
        self.config = config
        self.actions = config.actions
        self.trace, tape_load = workload_trace(config)
        self._check_window(tape_load)
        self.tape = make_tape(self.trace, config)
        own = {
            "tape_load": tape_load,
            "tape_span_s": self.trace.span_s,
            "autoreset": autoreset,
            "max_requests": max_requests,
            "view_rows": envs if config.signals.are_late else 0,
        }
        if config.load is None:
            own |= {"min_load": tape_load, "max_load": tape_load}
        self.cluster = build_cluster(config, own)
        rules = self.cluster.rules[0]
        own_arrays = self.cluster.service.allocate(config, envs)
        coming_back = most_requests(self.tape, rules) if config.comes_back else 0
        sizes = envs, config.gpus, len(config.models), int(rules["classes"])
        kind = config.is_uncertain, config.signals.are_late
        shape = Shape(*sizes, *kind, coming_back, int(rules["machines"]))
        self.state = allocate(shape, own_arrays)
        self.outputs = allocate_outputs(envs, config.layout.width, self.state)
        edges = [envs * part // threads for part in range(threads + 1)]
        capacity = max(1024, 16 * envs) if logs_completions else 0
        self._logs = SERVICES[config.service].reads_lengths, config.comes_back
        logs = [allocate_log(capacity, *self._logs) for _ in range(threads)]
        self.parts = [Part(*edge, log) for edge, log in zip(pairwise(edges), logs, strict=True)]
        self._action = np.zeros(1, np.int64)
        self._pool: ThreadPoolExecutor | None = None
        self._pool_owner = 0
        self._logged: memoryview | None = None

    def _check_window(self, tape_load: float) -> None:
        # Every episode would begin where the split does: other seeds would change nothing.
        lowest = tape_load if self.config.load is None else self.config.load_range[0]
        most_s = self.trace.span_s * tape_load / lowest
        window_s, split = self.config.window_s, self.config.split
        accepted = f"up to {most_s:g} s, the length of split {split!r}, or inf for all of it"
        require(
            window_s <= most_s * (1 + 1e-9) or np.isinf(window_s), "window_s", window_s, accepted
        )

    def observation_bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lowest and highest value of every observation column."""
        return self.config.layout.bounds

    def hosted_actions(self) -> NDArray[np.bool_]:
        """Which actions lead to a GPU that hosts the model, or to none, shape (actions,)."""
        return masks(self.cluster, self.config.action)

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions lead to a GPU that hosts the model, or can be taken; shape (E, actions).

        Where machines fail, to one that is believed to be up, if that leaves any.
        """
        found = np.tile(self.hosted_actions(), (len(self.state.envs), 1))
        if self.config.comes_back:
            mask_envs(self.world, found)
        return found

    def seed(self, chosen: NDArray[np.bool_], seeds: NDArray[np.uint64]) -> None:
        """Start the random streams of the chosen envs anew."""
        self.state.envs["rng"][chosen] = seeds

    def reset(self, chosen: NDArray[np.bool_]) -> None:
        """Begin new episodes in the chosen envs, shape (E,)."""
        reset_envs(self.world, self.outputs, chosen)
        self._clear_logs()

    def begin(self, seeds: NDArray[np.uint64]) -> None:
        """Begin an episode in every env: env e the one of seeds[e]."""
        everyone = np.ones(len(self.state.envs), np.bool_)
        self.seed(everyone, seeds)
        self.reset(everyone)

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
        if self._pool is None or self._pool_owner != os.getpid():
            # A forked process inherits the pool without its threads, and would wait for ever.
            self._pool, self._pool_owner = ThreadPoolExecutor(len(others)), os.getpid()
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
        part = self.parts[0]
        if part.step is None or part.step(self._action, 0, 1, 0) != 1:
            # The first step, an action out of range, or a log that must grow.
            self._step_part(part, self._action)

    def _step_part(self, part: Part, actions: NDArray[np.int64]) -> None:
        done, logged = part.first, 0
        while done < part.last:
            step = part.step or self._bind(part, actions)
            done = step(actions, done, part.last, logged)
            if done < 0:
                raise self._refusal(-1 - done, actions)
            logged = int(part.log.used[0])
            if done < part.last:
                self._grow_log(part, done)

    def _bind(self, part: Part, actions: NDArray[np.int64]) -> Callable[..., int]:
        fixed = self.world._replace(log=part.log), self.outputs
        part.step = partial(entry_point(step_envs, *fixed, actions, 0, 0, 0), *fixed)
        return part.step

    def _refusal(self, env: int, actions: NDArray[np.int64]) -> ConfigError:
        accepted = f"an integer from 0 to {self.actions - 1}"
        return ConfigError(f"action of env {env}: got {actions[env]}; accepted: {accepted}")

    def __getstate__(self) -> dict[str, Any]:
        """Without threads, memory and compiled code, which no other process could use."""
        parts = [replace(part, step=None) for part in self.parts]
        return {**self.__dict__, "parts": parts, "_pool": None, "_logged": None}

    def _grow_log(self, part: Part, env: int) -> None:
        count = int(part.log.used[0])
        record = self.state.envs[env]
        in_flight = int(record["waiting"] + record["running"] + record["away"])
        grown = allocate_log(2 * (count + in_flight + 1), *self._logs)
        grown.records[:count] = part.log.records[:count]
        grown.tokens[:count] = part.log.tokens[:count]
        grown.origins[:count] = part.log.origins[:count]
        grown.used[0] = count
        part.log, part.step = grown, None
        self._logged = None

    def _clear_logs(self) -> None:
        for part in self.parts:
            part.log.used[0] = 0

    @property
    def world(self) -> World:
        """What compiled functions take; its log is of all envs if one thread steps them."""
        return World(self.cluster, self.tape, self.state, self.parts[0].log)

    @property
    def share_of_peak(self) -> NDArray[np.float64]:
        """Utility of every env's episode so far as a share of its peak, shape (E,)."""
        envs = self.state.envs
        shares: NDArray[np.float64] = share_of_peak(envs["utility"], envs["peak_utility"])
        return shares

    @property
    def completions(self) -> Records:
        """The requests that ended in the last step, of all envs: overwritten by the next."""
        first, *others = (part.log.records[: part.log.used.item()] for part in self.parts)
        if not others:
            return first
        return np.concatenate([part.view(OPAQUE) for part in (first, *others)]).view(COMPLETION)

    @property
    def completion_tokens(self) -> Records:
        """TOKENS of the `completions`, one each; none where requests have no tokens."""
        return np.concatenate([part.log.tokens[: part.log.used.item()] for part in self.parts])

    @property
    def completion_origins(self) -> Records:
        """ORIGIN of the `completions`, one each; none where no request comes back."""
        return np.concatenate([part.log.origins[: part.log.used.item()] for part in self.parts])

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
        """A copy of everything that changes, without what no request has reached yet."""
        return take(self.world, self.world_crc32)

    def restore(self, snapshot: State) -> None:
        """Go back to `snapshot` and show where its envs are.

        Raises:
            ConfigError: the snapshot is of another shape, its queues do not fit in here, or it is
                of an env with other requests, latencies, deadlines or accuracies.
        """
        put_back(self.world, snapshot, self.world_crc32)
        show_envs(self.world, self.outputs)
        self._clear_logs()

    @cached_property
    def world_crc32(self) -> int:
        """Checksum of what decides what happens here."""
        return crc32_of(self.cluster, self.tape)
