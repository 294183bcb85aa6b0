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
   rest of it. With continuous batching the share is of steps (token_ways.py), and a way consists of
   two pieces of work, each with a window of its own.
2. The batch ran between r's arrival and its finish. So of the work of the answers that a pool
   gives, what is done by any time t is at most the work of requests that had arrived by t, and at
   least the work of answers due by t; and a pool of G GPUs does at most G (t - s) from s to t.
   These are the rows `backlog`, `advance` and the ceiling on work, slot by slot. Slots round
   arrivals down and deadlines up, which only adds room. Batches may be spread over time and GPUs,
   requests answered in part: more freedom again.
3. An answer that finishes within the deadline, or up to lateness l_k but after l_(k-1), earns at
   most utility x decay(l_(k-1)) and was due at l_k: one level per step of lateness. Each deadline
   that classes of users have brings levels of its own.
4. Machines that fail. What is lost or sent again earns nothing by the try that failed, which is
   charged nothing; an answer counts once, with its first arrival. Its batch, or with continuous
   batching all of its steps, ran on one GPU within one run of time between two outages (warm-up
   included), which no router changes and a clairvoyant knows. So in place of G (t - s) a pool does
   at most what its GPUs are up from s to t, in runs that are not shorter than its quickest answer;
   and where no run of the pool meets a request's window for as long as a batch takes, or its answer
   alone, it is not answered so (up_times.py). What ends as its machine fails is done.
5. `reject_utility` u. A request earns that, or nothing, unless it is answered. With v = max(u, 0)
   the utility of a run is at most v for each request, and for those whose answer is worth more
   than v the difference. So a way is worth what it earns above v, and is none if that is nothing;
   v times the number of requests is added. No router has to reject: u < 0 changes nothing.
6. `defer`. A request that was put off joins a batch later, with the arrival and the deadline that
   it had: such a run is one of those above. Once too often, it is rejected for 0.

The maximum itself is certified by weak duality (program.certified_maximum), so that the
solver's tolerances cannot make it too low. The bound holds for any dispatcher, for (GPU, model)
actions, whatever the rules on shedding, batching and queue capacity, and however late or wrong
signals and notices are: nothing above asks what routers know. Pools have times, limits and outages
of their own, so that kinds of GPUs may be mixed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.bounds.batch_ways import BatchWays
from benchmarks.bounds.instance import Floats, Instance
from benchmarks.bounds.token_ways import TokenWays
from benchmarks.bounds.up_times import up_times
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.service.continuous.model import ContinuousBatching
from llmroute_env.dynamics.service.models import StaticBatching
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import TICK_S, require


class Ways(Protocol):
    """The ways to answer the requests of an episode, by a service model."""

    def maximum(self, edges_s: Floats) -> float:
        """The bound on a grid of time that begins by the first arrival."""
        ...

    def even_edges_s(self, slots_per_deadline: int) -> Floats:
        """Edges of a grid of equal slots."""
        ...

    def event_edges_s(self) -> Floats:
        """Edges of the grid that rounds nothing."""
        ...


WAYS: dict[type, Callable[[Instance, int], Ways]] = {
    StaticBatching: BatchWays,
    ContinuousBatching: TokenWays,
}
"""By service model."""

SLOTS_PER_DEADLINE = {"hard": 20, "soft": 10}
LATENESS_STEPS = 4
"""Of soft deadlines: twice as many, on twice as many slots, take up to a minute and a half and
tighten the bound by 0.03 to 0.06 % of the peak."""


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
    found = [episode_of(simulation, env) for env in simulation.state.envs]
    return [
        replace(own, up=up_times(config, int(seed), own.last_due_s))
        for own, seed in zip(found, seeds, strict=True)
    ]


def episode_of(simulation: Simulation, env: np.void) -> Instance:
    """The requests of the episode that an env is in, as if nothing failed."""
    tape, window = simulation.tape, slice(env["first"], env["end"])
    since_start_s = (tape.arrival_s[window] - env["tape_start_s"]) * env["stretch"]
    arrival_s = np.rint(since_start_s / TICK_S) * TICK_S
    tasks = simulation.cluster.utility.shape[1]
    kind = tape.user_class[window].astype(np.int64) * tasks + tape.task[window]
    prompt, output = (t[window].astype(np.int64) for t in (tape.prompt_tokens, tape.output_tokens))
    return Instance(simulation.cluster, arrival_s, kind, prompt, output)


def ways_of(instance: Instance, steps: int = LATENESS_STEPS) -> Ways:
    """The ways that the instance's service model has."""
    service = type(instance.cluster.service)
    accepted = "a service model whose bound is known"
    require(service in WAYS, "service", service.__name__, accepted)
    return WAYS[service](instance, steps)


def bound(instance: Instance, slots_per_deadline: int) -> float:
    """The upper bound of one episode on an even grid."""
    ways = ways_of(instance)
    return ways.maximum(ways.even_edges_s(slots_per_deadline))


def bound_by_events(instance: Instance, steps: int = LATENESS_STEPS) -> float:
    """The upper bound without rounding of time, for a few hundred requests."""
    ways = ways_of(instance, steps)
    return ways.maximum(ways.event_edges_s())
