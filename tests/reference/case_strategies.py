"""Random cases for differential tests: small clusters under bursts, with ties wherever possible.

Times are multiples of a unit that is itself a multiple of the tick. Latencies, gaps and deadlines
are small numbers of units, so that finishes meet arrivals and deadlines exactly, often. The cases
are those that the environment's configuration can express: all pools share a model's table and
limit but for their speed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from random import Random

from hypothesis import strategies as st

from .service_case import REJECT, Action, Case, PoolCase, UserCase

TICK_S = 2.0**-30
UNITS_S = (TICK_S, 12_345 * TICK_S, 2.0**-10, 2.0**-4)
# Far from zero float64 has no bits to spare: 2^21 s and a tick need 51 of its 53.
STARTS_S = (0.0, 0.0, 1000.5, 2.0**21)
# At a third of a tick, and at halves, rounding to ticks shows.
SPEEDS = (1.0, 1.0, 2.0, 0.5, 3.0)
DISPATCHERS = ("least-work", "shortest-queue", "round-robin")
DEADLINE_KINDS = ("hard", "linear", "exponential")
# Twice as often models, which the dispatcher sends on, as pairs, which pass it by.
RULES = list(
    product(DISPATCHERS, DEADLINE_KINDS, (True, False), (True, False), (False, False, True))
)
SIZES = (*range(2, 12), *(20, 40, 60, 80, 100) * 4)
SILENCE = 5000


def cases() -> st.SearchStrategy[Case]:
    """Anything that the service model admits, of up to a hundred requests.

    Hypothesis chooses the rules and the sizes, and shrinks them. The rest follows from a seed, one
    request after the other, so that with fewer requests a case is cut short, not another one. Left
    to hypothesis alone, most clusters would be too small and too idle to ever form a batch.
    """
    return st.builds(
        random_case,
        rules=st.sampled_from(RULES),
        models=st.sampled_from((1, 2, 2, 3, 5)),
        pools=st.sampled_from((1, 1, 2, 3)),
        requests=st.sampled_from(SIZES),
        seed=st.integers(0, 2**64 - 1),
    )


def random_case(
    rules: tuple[str, str, bool, bool, bool], models: int, pools: int, requests: int, seed: int
) -> Case:
    """A case of these sizes."""
    rng, task_rng, deadline_rng, arrival_rng, action_rng = (
        Random(f"{seed} {stream}") for stream in range(5)
    )
    dispatcher, kind, shed, aware, pairs = rules
    unit_s, tasks = rng.choice(UNITS_S), rng.randint(1, 3)
    cluster = random_cluster(rng, models, pools, unit_s)
    deadlines = deadline_choices(rng, cluster, unit_s)
    grace_s = rng.randint(1, rng.choice((10, 80))) * unit_s
    capacity = rng.choice((1, rng.randint(2, 5), 200, 200))
    user_rng = Random(f"{seed} users")
    classes = random_classes(user_rng, unit_s)
    return Case(
        pools=cluster,
        accuracy=tuple(
            tuple(rng.randint(0, 100) / 100 for _ in range(models)) for _ in range(tasks)
        ),
        arrivals_s=arrival_times(arrival_rng, cluster, unit_s, requests),
        tasks=tuple(task_rng.randrange(tasks) for _ in range(requests)),
        actions=with_rejections(
            Random(f"{seed} rejections"),
            random_actions(action_rng, cluster, models, requests, pairs),
        ),
        deadlines_s=tuple(deadline_rng.choice(deadlines) * unit_s for _ in range(requests)),
        deadline_kind=kind,
        grace_s=grace_s,
        queue_capacity=capacity,
        dispatcher=dispatcher,
        shed_expired=shed,
        deadline_aware_batching=aware,
        classes=classes,
        users=tuple(user_rng.randrange(len(classes)) for _ in range(requests)) if classes else (),
    )


def random_classes(rng: Random, unit_s: float) -> tuple[UserCase, ...]:
    """Mostly none; else two or three, with weights, decays and graces of their own."""
    return tuple(
        UserCase(
            weight=rng.choice((0.25, 1.0, 1.5, 5.0)),
            deadline_kind=rng.choice(DEADLINE_KINDS),
            grace_s=rng.randint(1, rng.choice((10, 80))) * unit_s,
        )
        for _ in range(rng.choice((0, 0, 0, 2, 3)))
    )


def random_cluster(rng: Random, models: int, pools: int, unit_s: float) -> tuple[PoolCase, ...]:
    """Up to eight GPUs, more often few than many."""
    tables = [random_table(rng, unit_s) for _ in range(models)]
    limits = [rng.choice((len(table), rng.randint(1, len(table)))) for table in tables]
    hosted = [set(rng.sample(range(models), rng.randint(1, models))) for _ in range(pools)]
    hosted[0] |= set(range(models)).difference(*hosted)
    sizes = [1] * pools
    for _ in range(rng.choice((0, 0, 0, 2, 8 - pools))):
        sizes[rng.randrange(pools)] += 1
    return tuple(
        PoolCase(
            gpus=size,
            latency_s={model: tables[model] for model in sorted(group)},
            batch_limit={model: limits[model] for model in sorted(group)},
            relative_speed=rng.choice(SPEEDS),
        )
        for size, group in zip(sizes, hosted, strict=True)
    )


def random_table(rng: Random, unit_s: float) -> tuple[float, ...]:
    """T(1), T(2), ...: never falling; growth from none to more than proportional."""
    table = [rng.choice((rng.randint(2, 12), rng.randint(10, 60)))]
    steepest = rng.choice((0, 4, 40))
    for _ in range(rng.choice((0, 1, 3, 5, 5))):
        table.append(table[-1] + rng.randint(0, steepest))
    return tuple(value * unit_s for value in table)


def random_batch(rng: Random, cluster: tuple[PoolCase, ...], unit_s: float) -> int:
    """How many units the largest batch of some model takes."""
    longest = [table[-1] for pool in cluster for table in pool.latency_s.values()]
    return round(rng.choice(longest) / unit_s)


def deadline_choices(rng: Random, cluster: tuple[PoolCase, ...], unit_s: float) -> list[float]:
    """One or two deadlines, in units, mostly about as long as a batch or two."""
    batch = random_batch(rng, cluster, unit_s)

    def some() -> float:
        spans = rng.randint(batch, 2 * batch), rng.randint(batch // 3, 4 * batch)
        return rng.choice((*spans, *spans, rng.randint(20, 150), rng.choice((0, math.inf))))

    first = some()
    shorter = 0.0 if math.isinf(first) else 2 * first // 5
    return rng.choice(([first], [first, some()], [first, shorter]))


def arrival_times(
    rng: Random, cluster: tuple[PoolCase, ...], unit_s: float, requests: int
) -> tuple[float, ...]:
    """Segments of equal gaps: simultaneous arrivals, bursts, a steady stream, silences."""
    start_s, now, times = rng.choice(STARTS_S), 0, list[float]()
    while len(times) < requests:
        # From many requests per batch to fewer than the GPUs could serve one by one.
        natural = random_batch(rng, cluster, unit_s) / rng.choice((0.5, 1, 2, 4, 8))
        gap = rng.choice((0, 1, round(natural), round(natural), SILENCE))
        for _ in range(rng.randint(1, 4 if gap == SILENCE else 25)):
            times.append(start_s + now * unit_s)
            now += gap
    return tuple(times[:requests])


def random_actions(
    rng: Random, cluster: tuple[PoolCase, ...], models: int, requests: int, pairs: bool
) -> tuple[Action, ...]:
    """Models, or (GPU, model) pairs of which some ask a GPU for a model that it does not host."""
    gpus = sum(pool.gpus for pool in cluster)
    # A favourite makes queues long enough to fill batches, also where GPUs and models are many.
    favourite = rng.randrange(gpus), rng.randrange(models)

    def pair() -> tuple[int, int]:
        gpu, model = rng.randrange(gpus), rng.randrange(models)
        return rng.choice((gpu, favourite[0])), rng.choice((model, favourite[1], favourite[1]))

    chosen = [pair() for _ in range(requests)]
    return tuple(chosen) if pairs else tuple(model for _, model in chosen)


def with_rejections(rng: Random, actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """Mostly the actions themselves; else a part of the requests is turned away."""
    share = rng.choice((0.0, 0.0, 0.0, 0.1, 0.6))
    return tuple(REJECT if rng.random() < share else action for action in actions)


def repeated(case: Case, times: int, pause_s: float) -> Case:
    """The same arrivals over and over, for long runs; `pause_s` separates the repetitions."""
    period_s = case.arrivals_s[-1] - case.arrivals_s[0] + pause_s
    starts_s = [k * period_s for k in range(times)]
    return replace(
        case,
        arrivals_s=tuple(start + t for start in starts_s for t in case.arrivals_s),
        tasks=case.tasks * times,
        actions=case.actions * times,
        deadlines_s=case.deadlines_s * times,
        users=case.users * times,
    )


def widened(case: Case, factor: int) -> Case:
    """So many times the GPUs, and so many simultaneous requests for each one."""
    return replace(
        case,
        pools=tuple(replace(pool, gpus=pool.gpus * factor) for pool in case.pools),
        arrivals_s=tuple(t for t in case.arrivals_s for _ in range(factor)),
        tasks=tuple(task for task in case.tasks for _ in range(factor)),
        actions=tuple(action for action in case.actions for _ in range(factor)),
        deadlines_s=tuple(d for d in case.deadlines_s for _ in range(factor)),
        users=tuple(user for user in case.users for _ in range(factor)),
    )
