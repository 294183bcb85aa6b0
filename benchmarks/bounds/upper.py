"""What no router can exceed: a clairvoyant upper bound on an episode's utility.

A linear program over ways to answer each request. Why its maximum is an upper bound on every
router's utility, by mapping any run of the service model to a feasible point of equal or greater
value:

1. A batch of b requests, b' of which earn something, occupies its GPU for T(b) >= t(b') seconds,
   where t(k) = min over allowed b >= k of T(b). Charge each of the b' an equal share,
   T(b) / b' >= t(b') / b'. All of them had arrived when it started and it finished before the
   expiry of each, so they arrived within expiry - T(b) of each other. Hence the share of request r
   is at least the minimum of t(k) / k over the k for which some k consecutive arrivals, r among
   them, lie within expiry - t(k), and t(k) fits r's own window (shares.py). A way to answer
   r costs this least share; a run's true share is at least that, and the GPU may idle for the
   rest of it.
2. The batch ran between r's arrival and its finish. So of the work of the answers that a pool
   gives, what is done by any time t is at most the work of requests that had arrived by t, and at
   least the work of answers due by t; and a pool of G GPUs does at most G (t - s) from s to t.
   These are the rows `backlog`, `advance` and the ceiling on work, slot by slot. Slots round
   arrivals down and deadlines up, which only adds room. Batches may be spread over time and GPUs,
   requests answered in part: more freedom again.
3. An answer that finishes within the deadline, or up to lateness l_k but after l_(k-1), earns at
   most utility x decay(l_(k-1)) and was due at l_k: one level per step of lateness. Each deadline
   that classes of users have brings levels of its own.

The maximum itself is certified by weak duality (program.certified_maximum), so that the
solver's tolerances cannot make it too low. The bound holds for any dispatcher, for (GPU, model)
actions, and whatever the rules on shedding, batching and queue capacity.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from benchmarks.bounds.program import Instance, levels, maximum
from benchmarks.bounds.shares import Floats
from llmroute_env.config import EnvConfig
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import TICK_S, require

SLOTS_PER_DEADLINE = {"hard": 20, "soft": 10}
LATENESS_STEPS = 4
"""Of soft deadlines: twice as many, on twice as many slots, take up to a minute and a half and
tighten the bound by 0.03 to 0.06 % of the peak."""

MOST_SLOTS = 4000
"""Slots of an episode: beyond, they grow longer, and the bound a little looser."""


def upper_bound(
    config: EnvConfig, seeds: NDArray[np.uint64], slots_per_deadline: int | None = None
) -> Floats:
    """Utility that no router can exceed in the episode of each seed, shape (E,).

    Args:
        config: the environment; what it observes does not matter.
        seeds: as runner.episode_seeds draws them: the episodes are those that the runner runs.
        slots_per_deadline: resolution of time; more is tighter and slower. None: as
            SLOTS_PER_DEADLINE says.

    Raises:
        ConfigError: slots_per_deadline out of range.
    """
    kind = "soft" if is_soft(config) else "hard"
    slots = SLOTS_PER_DEADLINE[kind] if slots_per_deadline is None else slots_per_deadline
    require(slots >= 1, "slots_per_deadline", slots, ">= 1")
    return np.array([bound(instance, slots) for instance in episodes(config, seeds)])


def is_soft(config: EnvConfig) -> bool:
    """Whether any late answer can earn something."""
    kinds = [
        users.deadline_of(task, config.deadline).kind
        for users in config.classes
        for task in config.tasks
    ]
    return any(kind != "hard" for kind in kinds or [config.deadline.kind])


def bound_of_peak(config: EnvConfig, seeds: NDArray[np.uint64]) -> Floats:
    """upper_bound as a share of each episode's peak, shape (E,)."""
    peaks = np.array([peak(instance) for instance in episodes(config, seeds)])
    shares: Floats = upper_bound(config, seeds) / peaks
    return shares


def peak(instance: Instance) -> float:
    """Utility if the largest model answered everything in time."""
    largest = instance.cluster.rules[0]["peak_model"]
    return float(instance.utility[instance.kind, largest].sum())


def episodes(config: EnvConfig, seeds: NDArray[np.uint64]) -> list[Instance]:
    """The requests of the episode of each seed."""
    simulation = Simulation(config, len(seeds), logs_completions=False)
    simulation.begin(seeds)
    return [_episode(simulation, env) for env in simulation.state.envs]


def _episode(simulation: Simulation, env: np.void) -> Instance:
    tape, window = simulation.tape, slice(env["first"], env["end"])
    since_start_s = (tape.arrival_s[window] - env["tape_start_s"]) * env["stretch"]
    arrival_s = np.rint(since_start_s / TICK_S) * TICK_S
    tasks = simulation.cluster.utility.shape[1]
    kind = tape.user_class[window].astype(np.int64) * tasks + tape.task[window]
    return Instance(simulation.cluster, arrival_s, kind)


def bound(instance: Instance, slots_per_deadline: int) -> float:
    """The upper bound of one episode on an even grid."""
    return maximum(instance, even_edges_s(instance, slots_per_deadline), LATENESS_STEPS)


def bound_by_events(instance: Instance, steps: int = LATENESS_STEPS) -> float:
    """The upper bound without rounding of time, for a few hundred requests."""
    within = [0.0] + [level.within_s for level in levels(instance, steps)]
    events = instance.arrival_s[:, None] + np.array(within)
    return maximum(instance, np.unique(events), steps)


def even_edges_s(instance: Instance, slots_per_deadline: int) -> Floats:
    """From the first arrival to the last expiry; a slot is a share of the shortest deadline."""
    deadlines_s = instance.terms["deadline_s"]
    deadline_s = float(deadlines_s[deadlines_s > 0].min(initial=math.inf))
    first_s, last_s = float(instance.arrival_s[0]), float(instance.arrival_s[-1])
    span_s = last_s - first_s + instance.expiry_s
    if not math.isfinite(span_s):
        return np.array([first_s, math.inf])
    slot_s = max(min(deadline_s, instance.expiry_s) / slots_per_deadline, span_s / MOST_SLOTS)
    if slot_s == 0.0:
        return np.array([first_s, math.inf])
    return first_s + slot_s * np.arange(math.ceil(span_s / slot_s) + 2, dtype=np.float64)
