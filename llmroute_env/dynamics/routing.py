"""A decision and the time after it: route the pending request, run the clock to the next one.

This is the only implementation: the single env, the vector env, compiled heuristics, snapshots
and rollouts all call it. docs/service-model.md defines what it computes. `e` is the env at hand;
indexing the arrays in place, rather than slicing them first, keeps reference counting out of the
inner loops.
"""

from __future__ import annotations

from llmroute_env.dynamics.actions import NOBODY, defers, gpu_of, model_of, rejects
from llmroute_env.dynamics.cluster import hosts
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.dispatch import ROUND_ROBIN, choose_gpu, update_load
from llmroute_env.dynamics.machines import is_down
from llmroute_env.dynamics.returns import decide_on, give_up, is_new, may_defer, send_away
from llmroute_env.dynamics.reward import credit_rejected, expect
from llmroute_env.dynamics.scrapes import before_change, note_sent
from llmroute_env.dynamics.service.border import admit, handle_event
from llmroute_env.dynamics.service.completions import log_pending
from llmroute_env.dynamics.state import DEFERRED, REJECTED
from llmroute_env.dynamics.tournament import EVENT, winner
from llmroute_env.dynamics.world import World


@compiled
def submit(world: World, e: int, action: int) -> None:
    """Route the pending request of env `e`, or not; an idle GPU starts on it at once."""
    cluster, s = world.cluster, world.state
    gpu, model = gpu_of(cluster, action), model_of(cluster, action)
    decide_on(world, e)
    if is_new(world, e):
        s.envs[e].routed += 1
        expect(world, e)
    if model == NOBODY:
        route_nowhere(world, e, action)
        return
    if gpu == NOBODY:
        gpu = choose_gpu(world, e, model)
    if cluster.rules[0].dispatcher == ROUND_ROBIN:
        s.envs[e].next_gpu = gpu + 1
    s.models[e, model].routed += 1
    before_change(world, e, gpu, s.envs[e].now_s)
    if is_down(world, e, gpu) and hosts(cluster, gpu, model):
        at_s = s.envs[e].now_s + cluster.rules[0].timeout_s
        give_up(world, e, gpu, model, s.envs[e].request, at_s)
    elif hosts(cluster, gpu, model) and admit(world, e, gpu, model):
        update_load(world, e, gpu)
        note_sent(world, e, gpu, model)
    else:
        turn_away(world, e, gpu, model, 0.0)


@compiled
def route_nowhere(world: World, e: int, action: int) -> None:
    """The router rejects the pending request, or puts it off; once too often is a rejection."""
    if defers(world.cluster, action) and may_defer(world, e):
        put_off(world, e)
        return
    utility = world.cluster.rules[0].reject_utility if rejects(world.cluster, action) else 0.0
    turn_away(world, e, NOBODY, NOBODY, utility)


@compiled
def turn_away(world: World, e: int, gpu: int, model: int, utility: float) -> None:
    """The pending request is rejected, by the router or for lack of room."""
    world.state.envs[e].rejected += 1
    if utility != 0.0:
        credit_rejected(world, e, utility)
    log_pending(world, e, REJECTED, gpu, model, utility)


@compiled
def put_off(world: World, e: int) -> None:
    """The pending request comes back later."""
    s = world.state
    env = s.envs[e]
    log_pending(world, e, DEFERRED, NOBODY, NOBODY, 0.0)
    s.fates[e, env.request].defers += 1
    env.deferred += 1
    send_away(world, e, env.request, env.now_s + world.cluster.rules[0].defer_s)


@compiled
def advance(world: World, e: int, until_s: float) -> float:
    """Let happen what is due by `until_s`, in order; returns when the last of it did, or now."""
    s = world.state
    last_s: float = s.envs[e].now_s
    while s.envs[e].busy_gpus > 0:
        gpu = winner(s.contests, e, EVENT, 0, world.cluster.rules[0].gpus, 1)
        event_s = s.contests[e, EVENT, gpu].key
        if event_s > until_s:
            break
        last_s = event_s
        before_change(world, e, gpu, event_s)
        handle_event(world, e, gpu)
        update_load(world, e, gpu)
    return last_s
