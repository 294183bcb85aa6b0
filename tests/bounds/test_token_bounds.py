"""The bound of continuous batching: against hand-worked ones, everything tried, every heuristic."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from agents.heuristics import table
from agents.settings.checks import USUAL
from benchmarks.bounds.engine_looseness import DUE, engine_looseness
from benchmarks.bounds.exact import best_routing
from benchmarks.bounds.step_floors import engine_of
from benchmarks.bounds.token_times import most_together
from benchmarks.bounds.upper import bound, bound_by_events, bound_of_peak, episodes, upper_bound
from benchmarks.evaluation.runner import episode_seeds, evaluate
from llmroute_env import configure
from llmroute_env.engine_scenarios import ENGINE_SCENARIOS
from llmroute_env.engine_specs import Engine, Surface
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import Deadline
from tests.reference.continuous_adapter import config_of
from tests.reference.continuous_cases import random_case
from tests.reference.continuous_times import Times

from .selection import mostly_verified
from .small_engines import alike, engine_config, played_at_random, tiny_case, tiny_config

ROUNDING = 1e-9
INSTANCE_OF = np.zeros(1, np.uint64)


def bound_of(config) -> float:
    (instance,) = episodes(config, INSTANCE_OF)
    return bound_by_events(instance)


def test_one_at_a_time_is_bounded_by_time():
    # Windows [0, 1] and [0.5, 1.5] leave 1.5 s for two answers of one step of 1 s each.
    requests = [(0.0, 3, 1), (0.5, 3, 1)]
    config = engine_config(requests, Deadline(1.0), alike(1.0), seqs=1)
    assert bound_of(config) == pytest.approx(1.5 * 0.5)
    assert best_routing(config, 0) == 0.5


def test_steps_are_shared_by_as_many_as_run():
    # Four answers of four steps by 4 s: one instance that runs two at once has time for two.
    requests = [(0.0, 3, 4)] * 4
    config = engine_config(requests, Deadline(4.0), alike(1.0), seqs=2)
    assert bound_of(config) == pytest.approx(2 * 0.5)
    config = engine_config(requests, Deadline(4.0), alike(1.0), seqs=4)
    assert bound_of(config) == pytest.approx(4 * 0.5)
    # The first is served alone; whoever comes meanwhile waits for the end of its step.
    assert best_routing(config, 0) == 0.5


@pytest.mark.parametrize(
    ("deadline", "earns"),
    [
        (Deadline(3.0), True),
        (Deadline(2.9), False),
        (Deadline(math.inf, ttft_s=1.0), True),
        (Deadline(math.inf, ttft_s=0.9), False),
        (Deadline(math.inf, tpot_s=1.0), True),
        (Deadline(math.inf, tpot_s=0.9), False),
        (Deadline(math.inf, patience_s=3.0), True),
        (Deadline(math.inf, patience_s=2.9), False),
    ],
)
def test_an_answer_takes_its_steps_one_after_the_other(deadline, earns):
    config = engine_config([(0.0, 3, 3)], deadline, alike(1.0))
    assert best_routing(config, 0) == pytest.approx(0.5 * earns)
    assert bound_of(config) == pytest.approx(0.5 * earns)


def test_a_soft_deadline_is_worth_what_its_earliest_lateness_is():
    # Late by 1 of 2; of four levels, up to 1 is the second, which earns what 0.5 does.
    config = engine_config([(0.0, 3, 3)], Deadline(2.0, "linear", 2.0), alike(1.0))
    assert best_routing(config, 0) == pytest.approx(0.25)
    assert bound_of(config) == pytest.approx(0.5 * 0.75)


def test_whoever_is_preempted_may_save_a_step():
    # 0.1 s a step and 1 s an answer. The first prompt takes a step alone, as it comes first; the
    # second one is computed in its second step. In the third both want two of three blocks: the
    # second is preempted, and then computes 17 tokens anew in 0.1 s instead of answering in 1 s.
    each = Surface((1, 2), (1,), ((1.0,), (2.0,)))
    requests = [(0.0, 15, 3), (0.0, 16, 2)]
    config = engine_config(
        requests,
        Deadline(2.5),
        replace(alike(0.1), decode=each),
        engine=Engine(8, 64, kv_blocks={"only": 3}),
    )
    simulation, best = played_at_random(config, 0, 1)
    assert simulation.state.envs["now_s"][0] == pytest.approx(0.1 + 1.1 + 1.1 + 0.1)
    assert best == pytest.approx(2 * 0.5)
    assert bound_of(config) == pytest.approx(2 * 0.5)


def test_a_long_prompt_takes_several_steps():
    # 64 tokens a step: of 129 the first token is there after three of them.
    for ttft_s, earns in ((3.0, True), (2.9, False)):
        config = engine_config([(0.0, 129, 1)], Deadline(math.inf, ttft_s=ttft_s), alike(1.0))
        assert best_routing(config, 0) == pytest.approx(0.5 * earns)
        assert bound_of(config) == pytest.approx(0.5 * earns)


def test_what_is_too_long_earns_nothing():
    config = engine_config([(0.0, 64 * 16, 1)], Deadline(math.inf), alike(1.0))
    assert best_routing(config, 0) == bound_of(config) == 0.0


@cache
def optima(seed: int) -> tuple[float, float, float]:
    """What the best routing of a tiny case earns, and its bounds by events and on an even grid."""
    config = tiny_config(seed)
    (instance,) = episodes(config, INSTANCE_OF)
    return best_routing(config, 0), bound_by_events(instance), bound(instance, 5)


TIGHT = (2, 7, 10, 12, 14, 20, 22, 31, 34, 38, 42, 48, 53, 54)
"""Tiny cases whose bound is reached: any that is too low is noticed."""
LOOSE = (11, 13, 30, 45)


@pytest.mark.parametrize("seed", mostly_verified(60, TIGHT + LOOSE))
def test_order_of_optima_on_tiny_cases(seed):
    best, events, even = optima(seed)
    assert best <= events * (1 + ROUNDING)
    assert events <= even * (1 + ROUNDING) + ROUNDING


@pytest.mark.verify
@pytest.mark.parametrize("seed", range(1000, 2000))
def test_order_of_optima_on_many_tiny_cases(seed):
    test_order_of_optima_on_tiny_cases(seed)


def test_tiny_cases_are_of_every_kind():
    users = [user for seed in TIGHT for user in tiny_case(seed).users]
    for name in ("deadline", "ttft", "tpot", "patience"):
        assert {getattr(user, name) < math.inf for user in users} == {True, False}
    assert {user.grace > 0 for user in users} == {True, False}
    for best, bounded, _ in map(optima, TIGHT):
        assert best > 0
        assert bounded <= best * (1 + ROUNDING)
    assert any(even > bounded > best for best, bounded, even in map(optima, LOOSE))


REACHED = (1, 2, 6, 10, 13, 16, 18, 19, 22, 25, 29, 31)
"""Cases in which the best of 32 random routers earns what the bound is."""


@pytest.mark.parametrize("seed", mostly_verified(40, REACHED))
def test_no_random_router_exceeds_the_bound(seed):
    config = config_of(random_case(seed))
    _, best = played_at_random(config, seed, envs=32)
    (instance,) = episodes(config, INSTANCE_OF)
    assert best <= bound_by_events(instance) * (1 + ROUNDING)


@pytest.mark.parametrize("seed", range(24))
def test_floors_are_below_every_step(seed):
    case, rng = random_case(seed), np.random.default_rng(seed)
    tables = Simulation(config_of(case), logs_completions=False).cluster.service
    for number, pool in enumerate(case.pools):
        engine, times = engine_of(tables, number), Times(pool.times)
        floors = list(engine.floors(*np.outer(engine.most_s, (0.0, 0.4, 1.0))))
        for _ in range(200):
            answers = int(rng.integers(0, engine.running + 1))
            low, high = 2 * answers, min(engine.context, answers * engine.length)
            context = int(rng.integers(low, max(high, low) + 1)) if answers else 0
            room = engine.most_tokens - answers
            prompt = int(rng.integers(min(answers == 0, room), room + 1))
            if answers + prompt == 0:
                continue
            chunks = [(prompt, 0)] if prompt else []
            step_s = times.step(answers, context, chunks, answers) * 2.0**-40
            for floor in floors:
                floor_s = floor.context_s * context + floor.prompt_s * prompt
                assert floor.least_s[answers] + floor_s <= step_s * (1 + ROUNDING)


def test_the_most_that_overlap():
    begin_s, end_s = np.array([0.0, 1.0, 1.0, 5.0, 6.0]), np.array([2.0, 1.0, 6.0, 4.0, 9.0])
    assert most_together(begin_s, end_s).tolist() == [3, 3, 3, 1, 2]


QUICK = ("chat-and-code", "burst", "long-context", "kv-pressure")


@pytest.mark.parametrize("name", mostly_verified(ENGINE_SCENARIOS, QUICK))
def test_no_heuristic_exceeds_the_bound(name):
    config = configure(name, window_s=8.0, split="validation")
    bounds = upper_bound(config, episode_seeds(3, 2))
    names = (*config.model_names, *USUAL["model"], *USUAL["gpu-model"], "least-requests")
    agents = [(name, None) for name in names] + [("largest-feasible", 0.65)]
    best = np.zeros(2)
    for agent in agents:
        utility = evaluate(table.make(agent[0], config, agent[1]), config, 2, 3).values("utility")
        assert (utility <= bounds * (1 + ROUNDING)).all(), agent
        best = np.maximum(best, utility)
    assert best.sum() > 0.5 * bounds.sum()


def test_what_is_too_much_is_known_to_be():
    config = configure("chat", load=60.0, window_s=3.0, split="validation")
    assert bound_of_peak(config, episode_seeds(3, 1))[0] < 0.7


def test_an_easy_episode_is_no_more_than_its_best_models_earn():
    config = configure("chat", load=0.05, window_s=60.0, split="validation")
    run = evaluate(table.make("qwen2.5-72b", config), config, 2, 3)
    bounds = upper_bound(config, episode_seeds(3, 2))
    assert run.values("utility") == pytest.approx(bounds)


def test_looseness_grows_from_none():
    rows = engine_looseness(np.random.default_rng(3), (0.1, 8.0), instances=2, requests=4)
    assert [row.due for row in rows] == [due for due in DUE for _ in range(2)]
    for row in rows:
        # Who may turn requests away can do what the others can.
        assert 1 - ROUNDING <= row.free_bound <= row.bound <= row.worst_bound < 2.0
    idle, busy = rows[0], rows[1]
    assert idle.bound == pytest.approx(1.0)
    assert idle.optimum > busy.optimum


def test_a_bound_does_not_depend_on_the_other_episodes():
    config, seeds = configure("code", window_s=4.0), episode_seeds(0, 3)
    assert upper_bound(config, seeds)[1:].tolist() == upper_bound(config, seeds[1:]).tolist()
