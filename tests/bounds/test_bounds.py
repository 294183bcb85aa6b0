"""The bound against hand-worked programs, against everything tried, and against every heuristic."""

import dataclasses

import numpy as np
import pytest
from scipy import optimize

from agents.heuristics.models import HEURISTICS, make
from benchmarks.bounds.engine_looseness import engine_looseness
from benchmarks.bounds.exact import best_routing, best_schedule
from benchmarks.bounds.looseness import looseness
from benchmarks.bounds.shares import least_shares_s, near
from benchmarks.bounds.upper import bound, bound_by_events, episodes, upper_bound
from benchmarks.evaluation.runner import evaluate
from llmroute_env.scenarios import TESTING, configure
from llmroute_env.simulation.episodes import episode_seeds
from llmroute_env.specs import ConfigError, Deadline
from tests.scenario_windows import short_workload

from .selection import mostly_verified
from .small_instances import SEED, instance_of, make_config, random_config, with_classes

ONE_MODEL = [([1.0], [0.5])]
ALONE = ((1, (0,), 1.0),)
# What rounding in the sum of a few utilities can come to.
ROUNDING = 1e-9


def test_work_is_bounded_by_time():
    # Windows [0, 1] and [0.5, 1.5] leave 1.5 s for two answers of 1 s.
    config = make_config([0.0, 0.5], [0, 0], ONE_MODEL, ALONE, deadline=Deadline(1.0))
    assert bound_by_events(instance_of(config)) == pytest.approx(1.5 * 0.5)
    assert best_schedule(instance_of(config)) == best_routing(config, SEED) == 0.5


def test_work_waits_for_its_arrival():
    # Both are due in [0, 3.5]; the second cannot be begun during the silence before it.
    config = make_config([0.0, 2.5], [0, 0], [([2.0], [1.0])], ALONE, deadline=Deadline(2.0))
    assert bound_by_events(instance_of(config)) == pytest.approx(2.0)
    config = make_config([0.0, 1.0], [0, 0], [([2.0], [1.0])], ALONE, deadline=Deadline(2.0))
    assert bound_by_events(instance_of(config)) == pytest.approx(1.5)


def test_two_gpus_of_unequal_speed_add_their_time():
    # Three answers at once within 1 s: 1 s of work on the fast GPU, half as much on the slow.
    pools = ((1, (0,), 1.0), (1, (0,), 0.8))
    config = make_config([0.0] * 3, [0] * 3, ONE_MODEL, pools, deadline=Deadline(1.25))
    assert bound_by_events(instance_of(config)) == pytest.approx((1.25 + 1.0) * 0.5)


def test_soft_deadline_values_later_windows_less():
    # The second can only finish at lateness 1 of 2. In parts, it would earn 1 - x / 2 at x in 0..1.
    config = make_config(
        [0.0, 0.0], [0, 0], [([1.0], [1.0])], ALONE, deadline=Deadline(1.0, "linear", 2.0)
    )
    assert best_schedule(instance_of(config)) == 1.5
    coarse, fine = (bound_by_events(instance_of(config), steps) for steps in (2, 40))
    assert (coarse, fine) == pytest.approx((2.0, 1.75 + 0.5 / 40))


def test_share_counts_only_requests_that_can_share():
    arrival_s, batch_s = np.array([0.0, 0.04, 0.2, 5.0]), np.array([1.0, 1.2, 1.23])
    # A batch of two leaves 0.05 s between its arrivals, one of three 0.02 s.
    shares = least_shares_s(arrival_s, batch_s, np.full(4, 1.25), 1.25)
    assert shares.tolist() == [0.6, 0.6, 1.0, 1.0]
    assert least_shares_s(arrival_s, batch_s, np.full(4, 0.9), 1.25).tolist() == [np.inf] * 4
    # The second must not be part of a batch that takes so long; alone, nobody can.
    short_s = np.array([1.25, 1.1, 1.25, 0.9])
    assert least_shares_s(arrival_s, batch_s, short_s, 1.25).tolist() == [0.6, 1.0, 1.0, np.inf]
    assert near(arrival_s, 3, 0.2).tolist() == [True, True, True, False]


TELLING = (
    *(0, 2, 3, 6, 9, 14, 15, 19, 20, 21, 22, 24, 25, 27, 30, 32, 37, 38, 42, 43, 45, 49, 54, 57),
)
"""Instances in which the best routing is the best schedule, or that reaches the bound."""


@pytest.mark.parametrize("seed", mostly_verified(60, TELLING))
def test_order_of_optima_on_random_instances(seed):
    config = with_classes(random_config(seed, requests=4 if seed % 4 else 5), seed)
    instance = instance_of(config)
    routing, schedule = best_routing(config, SEED), best_schedule(instance)
    events, even = bound_by_events(instance), bound(instance, 10)
    assert routing <= schedule + ROUNDING
    assert schedule <= events + ROUNDING
    assert events <= even + ROUNDING


@pytest.mark.verify
@pytest.mark.parametrize("seed", range(10_000, 11_000))
def test_order_of_optima_on_many_instances(seed):
    test_order_of_optima_on_random_instances(seed)


@pytest.mark.parametrize("seed", range(8))
def test_a_careless_solver_cannot_lower_the_bound(seed, monkeypatch):
    instance = instance_of(random_config(seed))
    honest, rng, solve = bound_by_events(instance), np.random.default_rng(seed), optimize.linprog

    def careless(*arguments, **settings):
        found = solve(*arguments, **settings)
        for rows in (found.ineqlin, found.eqlin):
            rows.marginals = rows.marginals + rng.normal(scale=0.01, size=len(rows.marginals))
        return found

    monkeypatch.setattr(optimize, "linprog", careless)
    assert bound_by_events(instance) > honest - ROUNDING


def test_an_idle_cluster_reaches_the_bound():
    config = make_config([0.0, 9.0, 18.0], [0, 1, 0], [([1.0], [0.5, 0.9]), ([2.0], [0.75, 0.8])])
    config = dataclasses.replace(config, deadline=Deadline(4.0))
    expected = 0.75 + 0.9 + 0.75
    assert best_routing(config, SEED) == bound_by_events(instance_of(config)) == expected


def test_every_action_sequence_is_tried():
    # Only 1, 0, 1 earns all: the small model in between, so that the third is in time.
    models = [([1.0], [0.3]), ([2.0], [0.8])]
    config = make_config([0.0, 0.0, 2.5], [0] * 3, models, deadline=Deadline(3.0))
    assert best_routing(config, SEED) == pytest.approx(0.8 + 0.3 + 0.8)


def test_too_many_sequences_are_refused():
    config = make_config(np.arange(40.0), [0] * 40, [([1.0], [1.0])] * 2)
    with pytest.raises(ConfigError, match="requests: got 40"):
        best_routing(config, SEED)


@pytest.mark.parametrize(
    ("name", "load"), [*((name, 2.5) for name in TESTING), ("stable", 0.5), ("stable", 9.0)]
)
def test_no_heuristic_exceeds_the_bound(name, load):
    workload = short_workload(configure(name))
    config = configure(name, load=load, window_s=1.0, split="validation", workload=workload)
    bounds = upper_bound(config, episode_seeds(3, 2))
    for agent in (*HEURISTICS, *config.model_names):
        utility = evaluate(make(agent, config), config, 2, 3).values("utility")
        assert (utility <= bounds * (1 + ROUNDING)).all(), agent


def test_an_easy_episode_leaves_little_regret():
    config = configure("stable", load=0.5, window_s=4.0)
    run = evaluate(make("largest-feasible", config, 0.0), config, 2, 3)
    bounds = upper_bound(config, episode_seeds(3, 2))
    missed = (bounds - run.values("utility")) / run.values("peak_utility")
    assert (missed >= -ROUNDING).all()
    assert (missed < 0.01).all()


def test_episodes_are_those_that_the_runner_runs():
    config = configure("overload", window_s=1.0)
    run = evaluate(make("opt-125m", config), config, 2, 3)
    for instance, episode in zip(episodes(config, episode_seeds(3, 2)), run.episodes, strict=True):
        np.testing.assert_array_equal(instance.arrival_s, episode.completions["arrival_s"])
        np.testing.assert_array_equal(instance.kind, episode.completions["task"])


def test_a_bound_does_not_depend_on_the_other_episodes():
    config, seeds = configure("stable", load=2.5, window_s=2.0), episode_seeds(0, 3)
    assert upper_bound(config, seeds)[1:].tolist() == upper_bound(config, seeds[1:]).tolist()


def test_finer_slots_are_tighter():
    config = configure("stable", load=2.5, window_s=2.0)
    coarse, fine = (upper_bound(config, episode_seeds(0, 1), slots)[0] for slots in (4, 32))
    (exact,) = episodes(config, episode_seeds(0, 1))
    assert bound_by_events(exact) <= fine + ROUNDING
    assert fine < coarse


@pytest.mark.parametrize(("deadline_s", "expected"), [(0.0, 0.0), (np.inf, 0.9 + 0.8)])
def test_deadlines_without_end_or_without_time(deadline_s, expected):
    models = [([1.0], [0.5, 0.8]), ([2.0], [0.9, 0.7])]
    config = make_config([0.0, 0.0], [0, 1], models, deadline=Deadline(deadline_s))
    assert bound(instance_of(config), 10) == pytest.approx(expected)
    assert bound_by_events(instance_of(config)) == pytest.approx(expected)


def test_looseness_grows_from_none_and_stays_small():
    idle, busy = looseness(np.random.default_rng(0), (0.1, 8.0), instances=2, requests=6)
    assert idle.bound == idle.free_bound == pytest.approx(1.0)
    assert 1.0 <= busy.bound <= busy.worst_bound < 1.2
    assert busy.optimum < idle.optimum == 1.0


def test_nothing_is_measured_of_no_or_too_small_instances():
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="instances: got 0; accepted: an integer > 0"):
        looseness(rng, (1.0,), instances=0)
    with pytest.raises(ConfigError, match="requests: got 5; accepted: an integer > 5"):
        looseness(rng, (1.0,), instances=1, requests=5)
    with pytest.raises(ConfigError, match="instances: got 0"):
        engine_looseness(rng, (1.0,), instances=0)
    with pytest.raises(ConfigError, match="requests: got 0"):
        engine_looseness(rng, (1.0,), instances=1, requests=0)
