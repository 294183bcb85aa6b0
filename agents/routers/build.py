"""Networks and guards for an environment, and both as compiled code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.columns import gpu_inputs, largest_first, pair_columns, utilities
from agents.compiled import making
from agents.compiled.guards import guarded
from agents.compiled.policies import CompiledPolicy
from agents.compiled.rules import PairRule
from agents.routers.networks import Guarded, GuardedNetwork, GuardedPairs, QNetwork, Router
from llmroute_env.config import EnvConfig


def q_network(
    config: EnvConfig,
    hidden: tuple[int, ...],
    dueling: bool = False,
    seed: int = 0,
    attention: int = 0,
) -> QNetwork:
    """A Q-network that reads the observation of `config` and values its actions."""
    inputs: NDArray[np.int64] | int = config.layout.width
    outputs = config.actions
    if config.action == "gpu-model":
        # One row of inputs per GPU, one output for each of its models: to reject is of no GPU.
        inputs, outputs = gpu_inputs(config.layout), len(config.models)
    return QNetwork(inputs, hidden, outputs, dueling, seed, attention)


def network_inputs(network: QNetwork, config: EnvConfig) -> NDArray[np.int64]:
    """Columns of the observation of `config` that the network reads, whatever it was made for."""
    inputs: NDArray[np.int64] = network.inputs.numpy()
    return gpu_inputs(config.layout) if network.reads_gpus else inputs


def guard(network: QNetwork, config: EnvConfig, usual: CompiledPolicy, tries: int = 0) -> Guarded:
    """The heuristic `usual`, which `network` may overrule once it has a caution.

    Of pairs it may take only the `tries` that the heuristic values most, any if it is 0.
    """
    if config.action == "gpu-model":
        columns = pair_columns(config.layout)
        rule = PairRule(columns, utilities(config), usual.price, usual.limits)
        return GuardedPairs(network, rule, tries)
    slack, rate = map(config.layout.first, ("slack", "fast_rate"))
    return GuardedNetwork(network, float(usual.margin), slack, rate, largest_first(config))


def compiled_router(router: Router, config: EnvConfig) -> CompiledPolicy:
    """The router as compiled code for `config`, whatever number of GPUs it was made for."""
    values = router if isinstance(router, QNetwork) else router.network
    attention = [] if values.attention is None else values.attention.layers()
    inputs = network_inputs(values, config)
    network = making.network(config, values.layers(), inputs, attention)
    if isinstance(router, QNetwork):
        return network
    limits = float(router.caution), float(router.busiest), router.tries
    return guarded(network, compiled_guard(router, config), *limits)


def compiled_guard(router: Guarded, config: EnvConfig) -> CompiledPolicy:
    """The heuristic that guards the router, alone: what the router is with infinite caution."""
    if isinstance(router, GuardedPairs):
        # What it was trained to believe that answers are worth may not be what counts here.
        rule = router.rule._replace(columns=pair_columns(config.layout))
        if rule.limits.held_s > 0:
            rule = rule._replace(limits=making.limits(config, rule.limits.held_s))
        return making.of_rule(config, rule)
    return making.largest_feasible(config, float(router.margin))
