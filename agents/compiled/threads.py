"""Heuristics and networks that route on a device: an env a thread, to the end of its episode."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.compiled.networks import Perceptron
from agents.compiled.policies import CompiledPolicy, walk
from llmroute_env.config import EnvConfig
from llmroute_env.cuda.layout import WARP, Layout, Tiled, tiles_of
from llmroute_env.cuda.memory import Memory
from llmroute_env.cuda.room import decisions_that_fit
from llmroute_env.cuda.simulation import DeviceSimulation
from llmroute_env.cuda.threads import DONE, RING_FULL, Answers, tell
from llmroute_env.cuda.tiled import moved
from llmroute_env.cuda.tiles import lane_of, world_of
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.stepping import Outputs
from llmroute_env.dynamics.world import World
from llmroute_env.simulation.summary import share_of_peak
from llmroute_env.specs import require


class Scratch(NamedTuple):
    """Where policies compute: of E envs, each its own."""

    worths: Any  # (E, pairs)
    observation: Any  # (E, F)
    scratch: Any  # (E, 2, widest layer)
    outputs: Any  # (E, outputs)


class Walk(NamedTuple):
    """What threads are told that follow a policy, and where they answer."""

    launch: int
    again: int
    answers: Answers
    policy: CompiledPolicy
    scratch: Scratch
    taken: Any  # (E,) int64 decisions


def scratch_for(policy: CompiledPolicy, envs: int, memory: Memory) -> Scratch:
    """As much as the policy has for itself, for each env."""
    network = policy.network
    own = policy.worths, network.observation, network.scratch, network.outputs
    layouts = (Layout(tiles_of(envs), WARP, part.shape, part.dtype) for part in own)
    arrays = (Tiled(lay, memory.zeros(lay.nbytes), memory).by_env(envs) for lay in layouts)
    return Scratch(*arrays)


@compiled
def own_policy(policy: CompiledPolicy, scratch: Scratch, thread: int) -> CompiledPolicy:
    """The policy as one thread may use it."""
    shared = policy.network
    network = Perceptron(
        shared.inputs,
        shared.sizes,
        shared.weights,
        scratch.observation[thread],
        scratch.scratch[thread],
        scratch.outputs[thread],
        shared.tie,
        shared.attention,
    )
    return CompiledPolicy(
        policy.kind,
        policy.margin,
        policy.price,
        policy.limits,
        policy.caution,
        policy.busiest,
        policy.rate,
        policy.order,
        policy.slack,
        policy.columns,
        policy.utility,
        scratch.worths[thread],
        policy.tries,
        policy.balancing,
        network,
    )


@compiled
def walk_threads(first: int, last: int, world: World, out: Outputs, orders: Walk) -> None:
    """Follow the policy to the end of every episode, as far as there is room."""
    for thread in range(first, last):
        own, e = world_of(world, thread), lane_of(thread)
        policy = own_policy(orders.policy, orders.scratch, thread)
        came = DONE
        while came == DONE and not own.state.envs[e].over:
            most = decisions_that_fit(own, e)
            if most < 1:
                came = RING_FULL
            else:
                orders.taken[thread] += walk(policy, own, e, -1, math.inf, most)
        tell(orders.answers, orders.launch, thread, came)


def walk_on(policy: CompiledPolicy, simulation: DeviceSimulation) -> NDArray[np.int64]:
    """Follow the policy in every env to the end of its episode; the decisions taken, (E,).

    Raises:
        ConfigError: its network attends, for which threads have no place of their own.
    """
    envs, memory = simulation.envs, simulation.memory
    attention = len(policy.network.attention.seen)
    require(attention == 0, "attention", attention, "0 on a device")
    walk = Walk(
        launch=0,
        again=0,
        answers=simulation.answers,
        policy=moved(policy, memory),
        scratch=scratch_for(policy, envs, memory),
        taken=memory.put(np.zeros(envs, np.int64)),
    )
    simulation.carry_out((walk_threads,), walk)
    taken: NDArray[np.int64] = memory.get(walk.taken)
    return taken


def device_scores(
    policy: CompiledPolicy, config: EnvConfig, seeds: NDArray[np.uint64], memory: Memory
) -> NDArray[np.float64]:
    """As policies.episode_scores, on a device: utility of peak of one episode per seed, (N,)."""
    simulation = DeviceSimulation(config, len(seeds), memory)
    simulation.begin(seeds)
    walk_on(policy, simulation)
    envs = simulation.state().envs
    scores: NDArray[np.float64] = share_of_peak(envs["utility"], envs["peak_utility"])
    return scores
