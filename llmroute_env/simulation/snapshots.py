"""Snapshots: copies of everything that changes, and of which world they are."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.cluster import Cluster, Tape
from llmroute_env.dynamics.state import State
from llmroute_env.dynamics.world import World
from llmroute_env.specs import require

SEEN_ONLY = ("autoreset", "max_requests", "joint_action", "reject", "queue_capacity")
"""Rules that decide what a router sees and does, or that a snapshot itself shows the limits of."""


class Snapshot(State):
    """A copy of the state; `world_crc32` says of which world."""

    world_crc32: int


def take(world: World, crc32: int) -> Snapshot:
    """A copy of the state, without what no request has reached yet."""
    s = world.state
    copied = Snapshot(*s._replace(service=world.cluster.service.in_use(s)).copy())
    copied.world_crc32 = crc32
    return copied


def put_back(world: World, snapshot: State, crc32: int) -> None:
    """Overwrite the state with a snapshot.

    Raises:
        ConfigError: it is of another shape, its queues do not fit in here, or it is of a world with
            other requests, latencies, deadlines or accuracies.
    """
    s, shared = world.state, len(world.state) - 1
    mine, saved = s.arrays, snapshot.arrays
    # Of the service model's own arrays a snapshot holds what was in use.
    own = zip(mine[shared:], saved[shared:], strict=False)
    fits = [*mine[:shared], *(reached(array, copied.shape) for array, copied in own)]
    shapes, theirs = [a.shape for a in fits], [b.shape for b in saved]
    require(shapes == theirs, "snapshot shapes", theirs, str(shapes))
    # One that was made of arrays, as those of checkpoints are, does not say what it is of.
    of = getattr(snapshot, "world_crc32", crc32)
    accepted = f"{crc32:08x}, that of an env with the same configuration"
    require(of == crc32, "snapshot of the world", f"{of:08x}", accepted)
    requests = len(world.tape.arrival_s)
    inside = (snapshot.envs["first"] >= 0) & (snapshot.envs["end"] <= requests)
    accepted = f"windows of the {requests} requests of this env"
    require(bool(inside.all()), "snapshot windows", snapshot.envs["end"].tolist(), accepted)
    for array, copied in zip(fits, saved, strict=True):
        array[...] = copied


def reached(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The part of an array of which a copy of that shape was in use; other shapes fit nowhere."""
    if len(shape) > array.ndim and shape[1] > 0 and array.shape[1] % shape[1] == 0:
        # What lies one after the other in the array was cut one by one.
        array = array.reshape(len(array), shape[1], -1)
    cut = (slice(None), *map(slice, shape[1 : array.ndim]))
    return array[cut]


def crc32_of(cluster: Cluster, tape: Tape) -> int:
    """Checksum of what decides what happens: all tables and requests, but not what is seen."""
    rules = cluster.rules.copy()
    for name in SEEN_ONLY:
        rules[name] = 0
    # As text: what lies between the fields of an aligned record is anything.
    checksum = zlib.crc32(repr(rules.tolist()).encode())
    tables = cluster._replace(rules=rules[:0], layout=cluster.layout[:0])
    for array in flat((tables, tape)):
        checksum = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, checksum)
    return checksum


def flat(value: Any) -> Iterator[NDArray[Any]]:
    """The arrays of tuples within tuples, in order."""
    if isinstance(value, tuple):
        for part in value:
            yield from flat(part)
    else:
        yield value
