"""The bounds where machines fail, rejection is worth something, and requests are put off."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.heuristics import table
from agents.heuristics.models import HEURISTICS
from agents.settings.checks import USUAL
from benchmarks.bounds import upper
from benchmarks.bounds.exact import best_routing, best_schedule
from benchmarks.bounds.instance import Instance
from benchmarks.bounds.up_times import MOST_OUTAGES
from benchmarks.bounds.upper import bound, bound_by_events, episodes, upper_bound
from benchmarks.evaluation.runner import evaluate
from benchmarks.suites.cells import Bound
from benchmarks.suites.entries.entry import Entry
from llmroute_env.config import EnvConfig
from llmroute_env.failure_specs import ExponentialTimes, Failures, LognormalTimes, Outage
from llmroute_env.scenarios import configure
from llmroute_env.signal_specs import Signals
from llmroute_env.simulation.episodes import episode_seeds
from llmroute_env.simulation.outages import outages
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import Deadline, Defer, Pool
from tests.scenario_windows import short_workload

from .small_engines import alike, engine_config
from .small_instances import SEED, instance_of, make_config
from .small_worlds import engine_world, kinds, static_world

ROUNDING = 1e-9
ALONE = ((1, (0,), 1.0),)
FIRST = np.zeros(1, np.uint64)
FAILING = Failures(
    ExponentialTimes(6.0),
    LognormalTimes(1.5, 0.6),
)
MIXED = (Pool(2, gpu="a100-80gb"), Pool(1, gpu="h100-80gb"), Pool(2, gpu="l40s-48gb"))
NAMES = (*HEURISTICS, *USUAL["gpu-model"], "route-balance", "least-requests", "power-of-two")


def static(requests, deadline_s, down=(), **fields):
    """One GPU; batches of one take 1 s and earn 0.5."""
    failures = Failures(outages=tuple(Outage(0, *times) for times in down)) if down else None
    models = [([1.0], [0.5])]
    deadline = Deadline(deadline_s)
    fields = {"failures": failures, "deadline": deadline, **fields}
    return make_config([0.0] * requests, [0] * requests, models, ALONE, **fields)


def tokens(requests, deadline_s, down=(), **fields):
    """One instance that runs one at a time; an answer is one step of 1 s and earns 0.5."""
    failures = Failures(outages=tuple(Outage(0, *times) for times in down)) if down else None
    one = alike(1.0)
    asked, deadline = [(0.0, 3, 1)] * requests, Deadline(deadline_s)
    return engine_config(asked, deadline, one, seqs=1, failures=failures, **fields)


BOTH = pytest.mark.parametrize("service", [static, tokens])


def bound_of(config: EnvConfig, seed: int = 0) -> float:
    return bound_by_events(episodes(config, np.array([seed], np.uint64))[0])


@pytest.mark.verify
@BOTH
def test_nothing_is_done_while_a_machine_is_down(service):
    assert bound_of(service(2, 2.0)) == pytest.approx(2 * 0.5)
    # 1.5 of 2 s are left, in runs that are long enough.
    assert bound_of(service(2, 2.0, [(1.0, 1.5)])) == pytest.approx(1.5 * 0.5)
    assert best_routing(service(2, 2.0, [(1.0, 1.5)]), 0) == pytest.approx(0.5)


@pytest.mark.verify
@BOTH
def test_what_runs_into_an_outage_earns_nothing(service):
    # Up for half a second before, and for 0.9 s of the window after it.
    for deadline_s, earns in ((2.4, 0.0), (2.5, 0.5)):
        config = service(1, deadline_s, [(0.5, 1.5)])
        assert bound_of(config) == pytest.approx(earns)
        assert best_routing(replace(config, defer=Defer(1.5, 1)), 0) == pytest.approx(earns)


@BOTH
def test_runs_that_are_too_short_for_any_answer_are_of_no_use(service):
    down = [(1.0, 1.5), (2.0, 2.5), (3.0, 9.0)]
    assert bound_of(service(3, 4.0, down)) == pytest.approx(0.5)


@BOTH
def test_a_machine_that_warms_up_is_down(service):
    config = service(1, 2.5, [(0.5, 1.5)])
    config = replace(config, failures=replace(config.failures, warm_up_s=0.25))
    assert bound_of(config) == 0.0
    assert bound_of(replace(config, deadline=Deadline(2.75))) == pytest.approx(0.5)


@pytest.mark.verify
@BOTH
def test_what_ends_as_its_machine_fails_is_done(service):
    config = service(1, 4.0, [(1.0, math.inf)])
    assert bound_of(config) == pytest.approx(0.5)
    assert best_routing(config, 0) == pytest.approx(0.5)
    assert bound_of(service(1, 4.0, [(1.0 - 2.0**-20, math.inf)])) == 0.0


@pytest.mark.verify
@BOTH
@pytest.mark.parametrize(("worth", "total"), [(0.2, 0.5 + 0.2), (0.5, 1.0), (0.0, 0.5), (-1, 0.5)])
def test_whoever_is_turned_away_earns_what_that_is_worth(service, worth, total):
    config = service(2, 1.0, reject=True, reject_utility=worth)
    assert bound_of(config) == pytest.approx(total)
    assert best_routing(config, 0) == pytest.approx(total)
    # Not twice, and not beside an answer.
    assert bound_of(replace(config, deadline=Deadline(math.inf))) == pytest.approx(1.0)


@pytest.mark.verify
@BOTH
def test_where_nobody_can_answer_rejection_is_all_there_is(service):
    config = service(2, 4.0, [(0.0, math.inf)], reject=True, reject_utility=0.2)
    assert bound_of(config) == pytest.approx(2 * 0.2)
    assert best_routing(config, 0) == pytest.approx(2 * 0.2)


def test_machines_of_several_gpus_fail_together():
    models, pools = [([1.0], [0.5])], ((2, (0,), 1.0),)
    together = Failures(outages=(Outage(0, 0.5, 9.0),), gpus_per_machine=2)
    alone = replace(together, gpus_per_machine=1)
    for failures, total in ((together, 0.0), (alone, 2 * 0.5), (None, 4 * 0.5)):
        fields = {"failures": failures, "deadline": Deadline(2.0)}
        config = make_config([0.0] * 4, [0] * 4, models, pools, **fields)
        assert bound_of(config) == pytest.approx(total)


def test_only_the_pools_that_fail_lose_time():
    models, pools = [([1.0], [0.5])], ((1, (0,), 1.0), (2, (0,), 0.5))
    # Beside the GPU that is down: two slow ones; a quick and a slow one; two slow ones again.
    for failing, answers in (((0,), 2), ((1,), 3), ((), 2)):
        failures = Failures(outages=(Outage(0, 0.0, 9.0),), pools=failing)
        fields = {"failures": failures, "deadline": Deadline(2.0)}
        config = make_config([0.0] * 6, [0] * 6, models, pools, **fields)
        assert bound_of(config) == pytest.approx(answers * 0.5)


def test_a_machine_that_flaps_is_up_for_good_at_last():
    failures = Failures(ExponentialTimes(2.0**-10), ExponentialTimes(2.0**-10))
    config = static(1, 1e6, reject=True, reject_utility=0.2)
    flapping = replace(config, failures=failures)
    (runs,) = episodes(flapping, FIRST)[0].up.runs[0]
    assert len(runs) == pytest.approx(MOST_OUTAGES, rel=0.1)
    assert runs[-1, 1] == math.inf
    assert bound_of(flapping) == pytest.approx(0.5)


@pytest.mark.verify
@pytest.mark.parametrize("seed", range(100))
def test_order_of_optima_in_static_worlds(seed):
    config = static_world(seed)
    instance = instance_of(config)
    routing, schedule = best_routing(config, SEED), best_schedule(instance)
    events, even = bound_by_events(instance), bound(instance, 10)
    assert routing <= schedule + ROUNDING
    assert schedule <= events + ROUNDING
    assert events <= even + ROUNDING


@pytest.mark.verify
@pytest.mark.parametrize("seed", range(100))
def test_order_of_optima_in_engine_worlds(seed):
    config = engine_world(seed)
    (instance,) = episodes(config, FIRST)
    best, events = best_routing(config, 0), bound_by_events(instance)
    assert best <= events + ROUNDING
    assert events <= bound(instance, 5) * (1 + ROUNDING) + ROUNDING


@pytest.mark.verify
@pytest.mark.parametrize("seed", range(10_000, 11_000))
def test_order_of_optima_in_many_worlds(seed):
    test_order_of_optima_in_static_worlds(seed)
    test_order_of_optima_in_engine_worlds(seed)


@pytest.mark.parametrize(
    "world", [static_world, pytest.param(engine_world, marks=pytest.mark.verify)]
)
def test_worlds_are_of_every_kind(world):
    found = kinds([world(seed) for seed in range(100)])
    if world is engine_world:
        assert found.pop("tables by GPU") == 0
    assert len(found) >= 12
    assert min(found.values()) >= 3, found


WRONG = {
    "rejection is worth nothing": (Instance, "given_up", property(lambda instance: 0.0)),
    "machines are down for longer": (upper, "up_times", None),
}


def down_for_longer(config, seed, until_s):
    """As up_times, but whoever is down is so for LONGER as long."""
    found = TRUE_UP_TIMES(config, seed, until_s)
    late = {pool: tuple(map(later, machines)) for pool, machines in found.runs.items()}
    return replace(found, runs=late)


def later(runs):
    back = runs.copy()
    down_s = np.append(runs[0, 0], runs[1:, 0] - runs[:-1, 1])
    back[:, 0] += (LONGER - 1) * down_s
    return back[back[:, 1] > back[:, 0]]


TRUE_UP_TIMES, LONGER = upper.up_times, 2.0


@pytest.mark.verify
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("world", [static_world, engine_world])
def test_wrong_bounds_are_noticed(world, wrong, monkeypatch):
    place, name, value = WRONG[wrong]
    monkeypatch.setattr(place, name, value or down_for_longer)
    seed = {static_world: SEED, engine_world: 0}[world]
    exceeded = (
        best_routing(config, seed) > bound_of(config, seed) + 1e-6
        for config in map(world, range(100))
    )
    assert any(exceeded)


@BOTH
def test_a_moment_too_long_is_noticed(service, monkeypatch):
    config = service(1, 2.5, [(0.5, 1.5)])
    assert bound_of(config) == pytest.approx(0.5)
    monkeypatch.setitem(globals(), "LONGER", 1 + 2.0**-20)
    monkeypatch.setattr(upper, "up_times", down_for_longer)
    assert bound_of(config) == 0.0


REAL = {
    "failures": configure("unpredictable-1", failures=FAILING),
    "of two": configure(
        "soft", failures=replace(FAILING, gpus_per_machine=2, warm_up_s=0.5, notice_s=1.0)
    ),
    "rejection": configure(
        "unpredictable-1", failures=FAILING, reject=True, reject_utility=0.2, load=3.0
    ),
    "rejection alone": configure("admission", reject_utility=0.3),
    "rejection that costs": configure("admission", reject_utility=-0.2),
    "deferral": configure("unpredictable-2", failures=FAILING, defer=Defer(0.1, 3)),
    "late signals": configure("priority", failures=FAILING, signals=Signals(0.5, 0.1, 0.1)),
    "mixed": configure("unpredictable-1", profile="opt-mixed", pools=MIXED, failures=FAILING),
    "mixed and up": configure("soft", profile="opt-mixed", pools=MIXED),
    # Up for longer than an answer takes: else who knows of no failures hardly earns anything.
    "engines": configure("chat-and-code", failures=replace(FAILING, up=ExponentialTimes(30.0))),
    "engines of one pool": configure(
        "burst", failures=replace(FAILING, pools=(0,)), reject=True, reject_utility=0.4
    ),
}


QUICK = ("failures", "rejection that costs", "mixed", "engines of one pool")


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.verify) for name in REAL],
)
def test_no_heuristic_exceeds_the_bound(name):
    config = replace(REAL[name], split="validation", window_s=12.0 if "eng" in name else 1.5)
    config = replace(config, workload=short_workload(config))
    bounds = upper_bound(config, episode_seeds(3, 2))
    names = (*NAMES, *config.model_names, *(("admission",) if config.reject else ()))
    best = np.zeros(2)
    for agent in names:
        utility = evaluate(table.make(agent, config), config, 2, 3).values("utility")
        assert (utility <= bounds * (1 + ROUNDING)).all(), agent
        best = np.maximum(best, utility)
    assert best.sum() > 0.4 * bounds.sum()
    assert (bounds >= all_rejected(config)).all()


def all_rejected(config: EnvConfig):
    """What turning every request away earns in these episodes."""
    if not config.reject:
        return 0.0
    simulation = Simulation(config, 2)
    simulation.begin(episode_seeds(3, 2))
    reject = config.actions - 1 - (config.defer is not None)
    while not simulation.state.envs["over"].all():
        simulation.step(np.full(2, reject))
    return simulation.state.envs["utility"].copy()


@pytest.mark.parametrize("name", ["unpredictable-1", "soft", "chat-and-code"])
def test_what_never_happens_changes_no_bit(name):
    config = configure(name, split="validation", window_s=3.0)
    config = replace(config, workload=short_workload(config))
    seeds = episode_seeds(3, 1)
    usual = upper_bound(config, seeds).tolist()
    for never in (
        {"failures": Failures(outages=(Outage(0, 9e4, 9e5),))},
        {"reject": True, "reject_utility": -0.5},
        {"defer": Defer(0.1, 2)},
        {"signals": Signals(1.0, 0.5, 0.3, 0.1)},
    ):
        assert upper_bound(replace(config, **never), seeds).tolist() == usual


def test_a_suite_bounds_the_episodes_that_its_routers_meet():
    changes = ("failures", "reject", "reject_utility", "load", "defer")
    own = replace(REAL["rejection"], defer=Defer(0.2, 1))
    fields = {name: getattr(own, name) for name in changes} | {"window_s": 2.0}
    entry = Entry("failing", "stable", frozenset({"main"}), fields)
    cell = Bound(entry, 3, 5)
    found = json.loads(cell.run({}, Path())[cell.output])
    config, seeds = entry.config("test"), episode_seeds(5, 3)
    assert found["bound"] == upper_bound(config, seeds).tolist()
    assert upper_bound(config, seeds).tolist() != upper_bound(config, seeds + np.uint64(1)).tolist()
    run = evaluate(table.make("largest-feasible", config), config, 3, 5)
    assert (run.values("utility") <= found["bound"]).all()
    for requests, seconds in zip(run.values("requests"), found["by_second"], strict=True):
        assert sum(seconds) >= requests * own.reject_utility


def test_a_bound_is_of_the_outages_of_its_own_episode():
    config = replace(REAL["failures"], load=3.0, window_s=6.0)
    config = replace(config, workload=short_workload(config))
    seeds = episode_seeds(0, 3)
    found = upper_bound(config, seeds)
    assert (found < upper_bound(replace(config, failures=None), seeds)).all()
    for number, seed in enumerate(seeds):
        down = outages(config, int(seed), 30.0)
        rows = tuple(Outage(k, *times) for k, own in enumerate(down) for times in own)
        listed = replace(config, failures=Failures(outages=rows))
        assert upper_bound(listed, seeds[number : number + 1])[0] == found[number]
