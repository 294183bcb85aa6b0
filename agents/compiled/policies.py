"""Routers as compiled code: episodes and rollouts run without returning to Python.

A CompiledPolicy is data; `decide` turns it into an action for the pending request of one env, and
`decide_observed` for an observation at hand. They are made in making.py.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agents.columns import (
    PairColumns,
)
from agents.compiled.balancers import Balancing, less_loaded
from agents.compiled.networks import (
    Perceptron,
    evaluate,
    largest_output,
)
from agents.compiled.rules import (
    Limits,
    PairRule,
    Price,
    best_pair,
    leave_out,
    most_feasible,
)
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.dispatch import choose_gpu
from llmroute_env.dynamics.episode import step_env
from llmroute_env.dynamics.observation import encode, encode_for_pairs, slack
from llmroute_env.dynamics.signals import tightest
from llmroute_env.dynamics.world import World
from llmroute_env.simulation.simulation import Simulation

LARGEST_FEASIBLE, BEST_PAIR, NETWORK, GUARDED, BALANCER = range(5)
"""GUARDED follows a heuristic, BEST_PAIR if actions are pairs and else LARGEST_FEASIBLE, but
where the network values another action by `caution` more."""

UNCOUNTED = np.zeros(0, np.int64)
"""For `walk_all`, where nobody asks how often a heuristic was overruled."""


class CompiledPolicy(NamedTuple):
    """A router as `decide` reads it; the fields of the other kinds are empty."""

    kind: int
    margin: np.float32
    price: Price
    limits: Limits
    caution: np.float32
    busiest: np.float32  # value of the feature `fast_rate` above which GUARDED never overrules
    rate: int  # column of that feature; -1 if it is not observed
    order: NDArray[np.int64]  # (M,) models, largest first
    slack: int  # first column of the feature; -1 if it is not observed
    columns: PairColumns
    utility: NDArray[np.float64]  # (C x T, M): pairs.utilities
    worths: NDArray[np.float64]  # (G x M,): scratch of pairs.best_pair
    tries: int  # how many pairs GUARDED may take, those of the most worth; 0 for all
    balancing: Balancing
    network: Perceptron


@runtime_checkable
class RunsCompiled(Protocol):
    """A router that has a compiled form: whole episodes run without returning to Python."""

    def compiled(self, config: EnvConfig) -> CompiledPolicy:
        """What decides for `config` exactly as the router does."""
        ...


@compiled
def decide(policy: CompiledPolicy, world: World, e: int) -> int:
    """The policy's action for the pending request of env `e`; changes only its scratch."""
    if policy.kind == LARGEST_FEASIBLE:
        return feasible_now(policy, world, e)
    if policy.kind == BEST_PAIR and policy.limits.held_s == 0.0:
        encode_for_pairs(world, e, policy.network.observation)
    elif policy.kind == BALANCER:
        row = policy.network.observation
        return less_loaded(policy.balancing, world, e, row, policy.worths)
    else:
        encode(world, e, policy.network.observation)
    return decide_observed(policy)


@compiled
def decide_observed(policy: CompiledPolicy) -> int:
    """The policy's action for the observation in `policy.network`; largest-feasible needs none."""
    if policy.kind == BEST_PAIR:
        return most_worth(policy)
    if policy.kind == NETWORK:
        evaluate(policy.network)
        return largest_output(policy.network)
    usual = usual_action(policy)
    if policy.rate >= 0 and policy.network.observation[policy.rate] > policy.busiest:
        return usual
    evaluate(policy.network)
    outputs = policy.network.outputs
    if policy.tries > 0:
        leave_out(outputs, policy.worths, policy.tries)
    best = largest_output(policy.network)
    gain = outputs[best] - outputs[usual]
    return best if gain > policy.caution + policy.network.tie else usual


@compiled
def usual_action(policy: CompiledPolicy) -> int:
    """What the heuristic of GUARDED does for the observation at hand."""
    return most_worth(policy) if policy.columns.pairs > 0 else feasible_observed(policy)


@compiled
def most_worth(policy: CompiledPolicy) -> int:
    """The pair that the rule takes for the observation at hand."""
    rule = PairRule(policy.columns, policy.utility, policy.price, policy.limits)
    return best_pair(policy.network.observation, rule, policy.worths)


@compiled
def feasible_now(policy: CompiledPolicy, world: World, e: int) -> int:
    """The first model in `order` whose slack reaches the margin, else that with the most slack."""
    hopeful, most = policy.order[0], np.float32(-np.inf)
    for model in policy.order:
        latency_s, due_s = tightest(world, e, choose_gpu(world, e, model), model)
        # Rounded as observations are, so that the decision is the one taken from an observation.
        value = np.float32(slack(latency_s, due_s))
        if value >= policy.margin:
            return int(model)
        if value > most:
            hopeful, most = model, value
    return int(hopeful)


@compiled
def feasible_observed(policy: CompiledPolicy) -> int:
    """As `feasible_now`, from the observation at hand, which holds the slack of every model."""
    observation = policy.network.observation
    return most_feasible(observation, policy.slack, policy.margin, policy.order)


@compiled
def walk(
    policy: CompiledPolicy,
    world: World,
    e: int,
    first_action: int,
    until_s: float,
    most: int,
) -> int:
    """Follow the policy in env `e`; returns how many decisions were taken.

    Ends with the episode, at the first decision after `until_s`, or after `most` decisions. A
    `first_action` that is not negative replaces the policy's first.
    """
    s = world.state
    taken = 0
    while taken < most and not s.envs[e].over and s.envs[e].now_s <= until_s:
        forced = taken == 0 and first_action >= 0
        action = first_action if forced else decide(policy, world, e)
        step_env(world, e, action)
        taken += 1
    return taken


@compiled
def walk_all(policy: CompiledPolicy, world: World, overruled: NDArray[np.int64]) -> int:
    """Follow the policy in every env to the end of its episode; returns the decisions taken.

    Of GUARDED, `overruled` comes to hold how many of each env's are not its heuristic's, shape
    (E,); with shape (0,) they are not counted.
    """
    s = world.state
    taken = 0
    for e in range(len(s.envs)):
        while not s.envs[e].over:
            action = decide(policy, world, e)
            if policy.kind == GUARDED and len(overruled) > 0:
                # Of the observation that the decision was taken from.
                overruled[e] += action != usual_action(policy)
            step_env(world, e, action)
            taken += 1
    return taken


def episode_scores(
    policy: CompiledPolicy, config: EnvConfig, seeds: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """Utility of peak of one episode per seed, shape (N,): paired between policies."""
    simulation = Simulation(config, len(seeds), logs_completions=False)
    simulation.begin(seeds)
    walk_all(policy, simulation.world, UNCOUNTED)
    return simulation.share_of_peak
