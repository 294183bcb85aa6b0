"""What load balancers decide, compiled: of the hosted (GPU, model) pairs the least loaded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.columns import hosted_pairs
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.dispatch import seems_up
from llmroute_env.dynamics.features import FEATURE_NAMES, MOST_LOG
from llmroute_env.dynamics.observation import encode_load
from llmroute_env.dynamics.streams import bits, share
from llmroute_env.dynamics.world import World
from llmroute_env.specs import require


class Balancing(NamedTuple):
    """Which load is compared of which pairs, and where an observation has it.

    With `keys`, of the random streams of E envs, the less loaded of two pairs at random is taken,
    and the least loaded of all if there are none.
    """

    feature: int  # its number in FEATURES
    first: int  # its first column
    hosted: NDArray[np.int64]  # (hosted,) numbers of the pairs
    keys: NDArray[np.uint64]  # (E,) or (0,)


NO_BALANCING = Balancing(-1, -1, np.zeros(0, np.int64), np.zeros(0, np.uint64))
"""For routers that do not balance loads."""


def balancing(config: EnvConfig, feature: str, keys: NDArray[np.uint64]) -> Balancing:
    """Of `feature` in the observation of `config`.

    Raises:
        ConfigError: the observation lacks it, or actions are not pairs.
    """
    layout = config.layout
    require(feature in layout.names, "observation", layout.names, f"{feature} among them")
    require(config.action == "gpu-model", "action", config.action, "'gpu-model'")
    number = FEATURE_NAMES.index(feature)
    return Balancing(number, layout.first(feature), hosted_pairs(config), keys)


@compiled
def less_loaded(
    balancing: Balancing,
    world: World,
    e: int,
    row: NDArray[np.float32],
    worths: NDArray[np.float64],
) -> int:
    """The pair for the pending request of env `e`.

    The loads are written into the observation `row`, less than 0 by as much into `worths`; a GPU
    that is believed to be down has more than any other.
    """
    hosted, keys, models = balancing.hosted, balancing.keys, world.cluster.rules[0].models
    encode_load(world, e, row, balancing.feature)
    best = hosted[0]
    for pair in hosted:
        up = seems_up(world, e, pair // models)
        worths[pair] = -row[balancing.first + pair] if up else -MOST_LOG
        if worths[pair] > worths[best]:
            best = pair
    if len(keys) > 0:
        one, other = two_of(len(hosted), keys[e % len(keys)], world.state.envs[e].decision)
        chosen = hosted[other] if worths[hosted[other]] > worths[hosted[one]] else hosted[one]
        # Of two that are down neither.
        best = chosen if worths[chosen] > -MOST_LOG else best
    return int(best)


@compiled
def two_of(count: int, key: np.uint64, decision: int) -> tuple[int, int]:
    """Two different numbers below `count` at random; if it is 1, the same.

    The stream of `key` has two for every decision.
    """
    one = int(share(bits(key, 2 * decision + 1)) * count)
    further = int(share(bits(key, 2 * decision + 2)) * max(count - 1, 1))
    return one, (one + 1 + further) % count


@compiled
def two_of_each(
    count: int,
    keys: NDArray[np.uint64],
    decision: int,
    ones: NDArray[np.int64],
    others: NDArray[np.int64],
) -> None:
    """Write `two_of` for every key into `ones` and `others`."""
    for e in range(len(keys)):
        ones[e], others[e] = two_of(count, keys[e], decision)
