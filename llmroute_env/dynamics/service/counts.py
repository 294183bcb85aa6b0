"""Counting: how many requests wait and run, of every queue, GPU, model and env."""

from __future__ import annotations

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.world import World


@compiled
def change_waiting(world: World, e: int, gpu: int, model: int, change: int) -> None:
    """Count `change` more waiting requests, everywhere they are counted."""
    s = world.state
    s.queues[e, gpu, model].waiting += change
    s.gpus[e, gpu].waiting += change
    s.models[e, model].waiting += change
    s.envs[e].waiting += change


@compiled
def change_running(world: World, e: int, gpu: int, model: int, change: int) -> None:
    """Count `change` more running requests, everywhere they are counted."""
    s = world.state
    s.queues[e, gpu, model].running += change
    s.gpus[e, gpu].running += change
    s.models[e, model].running += change
    s.envs[e].running += change
