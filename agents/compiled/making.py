"""Compiled routers for an environment: heuristics from their settings, networks from their layers.

The heuristics here are exactly heuristics.models.LargestFeasible, heuristics.pairs.PricedPair and
FeasiblePair, and heuristics.late.ConcurrencyLimit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from agents.columns import (
    NO_PAIRS,
    largest_first,
    pair_columns,
    routes,
    sustained_by_pair,
    utilities,
)
from agents.compiled.balancers import NO_BALANCING
from agents.compiled.layers import Layer
from agents.compiled.networks import no_network, perceptron
from agents.compiled.policies import BEST_PAIR, LARGEST_FEASIBLE, NETWORK, CompiledPolicy
from agents.compiled.rules import NO_LIMITS, ROOT, STEEP, Limits, PairRule, Price
from llmroute_env.config import EnvConfig


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
