"""What an action number means: a model, or a (GPU, model) pair, GPU-major."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.cluster import Cluster
from llmroute_env.dynamics.compiled import compiled

ACTIONS = ("model", "gpu-model")
"""What a router may decide; without the GPU, the dispatcher chooses it."""


def number_of_actions(kind: str, gpus: int, models: int) -> int:
    """How many actions of a kind there are."""
    return models * (gpus if kind == "gpu-model" else 1)


def masks(cluster: Cluster, kind: str) -> NDArray[np.bool_]:
    """Which actions of a kind lead to a GPU that hosts the model, shape (actions,)."""
    hosted: NDArray[np.bool_] = (cluster.batch_limit > 0)[cluster.pool_of]
    found: NDArray[np.bool_] = np.logical_or.reduce(hosted)
    return hosted.ravel() if kind == "gpu-model" else found


@compiled
def most_actions(cluster: Cluster) -> int:
    """How many actions the router of `cluster` has."""
    rules = cluster.rules[0]
    return int(rules.models * rules.gpus if rules.joint_action else rules.models)


@compiled
def model_of(cluster: Cluster, action: int) -> int:
    """The model that an action names."""
    return int(action % cluster.rules[0].models)


@compiled
def gpu_of(cluster: Cluster, action: int) -> int:
    """The GPU that an action names; -1 if it leaves the choice to the dispatcher."""
    rules = cluster.rules[0]
    return int(action // rules.models) if rules.joint_action else -1
