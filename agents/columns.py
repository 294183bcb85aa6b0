"""Where routers find what they read in an observation, and how they number what they do."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.actions import number_of_actions
from llmroute_env.dynamics.features import DEFAULT_FEATURES, FEATURES, PAIR_FEATURES, Layout
from llmroute_env.simulation.tables import batch_limits
from llmroute_env.specs import require


def column(config: EnvConfig, feature: str, observation: tuple[str, ...] = DEFAULT_FEATURES) -> int:
    """First column of `feature` in an `observation` of the cluster of `config`; -1 if absent."""
    return replace(config.layout, names=observation).first(feature)


def largest_first(config: EnvConfig) -> list[int]:
    """The models' action numbers, by parameters, largest first."""
    size = [model.parameters for model in config.models]
    return sorted(range(len(size)), key=lambda m: -size[m])


class PairColumns(NamedTuple):
    """Where an observation has what priced pairs read, and how much of it there is."""

    task: int
    tasks: int
    rate: int
    slack: int
    work: int
    pairs: int
    user_class: int
    classes: int
    in_flight: int
    up: int


NO_PAIRS = PairColumns(-1, 0, -1, -1, -1, 0, -1, 1, -1, -1)
"""For routers that do not decide pairs."""


def pair_columns(layout: Layout, needed: tuple[str, ...] = PAIR_FEATURES) -> PairColumns:
    """First columns of PAIR_FEATURES, and of what else rules over pairs read, in an observation.

    Of what is not `needed`, and the class where there are several, -1 if it is not observed.

    Raises:
        ConfigError: the observation lacks what is needed.
    """
    if layout.classes > 1:
        needed = (*needed, "class")
    accepted = f"{', '.join(needed)} among them"
    require(set(needed) <= set(layout.names), "observation", layout.names, accepted)
    task, rate, slack, work = map(layout.first, PAIR_FEATURES)
    return PairColumns(
        *(task, layout.tasks, rate, slack, work, layout.gpus * layout.models),
        *(layout.first("class"), layout.classes),
        *map(layout.first, ("gpu_in_flight", "gpu_up")),
    )


def utilities(config: EnvConfig) -> NDArray[np.float64]:
    """Utility in time of every class and task, class-major, from every model; shape (C x T, M)."""
    return config.utility.reshape(-1, len(config.models))


def routes(config: EnvConfig) -> int:
    """How many actions route somewhere: all but reject and defer, which come last."""
    return number_of_actions(config.action, config.gpus, len(config.models))


def hosted_pairs(config: EnvConfig) -> NDArray[np.int64]:
    """The numbers of the pairs of which the GPU hosts the model, GPU-major."""
    hosts = np.repeat(batch_limits(config) > 0, [pool.gpus for pool in config.pools], axis=0)
    return np.flatnonzero(hosts.ravel())


def sustained_by_pair(config: EnvConfig) -> NDArray[np.float64]:
    """Requests per second that each model alone serves in time on one GPU, shape (G x M,).

    0 where it is not hosted.
    """
    rows = []
    for pool in config.pools:
        alone = replace(config, pools=(pool,))
        per_s = {m.name: alone.sustained_per_s(m) / pool.gpus for m in alone.models}
        rows += [[per_s.get(model.name, 0.0) for model in config.models]] * pool.gpus
    return np.array(rows).ravel()


def gpu_inputs(layout: Layout) -> NDArray[np.int64]:
    """What a network reads for each GPU in an observation: columns, shape (G, I).

    All that does not belong to a GPU comes first, the same in every row; then what is the GPU's.
    """
    gpus, models = layout.gpus, layout.models
    per_pair = [feature.name for feature in FEATURES if feature.per == "gpu-model"]
    first = [layout.first(name) for name in per_pair if name in layout.names]
    own = np.add.outer(np.arange(gpus) * models, np.add.outer(first, np.arange(models)))
    per_gpu = [feature.name for feature in FEATURES if feature.per == "gpu"]
    single = [layout.first(name) for name in per_gpu if name in layout.names]
    alone = np.add.outer(np.arange(gpus), np.array(single, np.int64))
    own = np.hstack([own.reshape(gpus, -1), alone]).astype(np.int64)
    shared = np.setdiff1d(np.arange(layout.width), own)
    return np.hstack([np.tile(shared, (gpus, 1)), own])
