"""Where machines fail no request is lost from the books, and nothing else is shifted."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from agents.compiled.making import largest_feasible
from agents.compiled.rollouts import Trial, try_actions
from llmroute_env.dynamics.state import COMES_BACK, LOST, OUTCOMES, RETRIED
from llmroute_env.failure_specs import ExponentialTimes
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import Defer
from tests.env.failing_episodes import CHAT, OVERLOAD, failing, play, some
from tests.scenario_windows import EVERY, WITH_TOKENS, short_workload

TRAILS = {
    "fail-fast": {},
    "time-out": {"detection": "time-out", "timeout_s": 0.15, "tries": 2},
    "no retry": {"tries": 1},
    "of two": {"gpus_per_machine": 2, "warm_up_s": 0.1, "notice_s": 0.2},
}


def slow(config):
    """Machines that live long enough for answers of seconds."""
    times = ExponentialTimes(8.0), ExponentialTimes(3.0)
    return replace(config, failures=replace(config.failures, up=times[0], down=times[1]))


@pytest.mark.parametrize("trail", TRAILS)
@pytest.mark.parametrize("config", [OVERLOAD, CHAT], ids=["static", "continuous"])
def test_nothing_is_lost_from_the_books_and_nothing_is_served_twice(config, trail):
    if trail == "of two":
        # Machines of two GPUs need pools of them.
        pools = tuple(replace(pool, gpus=2) for pool in config.pools)
        config = replace(config, pools=pools)
    config = failing(config, **TRAILS[trail])
    config = replace(config, defer=Defer(0.1, 1), reject=True)
    config = slow(config) if config.service == "continuous" else config
    records, origins, simulation = play(config, [3, 4], each=check_books)
    for e in range(2):
        own, of = records[records["env"] == e], origins[records["env"] == e]
        env = simulation.state.envs[e]
        assert sorted(own["decision"]) == list(range(len(own)))
        ended = ~np.isin(own["outcome"], COMES_BACK)
        assert sorted(of["request"][ended]) == list(range(env["routed"]))
        assert env["routed"] == env["end"] - env["first"]
        told = Counter(OUTCOMES[outcome] for outcome in own["outcome"])
        assert {name: int(env[name]) for name in OUTCOMES} == {n: told[n] for n in OUTCOMES}
        assert env["failures"] > 0
        assert env["lost"] + env["retried"] > 0
        assert max(Counter(of["request"]).values()) <= config.most_decisions
        for outcome, most in ((RETRIED, config.failures.tries - 1), (LOST, 1)):
            of_one = Counter(of["request"][own["outcome"] == outcome])
            assert max(of_one.values(), default=0) <= most
        assert own["utility"].sum() == pytest.approx(env["utility"])
        failed = np.isin(own["outcome"], (RETRIED, LOST))
        assert not own["utility"][failed].any()
        assert simulation.summary(e)["lost"] == told["lost"]


@pytest.mark.parametrize("scenario", EVERY)
def test_in_every_scenario_each_request_comes_to_one_end_and_arrives_as_ever(scenario):
    window_s = 20.0 if scenario in WITH_TOKENS else 0.4
    config = configure(scenario, window_s=window_s, workload=short_workload(configure(scenario)))
    config = failing(config, "log-normal", tries=2)
    config = slow(config) if scenario in WITH_TOKENS else config
    found = []
    for failures in (config.failures, replace(config.failures, tries=1)):
        one = replace(config, failures=failures)
        records, origins, simulation = play(one, [3], each=check_books)
        assert simulation.state.envs["lost"][0] > 0
        ended = ~np.isin(records["outcome"], COMES_BACK)
        order = np.argsort(origins["request"][ended])
        assert (origins["request"][ended][order] == np.arange(ended.sum())).all()
        assert ended.sum() == simulation.state.envs["routed"][0]
        found.append(records[ended][order][["task", "user_class", "arrival_s"]])
        if scenario in WITH_TOKENS:
            tokens = simulation.tape.prompt_tokens[simulation.state.envs["first"][0] :]
            found[-1] = [*found[-1].tolist(), tokens[: ended.sum()].tolist()]
    np.testing.assert_equal(found[0], found[1])
    env = Simulation(replace(config, failures=None))
    env.begin(np.array([3], np.uint64))
    assert env.state.envs["rng"][0] == simulation.state.envs["rng"][0]


def check_books(simulation):
    """At every decision each request that has come is in one place; a GPU that is down has none."""
    s, every = simulation.state, np.arange(len(simulation.state.envs))
    env, fates = s.envs, s.fates[every, s.envs["request"]]
    pending_again = (fates["defers"] + fates["tries"] > 0) & ~env["over"]
    where = (*OUTCOMES[:5], "lost", "waiting", "running", "away")
    assert (sum(env[name] for name in where) + pending_again == env["routed"]).all()
    # What is, and not what is seen of it where signals are late.
    gpus, queues, models = (rows[: len(env)] for rows in (s.gpus, s.queues, s.models))
    down = gpus["is_up"] == 0
    for name in ("waiting", "running"):
        assert not gpus[name][down].any()
        assert (gpus[name].sum(axis=1) == env[name]).all()
        assert (queues[name].sum(axis=(1, 2)) == env[name]).all()
        assert (models[name].sum(axis=1) == env[name]).all()
    assert (np.isinf(gpus["finish_s"][down])).all()
    assert ((gpus["running"] > 0).sum(axis=1) == env["busy_gpus"]).all()


@pytest.mark.parametrize("config", [OVERLOAD, CHAT], ids=["static", "continuous"])
def test_failures_shift_neither_arrivals_nor_lengths_nor_windows(config):
    def requests(config):
        records, origins, simulation = play(config, [5, 6])
        keys = np.stack([records["env"], origins["request"]], axis=1)
        _, first = np.unique(keys, axis=0, return_index=True)
        seen = records[first][["env", "task", "user_class", "arrival_s"]]
        return seen, simulation.state.envs[["first", "end", "load", "rng"]]

    one = failing(config)
    other = failing(config, "log-normal", tries=1, gpus_per_machine=1)
    none = replace(config, failures=None, defer=Defer(0.1, 1))
    found = [requests(c) for c in (one, other, none)]
    for seen, window in found[1:]:
        np.testing.assert_array_equal(window, found[0][1])
        np.testing.assert_array_equal(seen, found[0][0])


def test_snapshots_forks_and_many_envs_keep_machines():
    config = failing(OVERLOAD, notice_s=0.1)
    simulation = Simulation(config)
    simulation.begin(np.array([7], np.uint64))
    for _ in range(200):
        simulation.step(some(simulation))
    saved, runs = simulation.snapshot(), []
    for _ in range(2):
        rewards = []
        while not simulation.state.envs["over"].all():
            simulation.step(some(simulation))
            rewards.append(simulation.outputs.rewards[0])
        runs.append(rewards)
        simulation.restore(saved)
    assert runs[0] == runs[1]
    alone = play(config, [5])[0]
    beside = play(config, [4, 5])[0]
    beside = beside[beside["env"] == 1]
    beside["env"] = 0
    np.testing.assert_array_equal(np.sort(alone), np.sort(beside))


def test_what_is_tried_in_a_copy_leaves_nothing_behind_for_what_is_tried_next():
    config = failing(OVERLOAD, tries=2)
    simulation = Simulation(config, 2, logs_completions=False)
    simulation.begin(np.array([3, 4], np.uint64))
    trial = Trial(largest_feasible(config, 0.2), simulation.world, 1, 1.0)
    fresh, again = np.zeros(simulation.actions), np.zeros(simulation.actions)
    try_actions(trial, 0, fresh)
    # Another has retried and lost requests there that are still to come here.
    for _ in range(3):
        try_actions(trial, 0, again)
        np.testing.assert_array_equal(again, fresh)
    assert simulation.state.envs["retried"][1] > 0
