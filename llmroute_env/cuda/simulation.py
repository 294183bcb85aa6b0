"""E envs on a device: what Simulation is on a CPU, with the same functions and the same results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.cuda.layout import WARP, tiles_of
from llmroute_env.cuda.memory import Body, Memory
from llmroute_env.cuda.threads import (
    LOG_FULL,
    REFUSED,
    RING_FULL,
    Answers,
    Orders,
    check_threads,
    reset_threads,
    show_threads,
    step_threads,
)
from llmroute_env.cuda.tiled import (
    arrays_of,
    fetched,
    lengthened,
    moved,
    nbytes_of,
    on_host,
    tiled,
)
from llmroute_env.dynamics.service.queues import BLOCK, Rings
from llmroute_env.dynamics.state import COMPLETION, ORIGIN, TOKENS, Log, Records, State
from llmroute_env.dynamics.stepping import DISABLED, Outputs
from llmroute_env.dynamics.world import World
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.simulation.summary import summary
from llmroute_env.specs import ConfigError, require

RING = 2 * BLOCK
"""Slots of every queue to begin with."""

LOG = 16
"""Completions of an env in one step that there is room for to begin with."""


class Setting(NamedTuple):
    """How envs step: as Simulation takes it."""

    autoreset: int = DISABLED
    max_requests: int = 0
    completions: bool = False


USUAL = Setting()


class DeviceSimulation:
    """E envs that step together, one thread each.

    Attributes:
        tile: a Simulation of as many envs as a warp has threads: tables, tape, and what a tile has.
        memory: where everything is.
    """

    def __init__(
        self, config: EnvConfig, envs: int, memory: Memory, setting: Setting = USUAL
    ) -> None:
        """Build the tables on the host, everything else on the device.

        Raises:
            ConfigError: as Simulation does; or the device has not enough memory.
        """
        require(envs >= 1, "num_envs", envs, ">= 1")
        self.config, self.envs, self.memory = config, envs, memory
        self.actions = config.actions
        rules = setting.autoreset, setting.max_requests
        self.tile = Simulation(config, WARP, *rules, logs_completions=False)
        tiles = tiles_of(envs)
        self._state: Any = tiled(shortened(self.tile.state), tiles, memory)
        self._out: Any = tiled(self.tile.outputs, tiles, memory)
        self._log: Any = tiled(
            own_logs(self.tile.world, LOG if setting.completions else 0), tiles, memory
        )
        self._cluster, self._tape = moved(self.tile.cluster, memory), moved(self.tile.tape, memory)
        self._arguments = self._bound()
        self.answers = Answers(*(memory.put(np.zeros(n, np.int64)) for n in (envs, 4)))
        self._launches = 0
        self._orders = Orders(
            launch=0,
            again=0,
            answers=self.answers,
            actions=memory.put(np.zeros(envs, np.int64)),
            chosen=memory.put(np.zeros(envs, np.bool_)),
            seeded=memory.put(np.zeros(envs, np.bool_)),
            seeds=memory.put(np.zeros(envs, np.uint64)),
        )

    def _bound(self) -> tuple[World, Outputs]:
        state, log = arrays_of(self._state), arrays_of(self._log)
        return World(self._cluster, self._tape, state, log), arrays_of(self._out)

    @property
    def world(self) -> World:
        """What threads read and change, in tiles."""
        return self._arguments[0]

    @property
    def outputs(self) -> dict[str, Any]:
        """What the last step reports, by the names of Outputs: arrays of the device, (E, ...)."""
        parts = self._out._asdict()
        return {n: p.by_env(self.envs) for n, p in parts.items() if p.layout.dtype.names is None}

    def reset(
        self, chosen: NDArray[np.bool_], seeded: NDArray[np.bool_], seeds: NDArray[np.uint64]
    ) -> None:
        """Begin episodes in the chosen envs; those of them that are seeded get another stream."""
        given = {"chosen": chosen, "seeded": seeded, "seeds": seeds}
        for name, array in given.items():
            self.memory.overwrite(getattr(self._orders, name), array)
        self._launch(reset_threads, self._orders)

    def begin(self, seeds: NDArray[np.uint64]) -> None:
        """Begin an episode in every env: env e the one of seeds[e]."""
        everyone = np.ones(self.envs, np.bool_)
        self.reset(everyone, everyone, seeds)

    def step(self, actions: Any) -> None:
        """Route the pending request of every env; `outputs` then hold the result.

        Raises:
            ConfigError: not one integer of 64 bits per env, or one out of range; nothing has
                changed then.
        """
        self._orders = self._orders._replace(actions=self._as_actions(actions))
        self.carry_out((check_threads, step_threads), self._orders)

    def _as_actions(self, actions: Any) -> Any:
        given = self.memory.as_array(actions)
        valid = tuple(given.shape) == (self.envs,) and given.dtype == np.int64
        found = f"{given.dtype} of shape {tuple(given.shape)}"
        require(valid, "actions", found, f"int64 of shape {(self.envs,)}")
        return given

    def carry_out(self, bodies: Sequence[Body], orders: Any) -> None:
        """Launch all `bodies`, then the last one again until nobody stops for lack of room.

        Raises:
            ConfigError: an action out of range; nothing has changed then.
        """
        self._launches += 1
        orders = orders._replace(launch=self._launches)
        for body in bodies:
            self._launch(body, orders)
        while self._has_stopped():
            self._launches += 1
            orders = orders._replace(launch=self._launches, again=1)
            self._launch(bodies[-1], orders)

    def _launch(self, body: Body, orders: Any) -> None:
        self.memory.launch(body, self.envs, *self._arguments, orders)

    def _has_stopped(self) -> bool:
        """Whether somebody has stopped in the last launch; there is more room then."""
        came = self.memory.get(self.answers.last) == self._launches
        if came[REFUSED]:
            raise self._refusal()
        if came[RING_FULL]:
            self._lengthen_rings()
        if came[LOG_FULL]:
            self._log = Log(
                longer(self._log.records),
                self._log.used,
                longer(self._log.tokens),
                longer(self._log.origins),
            )
        stopped = bool(came[RING_FULL] or came[LOG_FULL])
        if stopped:
            self._arguments = self._bound()
        return stopped

    def _lengthen_rings(self) -> None:
        rings = self._state.service.requests
        most = self.tile.state.service.requests.shape[1]
        length = min(2 * rings.layout.inner[0], most)
        longer_rings: Any = lengthened(rings, length)
        self._state = self._state._replace(service=Rings(longer_rings))

    def _refusal(self) -> ConfigError:
        came, actions = self.memory.get(self.answers.came), self.memory.get(self._orders.actions)
        e = int(np.flatnonzero(came == REFUSED)[0])
        accepted = f"an integer from 0 to {self.actions - 1}"
        return ConfigError(f"action of env {e}: got {actions[e]}; accepted: {accepted}")

    def show(self) -> None:
        """Write into `outputs` where all envs are."""
        self._launch(show_threads, self._orders)

    def state(self) -> State:
        """A copy of everything that changes, as a CPU has it; rings are as long as here."""
        found: State = on_host(self._state, self.envs)
        return found

    def final_summary(self, chosen: NDArray[np.int64]) -> list[dict[str, Any]]:
        """What the last episodes of the chosen envs that have ended came to."""
        parts = self._out.final_envs, self._out.final_models, self._out.final_classes
        ended = [fetched(part, self.envs) for part in parts]
        return [summary(self.config, *(part[e] for part in ended)) for e in chosen]

    def completions(self) -> tuple[Records, Records, Records]:
        """The requests that ended in the last step, with their TOKENS and ORIGINs, env by env."""
        records, used, tokens, origins = on_host(self._log, self.envs)
        ended = np.arange(records.shape[1]) < used
        records["env"] = np.arange(self.envs)[:, None]
        of_all = [
            part[ended] if part.shape[1] > 0 else part[:0].ravel()
            for part in (records, tokens, origins)
        ]
        return of_all[0], of_all[1], of_all[2]

    @property
    def logged(self) -> Any:
        """How many requests of every env have ended in the last step, on the device: (E, 1)."""
        return self._log.used.by_env(self.envs)

    def log_field(self, name: str) -> Any:
        """A field of the COMPLETIONs of the last step, on the device: (tiles, WARP, K).

        Of every env as many are valid as were `logged`.
        """
        return self._log.records.field(name)

    @property
    def bytes_per_env(self) -> float:
        """Memory of the device that an env takes by now; tables and tape are of all."""
        parts = self._state, self._out, self._log
        return sum(map(nbytes_of, parts)) / self.envs


def shortened(state: State) -> State:
    """A tile's arrays with short rings, if it has rings."""
    if not isinstance(state.service, Rings):
        return state
    _, gpus, models = state.queues.shape
    return state._replace(service=Rings(state.service.requests[:, : RING * gpus * models]))


def own_logs(world: World, capacity: int) -> Log:
    """A log for each env of a tile."""
    comes_back, has_tokens = world.cluster.rules[0]["come_back"], len(world.tape.prompt_tokens) > 0
    return Log(
        records=np.zeros((WARP, capacity), COMPLETION),
        used=np.zeros((WARP, 1), np.int64),
        tokens=np.zeros((WARP, capacity if has_tokens else 0), TOKENS),
        origins=np.zeros((WARP, capacity if comes_back else 0), ORIGIN),
    )


def longer(part: Any) -> Any:
    """With rows twice as long."""
    return lengthened(part, 2 * part.layout.inner[0])
