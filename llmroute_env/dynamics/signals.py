"""Signals: what a router may know of the cluster, as named questions.

Observations, compiled heuristics, rollouts and pictures ask here and never the state, so that
what they know is decided in one place. Signals are exact and of this moment, or what scrapes have
brought (scrapes.py): the rows of `view_of`. What the router itself does, and what arrives, it
always knows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.cluster import hosts
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.dispatch import seems_up
from llmroute_env.dynamics.service import border
from llmroute_env.dynamics.state import State
from llmroute_env.dynamics.world import World, if_exact, if_nothing_fails, is_uncertain, view_of


@compiled
def load_over_short_window(world: World, e: int) -> float:
    """Estimated arrival rate in units of load 1, forgetting within the short window."""
    return float(world.state.envs[e].fast_rate_per_s / world.cluster.rules[0].load_1_per_s)


@compiled
def load_over_long_window(world: World, e: int) -> float:
    """Estimated arrival rate in units of load 1, forgetting within the long window."""
    return float(world.state.envs[e].slow_rate_per_s / world.cluster.rules[0].load_1_per_s)


def share_of_those_counted(world: World, e: int) -> float:
    """The same of exact signals, which are counted as they change."""
    return float(world.state.envs[e].busy_gpus / world.cluster.rules[0].gpus)


@if_exact(share_of_those_counted)
def share_of_busy_gpus(world: World, e: int) -> float:
    """Share of the GPUs that serve something."""
    busy, gpus = 0, world.cluster.rules[0].gpus
    for gpu in range(gpus):
        busy += not is_idle(world, e, gpu)
    return float(busy / gpus)


@compiled
def waiting_for_model(world: World, e: int, model: int) -> int:
    """Requests that wait for `model`, on all GPUs."""
    return int(world.state.models[view_of(world, e), model].waiting)


@compiled
def running_by_model(world: World, e: int, model: int) -> int:
    """Requests that `model` is answering, on all GPUs."""
    return int(world.state.models[view_of(world, e), model].running)


@compiled
def waiting(world: World, e: int, gpu: int, model: int) -> int:
    """Requests that wait for `model` on `gpu`."""
    return int(world.state.queues[view_of(world, e), gpu, model].waiting)


@compiled
def is_idle(world: World, e: int, gpu: int) -> bool:
    """Whether `gpu` serves nothing."""
    return bool(world.state.gpus[view_of(world, e), gpu].running == 0)


@compiled
def serving_model(world: World, e: int, gpu: int) -> int:
    """The model that `gpu` runs; -1 if it is idle."""
    return int(world.state.gpus[view_of(world, e), gpu].model)


@compiled
def remaining_s(world: World, e: int, gpu: int) -> float:
    """Seconds until a busy `gpu` is done with the batch, or the step, that it runs."""
    return border.remaining_s(world, e, gpu)


@compiled
def backlog_s(world: World, e: int, gpu: int) -> float:
    """Seconds until `gpu` would have worked off all it holds, if nothing else came."""
    s = world.state
    return float(max(s.gpus[view_of(world, e), gpu].drain_s - s.envs[e].now_s, 0.0))


@compiled
def added_work_s(world: World, e: int, gpu: int, model: int) -> float:
    """Seconds of work that the pending request would add to `gpu`, which hosts `model`."""
    return border.added_work_s(world, e, gpu, model)


@compiled
def tightest(world: World, e: int, gpu: int, model: int) -> tuple[float, float]:
    """Predicted and allowed seconds of the deadline that is likeliest to be missed there."""
    return border.tightest(world, e, gpu, model)


@compiled
def prospect(world: World, e: int, gpu: int, model: int) -> tuple[border.Due, border.Outlook]:
    """What the pending request would meet there: see border.py."""
    return border.prospect(world, e, gpu, model)


@compiled
def time_left_s(world: World, e: int) -> float:
    """Seconds that are left of the pending request's deadline."""
    env = world.state.envs[e]
    return float(env.deadline_s - env.waited_s)


@compiled
def prompt_tokens(world: World, e: int) -> int:
    """Tokens of the pending prompt; 0 after the last request, and where requests have none."""
    env, tokens = world.state.envs[e], world.tape.prompt_tokens
    return int(tokens[env.first + env.request]) if len(tokens) > 0 and env.task >= 0 else 0


@compiled
def serves(world: World, e: int, gpu: int, model: int) -> bool:
    """Whether `gpu` hosts `model`, and is believed to be up."""
    return bool(hosts(world.cluster, gpu, model) and seems_up(world, e, gpu))


def never(world: World, e: int, gpu: int) -> float:
    """Nothing fails."""
    return math.inf


@if_nothing_fails(never)
def leaving_s(world: World, e: int, gpu: int) -> float:
    """Seconds until `gpu` goes, as was told; inf where nothing was."""
    s = world.state
    return float(max(s.gpus[view_of(world, e), gpu].leaves_s - s.envs[e].now_s, 0.0))


@compiled
def waited_s(world: World, e: int) -> float:
    """Seconds since the pending request arrived; 0 after the last one."""
    env = world.state.envs[e]
    return float(env.waited_s) if env.task >= 0 else 0.0


@compiled
def tries(world: World, e: int) -> int:
    """How often the pending request has failed; 0 after the last one."""
    env = world.state.envs[e]
    if not world.cluster.rules[0].come_back or env.task < 0:
        return 0
    return int(world.state.fates[e, env.request].tries)


@compiled
def held(world: World, e: int, gpu: int, model: int) -> int:
    """Requests that run or wait for `model` on `gpu`."""
    return requests_at(world, view_of(world, e), gpu, model)


@compiled
def in_flight(world: World, e: int, gpu: int, model: int) -> int:
    """Requests that the router has sent to (gpu, model) and that have not come back: it counts."""
    return requests_at(world, e, gpu, model)


@compiled
def requests_at(world: World, row: int, gpu: int, model: int) -> int:
    """Requests that run or wait for `model` on `gpu` by a row of the state."""
    queue = world.state.queues[row, gpu, model]
    return int(queue.waiting + queue.running)


def no_age_s(world: World, e: int, gpu: int) -> float:
    """What is seen, is."""
    return 0.0


@if_exact(no_age_s)
def age_s(world: World, e: int, gpu: int) -> float:
    """How long ago what is seen of `gpu` was so."""
    s = world.state
    return float(s.envs[e].now_s - s.gpus[view_of(world, e), gpu].scraped_s)


@compiled
def sent(world: World, e: int, gpu: int, model: int) -> int:
    """Requests that the router has sent to (gpu, model) since; none that were turned away."""
    return int(world.state.queues[view_of(world, e), gpu, model].sent)


class Seen(NamedTuple):
    """The signals of one env as arrays, for whoever is not compiled: G GPUs, M models."""

    now_s: float
    waiting: NDArray[np.int64]  # (G, M)
    running: NDArray[np.int64]  # (G,)
    model: NDArray[np.int64]  # (G,) that runs; -1 if idle
    start_s: NDArray[np.float64]  # (G,) of what runs
    finish_s: NDArray[np.float64]  # (G,) likewise
    up: NDArray[np.bool_]  # (G,) believed to be


def seen(s: State, e: int) -> Seen:
    """What a router may know of env `e`."""
    gpus = s.gpus[e]
    return Seen(
        now_s=float(s.envs[e]["now_s"]),
        waiting=s.queues[e]["waiting"].astype(np.int64),
        running=gpus["running"].astype(np.int64),
        model=gpus["model"].astype(np.int64),
        start_s=gpus["start_s"].astype(np.float64),
        finish_s=gpus["finish_s"].astype(np.float64),
        up=gpus["is_up"] != 0 if is_uncertain(gpus.dtype) else np.ones(len(gpus), np.bool_),
    )
