"""Many envs at once: step a range of them, begin the next episodes, report what came of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.actions import most_actions
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.episode import begin_episode, step_env
from llmroute_env.dynamics.observation import encode
from llmroute_env.dynamics.records import copy_record
from llmroute_env.dynamics.reward import share_of_peak
from llmroute_env.dynamics.state import Records, State
from llmroute_env.dynamics.world import World

NEXT_STEP, SAME_STEP, DISABLED = range(3)
"""When an env whose episode has ended begins the next one."""


class Outputs(NamedTuple):
    """What a step reports of E envs with observations of F columns."""

    observations: NDArray[np.float32]  # (E, F)
    rewards: NDArray[np.float64]  # (E,), the sum of its terms:
    utility_in_time: NDArray[np.float64]  # (E,)
    utility_late: NDArray[np.float64]  # (E,)
    utility_rejected: NDArray[np.float64]  # (E,)
    utility_of_peak: NDArray[np.float64]  # (E,) of the episode so far
    elapsed_s: NDArray[np.float64]  # (E,) between the previous decision and this one, or the end
    terminated: NDArray[np.bool_]  # (E,)
    truncated: NDArray[np.bool_]  # (E,)
    final_observations: NDArray[np.float32]  # (E, F), valid where an episode has just ended
    final_envs: Records  # (E,) ENV at that moment
    final_models: Records  # (E, M) MODEL at that moment
    final_classes: Records  # (E, C) CLASS at that moment


def allocate_outputs(envs: int, columns: int, s: State) -> Outputs:
    """Zeroed outputs for `envs` envs with observations of `columns` columns."""
    return Outputs(
        observations=np.zeros((envs, columns), np.float32),
        rewards=np.zeros(envs),
        utility_in_time=np.zeros(envs),
        utility_late=np.zeros(envs),
        utility_rejected=np.zeros(envs),
        utility_of_peak=np.zeros(envs),
        elapsed_s=np.zeros(envs),
        terminated=np.zeros(envs, np.bool_),
        truncated=np.zeros(envs, np.bool_),
        final_observations=np.zeros((envs, columns), np.float32),
        final_envs=np.zeros_like(s.envs),
        final_models=np.zeros_like(s.models[:envs]),
        final_classes=np.zeros_like(s.classes),
    )


@compiled
def reset_envs(world: World, out: Outputs, chosen: NDArray[np.bool_]) -> None:
    """Begin new episodes in the chosen envs."""
    s = world.state
    for e in range(len(s.envs)):
        if chosen[e]:
            reset_env(world, e, out)


@compiled
def reset_env(world: World, e: int, out: Outputs) -> None:
    """Begin a new episode in env `e`."""
    begin_episode(world, e)
    clear_step(out, e)
    out.terminated[e], out.truncated[e] = False, False
    show_env(world, e, out)


@compiled
def show_env(world: World, e: int, out: Outputs) -> None:
    """Write where env `e` is: its observation, and its score so far."""
    env = world.state.envs[e]
    out.utility_of_peak[e] = share_of_peak(env.utility, env.peak_utility)
    encode(world, e, out.observations[e])


@compiled
def clear_step(out: Outputs, e: int) -> None:
    """Report that nothing was earned and no time passed."""
    out.rewards[e], out.elapsed_s[e] = 0.0, 0.0
    out.utility_in_time[e], out.utility_late[e], out.utility_rejected[e] = 0.0, 0.0, 0.0


@compiled
def show_envs(world: World, out: Outputs) -> None:
    """Write where all envs are."""
    for e in range(len(world.state.envs)):
        show_env(world, e, out)


@compiled
def step_envs(
    world: World,
    out: Outputs,
    actions: NDArray[np.int64],
    first: int,
    last: int,
    logged: int,
) -> int:
    """Step envs first..last-1; returns where it stopped lest the log overflow, else last.

    The log holds `logged` completions of this step already; all others are overwritten.

    If the action of an env e among them is out of range, nothing changes, and it returns -1 - e.
    """
    cluster, s, log = world.cluster, world.state, world.log
    rules = cluster.rules[0]
    same_step = rules.autoreset == SAME_STEP
    most = most_actions(world.cluster)
    # All before any: a refused call must not leave some of the envs a step ahead.
    for e in range(first, last):
        if actions[e] < 0 or actions[e] >= most:
            return -1 - e
    log.used[0] = logged
    for e in range(first, last):
        # At most all in flight and the pending request can end in one step.
        in_flight = s.envs[e].waiting + s.envs[e].running + s.envs[e].away
        if len(log.records) > 0 and log.used[0] + in_flight + 1 > len(log.records):
            return e
        begins = bool(s.envs[e].over)
        if begins:
            clear_step(out, e)
            if rules.autoreset != NEXT_STEP:
                continue
            out.terminated[e], out.truncated[e] = False, False
        else:
            out.terminated[e], out.truncated[e] = step_env(world, e, actions[e])
            report_step(world, e, out)
        # At most twice, in one place: what is inlined here is compiled for every place it stands.
        while True:
            if begins:
                begin_episode(world, e)
            show_env(world, e, out)
            if begins or not (same_step and s.envs[e].over):
                break
            for column in range(out.observations.shape[1]):
                out.final_observations[e, column] = out.observations[e, column]
            begins = True
    return last


@compiled
def report_step(world: World, e: int, out: Outputs) -> None:
    """What the step of env `e` earned, how long it took, and its counters if it was the last."""
    env = world.state.envs[e]
    out.rewards[e] = env.step_in_time + env.step_late + env.step_rejected
    out.utility_in_time[e], out.utility_late[e] = env.step_in_time, env.step_late
    out.utility_rejected[e], out.elapsed_s[e] = env.step_rejected, env.elapsed_s
    if env.over:
        keep_final(world, e, out)


@compiled
def keep_final(world: World, e: int, out: Outputs) -> None:
    """Copy the counters of the episode that has just ended."""
    s = world.state
    copy_record(out.final_envs[e], s.envs[e])
    for m in range(s.models.shape[1]):
        copy_record(out.final_models[e, m], s.models[e, m])
    for c in range(s.classes.shape[1]):
        copy_record(out.final_classes[e, c], s.classes[e, c])
