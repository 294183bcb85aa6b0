"""Answers to the border's questions from what every service model publishes."""

from __future__ import annotations

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.returns import left_of
from llmroute_env.dynamics.world import World, view_of


@compiled
def added_work_s(world: World, e: int, gpu: int, model: int) -> float:
    """What one more request is said to add to the queue."""
    return float(world.state.queues[view_of(world, e), gpu, model].added_s)


@compiled
def remaining_s(world: World, e: int, gpu: int) -> float:
    """Seconds until all is done that a busy `gpu` runs."""
    s = world.state
    return float(max(s.gpus[view_of(world, e), gpu].finish_s - s.envs[e].now_s, 0.0))


@compiled
def tightest(world: World, e: int, gpu: int, model: int) -> tuple[float, float]:
    """All work that is there and then the request's own, until what is left of its deadline."""
    env = world.state.envs[e]
    backlog_s = max(world.state.gpus[view_of(world, e), gpu].drain_s - env.now_s, 0.0)
    due_s = left_of(world, e, env.deadline_s)
    return backlog_s + added_work_s(world, e, gpu, model), due_s


@compiled
def prospect(
    world: World, e: int, gpu: int, model: int
) -> tuple[tuple[float, float], tuple[float, float, float, float]]:
    """All tokens of an answer come at its end; prompts and caches are not known here."""
    latency_s, due_s = tightest(world, e, gpu, model)
    return (latency_s, due_s), (latency_s, 0.0, 0.0, 0.0)


@compiled
def show(world: World, source: int, target: int, gpu: int) -> None:
    """Nothing is told beside the records that all have."""


@compiled
def reckon(world: World, e: int, row: int, gpu: int, model: int) -> float:
    """What one more request was said to add to the queue, however many have been sent since."""
    return float(world.state.queues[row, gpu, model].added_s)
