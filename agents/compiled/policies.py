"""Routers as compiled code: episodes and rollouts run without returning to Python.

A CompiledPolicy is data; `decide` turns it into an action for the pending request of one env, and
`decide_observed` for an observation at hand.
The heuristics here are exactly heuristics.models.LargestFeasible, heuristics.pairs.PricedPair and
FeasiblePair, and heuristics.late.ConcurrencyLimit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from agents.columns import (
    NO_PAIRS,
    PairColumns,
    largest_first,
    pair_columns,
    routes,
    sustained_by_pair,
    utilities,
)
from agents.compiled.balancers import NO_BALANCING, Balancing, less_loaded
from agents.compiled.layers import Layer
from agents.compiled.networks import (
    Perceptron,
    evaluate,
    largest_output,
    no_network,
    perceptron,
)
from agents.compiled.rules import (
    NO_LIMITS,
    ROOT,
    STEEP,
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


def largest_feasible(config: EnvConfig, margin: float) -> CompiledPolicy:
    """The largest model predicted to meet the deadline with `margin`."""
    return CompiledPolicy(
        kind=LARGEST_FEASIBLE,
        margin=np.float32(margin),
        price=Price(0.0),
        limits=NO_LIMITS,
        caution=np.float32(0),
        busiest=np.float32(np.inf),
        rate=config.layout.first("fast_rate"),
        order=np.array(largest_first(config), np.int64),
        slack=config.layout.first("slack"),
        columns=NO_PAIRS,
        utility=utilities(config),
        worths=np.zeros(config.gpus * len(config.models)),
        tries=0,
        balancing=NO_BALANCING,
        network=no_network(1),
    )


def priced_pair(config: EnvConfig, price: float, growth: float = ROOT) -> CompiledPolicy:
    """The pair with the best accuracy at Price(price, growth), by the observation of `config`."""
    rule = PairRule(pair_columns(config.layout), utilities(config), Price(float(price), growth))
    return of_rule(config, rule)


def concurrency_limit(config: EnvConfig, held_s: float) -> CompiledPolicy:
    """The largest model with an instance that holds less than it works off in `held_s` seconds."""
    columns = pair_columns(config.layout, ("gpu_in_flight",))
    rule = PairRule(columns, utilities(config), Price(0.0), limits(config, held_s))
    return of_rule(config, rule)


def feasible_pair(config: EnvConfig, margin: float) -> CompiledPolicy:
    """The largest model that a GPU is predicted to serve in time with `margin`."""
    rule = PairRule(
        pair_columns(config.layout), utilities(config), Price(0.0), margins(config, margin)
    )
    return of_rule(config, rule)


def margins(config: EnvConfig, margin: float) -> Limits:
    """What has room in `config` by a predicted slack of `margin`; larger models are wanted more."""
    return Limits(0.0, np.zeros(0), np.array(largest_first(config), np.int64), float(margin))


def limits(config: EnvConfig, held_s: float) -> Limits:
    """What the pairs of `config` work off in `held_s`; larger models are wanted more."""
    order = np.array(largest_first(config), np.int64)
    return Limits(float(held_s), sustained_by_pair(config), order)


def of_rule(config: EnvConfig, rule: PairRule) -> CompiledPolicy:
    """The pair that is worth most to `rule`, by the observation of `config`."""
    empty = largest_feasible(config, 0.0)
    return empty._replace(kind=BEST_PAIR, network=no_network(config.layout.width), **rule._asdict())


def network(
    config: EnvConfig,
    layers: Sequence[Layer],
    inputs: NDArray[np.int64],
    attention: Sequence[Layer] = (),
) -> CompiledPolicy:
    """The action of the largest output of a multilayer perceptron with ReLU between `layers`.

    It is applied to every row of `inputs`, shape (R, I), columns of the observation of `config`;
    its last layer has one output for each of the actions that a row stands for. The rows may see
    each other by the layers of an `attention`.
    """
    columns = config.layout.width
    read, yielded = len(layers[0][0]), len(inputs) * len(layers[-1][1])
    # Who reads GPUs alike never rejects or defers.
    accepted = config.actions, routes(config)
    if read != inputs.shape[1] or inputs.max() >= columns or yielded not in accepted:
        raise ValueError(
            f"layers: got {read} to {yielded}; accepted: {inputs.shape[1]} of {columns} columns "
            f"to {accepted[0]} actions"
        )
    empty = largest_feasible(config, 0.0)
    return empty._replace(kind=NETWORK, network=perceptron(layers, inputs, columns, attention))


COMPILED: dict[str, Callable[[EnvConfig, float], CompiledPolicy]] = {
    "largest-feasible": largest_feasible,
    "priced-pair": priced_pair,
    "steep-pair": partial(priced_pair, growth=STEEP),
    "reckoned-feasible": largest_feasible,
    "reckoned-pair": partial(priced_pair, growth=STEEP),
    "concurrency-limit": concurrency_limit,
    "feasible-pair": feasible_pair,
}
"""Heuristics that run compiled, by name, from their setting."""


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
