"""What an action number means: a model, or a (GPU, model) pair, GPU-major; then reject; then defer.

Whoever counts, masks or reads action numbers asks here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.cluster import Cluster
from llmroute_env.dynamics.compiled import compiled

ACTIONS = ("model", "gpu-model")
"""What a router may decide; without the GPU, the dispatcher chooses it."""

NOBODY = -1
"""In place of a model or a GPU: the action names none."""


def number_of_actions(
    kind: str, gpus: int, models: int, reject: bool = False, defer: bool = False
) -> int:
    """How many actions of a kind there are, with one more each if a router may reject, or defer."""
    return models * (gpus if kind == "gpu-model" else 1) + reject + defer


def masks(cluster: Cluster, kind: str) -> NDArray[np.bool_]:
    """Which actions of a kind lead to a GPU that hosts the model, or to none; shape (actions,)."""
    hosted: NDArray[np.bool_] = (cluster.batch_limit > 0)[cluster.pool_of]
    found = hosted.ravel() if kind == "gpu-model" else np.logical_or.reduce(hosted)
    rules = cluster.rules[0]
    routeless = int(rules["reject"]) + int(rules["defer_s"] > 0.0)
    return np.concatenate([found, np.ones(routeless, np.bool_)])


@compiled
def routes(cluster: Cluster) -> int:
    """How many actions route the request somewhere: all but reject and defer, after them."""
    rules = cluster.rules[0]
    return int(rules.models * rules.gpus if rules.joint_action else rules.models)


@compiled
def most_actions(cluster: Cluster) -> int:
    """How many actions the router of `cluster` has."""
    rules = cluster.rules[0]
    return int(routes(cluster) + rules.reject + (rules.defer_s > 0.0))


@compiled
def rejects(cluster: Cluster, action: int) -> bool:
    """Whether an action turns the request away."""
    return bool(cluster.rules[0].reject and action == routes(cluster))


@compiled
def defers(cluster: Cluster, action: int) -> bool:
    """Whether an action puts the request off."""
    rules = cluster.rules[0]
    return bool(rules.defer_s > 0.0 and action == routes(cluster) + rules.reject)


@compiled
def model_of(cluster: Cluster, action: int) -> int:
    """The model that an action names; NOBODY if it names none."""
    return int(action % cluster.rules[0].models) if action < routes(cluster) else NOBODY


@compiled
def gpu_of(cluster: Cluster, action: int) -> int:
    """The GPU that an action names; NOBODY if it names none, or the dispatcher chooses."""
    rules = cluster.rules[0]
    names_gpu = rules.joint_action and action < routes(cluster)
    return int(action // rules.models) if names_gpu else NOBODY
