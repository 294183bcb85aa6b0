"""Routers as compiled code: episodes and rollouts run without returning to Python.

A CompiledPolicy is data; `decide` turns it into an action for the pending request of one env.
The heuristic here is exactly agents.heuristics.LargestFeasible, the network exactly
agents.networks.QNetwork up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.heuristics import largest_first
from llmroute_env._compiled import compiled
from llmroute_env.cluster import Cluster, Tape
from llmroute_env.config import EnvConfig
from llmroute_env.dispatch import choose_gpu, predicted_latency_s
from llmroute_env.episode import step_env
from llmroute_env.observation import bounds, encode, slack
from llmroute_env.simulation import Simulation
from llmroute_env.state import Log, State

LARGEST_FEASIBLE, NETWORK, GUARDED = range(3)
"""GUARDED follows the heuristic but where the network values another model by `caution` more."""

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weights, shape (inputs, outputs), and biases, shape (outputs,)."""


class CompiledPolicy(NamedTuple):
    """A router as `decide` reads it; the fields of the other kinds are empty.

    `weights` holds the layers one after the other, each its weights row by row and its biases.
    """

    kind: int
    margin: np.float32
    caution: np.float32
    order: NDArray[np.int64]  # (M,) models, largest first
    sizes: NDArray[np.int64]  # (L + 1,) widths of the L layers, from the observation on
    weights: NDArray[np.float32]
    scratch: NDArray[np.float32]  # (2, widest layer)


def largest_feasible(config: EnvConfig, margin: float) -> CompiledPolicy:
    """The largest model predicted to meet the deadline with `margin`."""
    order = np.array(largest_first(config), np.int64)
    nothing = np.zeros(0, np.float32)
    no_layers = np.zeros(1, np.int64)
    return CompiledPolicy(
        kind=LARGEST_FEASIBLE,
        margin=np.float32(margin),
        caution=np.float32(0),
        order=order,
        sizes=no_layers,
        weights=nothing,
        scratch=np.zeros((2, 1), np.float32),
    )


def network(config: EnvConfig, layers: Sequence[Layer]) -> CompiledPolicy:
    """The action of the largest output of a multilayer perceptron with ReLU between `layers`.

    It reads the observation of `config`; its last layer has one output per action.
    """
    sizes = np.array([len(layers[0][0])] + [len(biases) for _, biases in layers], np.int64)
    flat = np.concatenate([part.ravel() for layer in layers for part in layer])
    low, _ = bounds(config.observation, len(config.tasks), config.gpus, len(config.models))
    if sizes[0] != len(low) or sizes[-1] != config.actions:
        raise ValueError(f"layers: got sizes {sizes}; accepted: {len(low)} to {config.actions}")
    return CompiledPolicy(
        kind=NETWORK,
        margin=np.float32(0),
        caution=np.float32(0),
        order=np.array(largest_first(config), np.int64),
        sizes=sizes,
        weights=flat.astype(np.float32, copy=False),
        scratch=np.zeros((2, int(sizes.max())), np.float32),
    )


def guarded(network: CompiledPolicy, margin: float, caution: float) -> CompiledPolicy:
    """The heuristic with `margin`, overruled where `network` gains more than `caution` by it."""
    return network._replace(kind=GUARDED, margin=np.float32(margin), caution=np.float32(caution))


@compiled
def decide(policy: CompiledPolicy, cluster: Cluster, s: State, e: int) -> int:
    """The policy's action for the pending request of env `e`; changes only its scratch."""
    usual = 0 if policy.kind == NETWORK else most_feasible(policy, cluster, s, e)
    if policy.kind == LARGEST_FEASIBLE:
        return usual
    outputs = policy.scratch[evaluate(policy, cluster, s, e)]
    best = 0
    for action in range(1, policy.sizes[-1]):
        if outputs[action] > outputs[best]:
            best = action
    if policy.kind == GUARDED and outputs[best] - outputs[usual] <= policy.caution:
        return usual
    return best


@compiled
def most_feasible(policy: CompiledPolicy, cluster: Cluster, s: State, e: int) -> int:
    """The first model in `order` whose slack reaches the margin, else that with the most slack."""
    hopeful, most = policy.order[0], np.float32(-np.inf)
    for model in policy.order:
        latency_s = predicted_latency_s(cluster, s, e, choose_gpu(cluster, s, e, model), model)
        # Rounded as observations are, so that the decision is the one taken from an observation.
        value = np.float32(slack(latency_s, s.envs[e].deadline_s))
        if value >= policy.margin:
            return int(model)
        if value > most:
            hopeful, most = model, value
    return int(hopeful)


@compiled
def evaluate(policy: CompiledPolicy, cluster: Cluster, s: State, e: int) -> int:
    """Run the network on the observation; returns the half of the scratch that holds its output."""
    encode(cluster, s, e, policy.scratch[0])
    layers = len(policy.sizes) - 1
    start = 0
    for layer in range(layers):
        forward(policy, layer, start, layer < layers - 1)
        start += (policy.sizes[layer] + 1) * policy.sizes[layer + 1]
    return layers % 2


@compiled
def forward(policy: CompiledPolicy, layer: int, start: int, rectifies: bool) -> None:
    """One layer, from one half of the scratch to the other."""
    rows, columns = policy.sizes[layer], policy.sizes[layer + 1]
    inputs, outputs = policy.scratch[layer % 2], policy.scratch[(layer + 1) % 2]
    copy_row(outputs, policy.weights[start + rows * columns :], columns)
    # Row by row, which vectorises: no sum has to be reordered.
    for i in range(rows):
        if inputs[i] != 0.0:
            add_row(outputs, policy.weights[start + i * columns :], inputs[i], columns)
    if rectifies:
        for j in range(columns):
            outputs[j] = max(outputs[j], np.float32(0.0))


@compiled
def copy_row(target: NDArray[np.float32], row: NDArray[np.float32], columns: int) -> None:
    """The first `columns` entries of `row`."""
    for j in range(columns):
        target[j] = row[j]


@compiled
def add_row(
    target: NDArray[np.float32], row: NDArray[np.float32], factor: float, columns: int
) -> None:
    """Add `factor` times the first `columns` entries of `row`."""
    for j in range(columns):
        target[j] += factor * row[j]


@compiled
def walk(
    policy: CompiledPolicy,
    cluster: Cluster,
    tape: Tape,
    s: State,
    e: int,
    first_action: int,
    until_s: float,
    most: int,
    log: Log,
) -> int:
    """Follow the policy in env `e`; returns how many decisions were taken.

    Ends with the episode, at the first decision after `until_s`, or after `most` decisions. A
    `first_action` that is not negative replaces the policy's first.
    """
    taken = 0
    while taken < most and not s.envs[e].over and s.envs[e].now_s <= until_s:
        forced = taken == 0 and first_action >= 0
        action = first_action if forced else decide(policy, cluster, s, e)
        step_env(cluster, tape, s, e, action, log)
        taken += 1
    return taken


@compiled
def walk_all(policy: CompiledPolicy, cluster: Cluster, tape: Tape, s: State, log: Log) -> int:
    """Follow the policy in every env to the end of its episode; returns the decisions taken."""
    taken = 0
    for e in range(len(s.envs)):
        taken += walk(policy, cluster, tape, s, e, -1, np.inf, 2**62, log)
    return taken


def episode_scores(
    policy: CompiledPolicy, config: EnvConfig, seeds: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """Utility of peak of one episode per seed, shape (N,): paired between policies."""
    simulation = Simulation(config, len(seeds), logs_completions=False)
    everyone = np.ones(len(seeds), np.bool_)
    simulation.seed(everyone, seeds)
    simulation.reset(everyone)
    walk_all(policy, simulation.cluster, simulation.tape, simulation.state, simulation.log)
    envs = simulation.state.envs
    scores: NDArray[np.float64] = envs["utility"] / np.maximum(envs["peak_utility"], 1e-12)
    return scores
