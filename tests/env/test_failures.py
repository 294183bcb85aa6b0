"""Machines that fail: what is drawn, what happens to requests, and what a router knows of it."""

from collections import Counter
from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from agents.compiled.policies import largest_feasible
from agents.compiled.rollouts import Trial, try_actions
from llmroute_env.dynamics.features import FEATURE_NAMES
from llmroute_env.dynamics.state import COMES_BACK, LOST, OUTCOMES, RETRIED
from llmroute_env.failure_specs import (
    ExponentialTimes,
    Failures,
    LognormalTimes,
    Outage,
    ReplayedTimes,
)
from llmroute_env.scenarios import SCENARIOS, configure
from llmroute_env.signal_specs import Signals
from llmroute_env.simulation.outages import outages
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import ConfigError, Defer, Pool

LISTED = ReplayedTimes(tuple(0.25 * (1 + k % 7) for k in range(20)))
RECIPES = {
    "exponential": (ExponentialTimes(0.6), ExponentialTimes(0.3)),
    "log-normal": (LognormalTimes(0.4, 0.8), LognormalTimes(0.2, 1.2)),
    "replayed": (LISTED, ReplayedTimes((0.1, 0.2, 0.4, 0.1, 0.3))),
    "mixed": (ExponentialTimes(0.8), ReplayedTimes((0.1, 0.2, 0.4, 0.1, 0.3))),
}
TRAILS = {
    "fail-fast": {},
    "time-out": {"detection": "time-out", "timeout_s": 0.15, "tries": 2},
    "no retry": {"tries": 1},
    "of two": {"gpus_per_machine": 2, "warm_up_s": 0.1, "notice_s": 0.2},
}
OVERLOAD = configure("overload", window_s=3.0)
CHAT = configure("chat", window_s=20.0)


def failing(config, recipe="exponential", **more):
    return replace(config, failures=Failures(*RECIPES[recipe], **more))


def some(simulation):
    """Any action, the same for the same decision."""
    decisions = simulation.state.envs["decision"]
    return (decisions * 2654435761 >> 7) % simulation.actions


def play(config, seeds, choose=some, each=lambda simulation: None):
    """Completions and origins of whole episodes, and the simulation at their end."""
    simulation = Simulation(config, len(seeds))
    simulation.begin(np.array(seeds, np.uint64))
    found = []
    while not simulation.state.envs["over"].all():
        each(simulation)
        simulation.step(choose(simulation))
        found.append((simulation.completions.copy(), simulation.completion_origins.copy()))
    records, origins = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return records, origins, simulation


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


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_in_every_scenario_each_request_comes_to_one_end_and_arrives_as_ever(scenario):
    config = configure(scenario)
    window_s = min(config.window_s, 20.0 if config.service == "continuous" else 1.0)
    config = failing(replace(config, window_s=window_s), "log-normal", tries=2)
    config = slow(config) if config.service == "continuous" else config
    found = []
    for failures in (config.failures, replace(config.failures, tries=1)):
        one = replace(config, failures=failures)
        records, origins, simulation = play(one, [3], each=check_books)
        ended = ~np.isin(records["outcome"], COMES_BACK)
        order = np.argsort(origins["request"][ended])
        assert (origins["request"][ended][order] == np.arange(ended.sum())).all()
        assert ended.sum() == simulation.state.envs["routed"][0]
        found.append(records[ended][order][["task", "user_class", "arrival_s"]])
        if config.service == "continuous":
            tokens = simulation.tape.prompt_tokens[simulation.state.envs["first"][0] :]
            found[-1] = [*found[-1].tolist(), tokens[: ended.sum()].tolist()]
    np.testing.assert_equal(found[0], found[1])
    env = Simulation(replace(config, failures=None))
    env.begin(np.array([3], np.uint64))
    assert env.state.envs["rng"][0] == simulation.state.envs["rng"][0]


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


def check_books(simulation):
    """At every decision each request that has come is in one place; a GPU that is down has none."""
    s, every = simulation.state, np.arange(len(simulation.state.envs))
    env, fates = s.envs, s.fates[every, s.envs["request"]]
    pending_again = (fates["defers"] + fates["tries"] > 0) & ~env["over"]
    where = (*OUTCOMES[:5], "lost", "waiting", "running", "away")
    assert (sum(env[name] for name in where) + pending_again == env["routed"]).all()
    down = s.gpus["is_up"] == 0
    for name in ("waiting", "running"):
        assert not s.gpus[name][down].any()
        assert (s.gpus[name].sum(axis=1) == env[name]).all()
        assert (s.queues[name].sum(axis=(1, 2)) == env[name]).all()
        assert (s.models[name].sum(axis=1) == env[name]).all()
    assert (np.isinf(s.gpus["finish_s"][down])).all()
    assert ((s.gpus["running"] > 0).sum(axis=1) == env["busy_gpus"]).all()


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


def transitions(config, seed):
    """When each GPU was seen to be down or up, by decision, in the simulator."""
    rows = []

    def note(simulation):
        env = simulation.state.envs[0]
        rows.append((float(env["now_s"]), simulation.state.gpus[0]["is_up"] != 0))

    play(config, [seed], each=note)
    return rows


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("more", [{}, {"warm_up_s": 0.15}, {"gpus_per_machine": 2}], ids=str)
def test_the_schedule_in_advance_is_what_happens(recipe, more):
    config = failing(OVERLOAD, recipe, **more)
    machines = config.failures.machines([pool.gpus for pool in config.pools])
    for seed in (1, 2**63 + 5):
        listed = outages(config, seed, 10.0)
        assert sum(map(len, listed)) > 4
        for now_s, up in transitions(config, seed):
            for machine, gpus in zip(listed, machines, strict=True):
                down = any(from_s <= now_s < until_s for from_s, until_s in machine)
                assert (up[list(gpus)] != down).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_outages_that_are_listed_are_the_same_as_those_drawn(recipe):
    config = failing(OVERLOAD, recipe, warm_up_s=0.0625, tries=2)
    drawn, _, simulation = play(config, [7])
    listed = tuple(
        Outage(k, from_s, until_s - 0.0625 if until_s > 0.0625 else until_s)
        for k, machine in enumerate(outages(config, 7, 100.0))
        for from_s, until_s in machine
        if until_s > 0.0625
    )
    other = replace(config, failures=replace(config.failures, up=None, down=None, outages=listed))
    found, _, again = play(other, [7])
    np.testing.assert_array_equal(found, drawn)
    assert again.state.envs["failures"][0] == simulation.state.envs["failures"][0] > 3


def test_times_have_their_means_and_episodes_begin_in_the_middle_of_them():
    config = replace(OVERLOAD, pools=(replace(OVERLOAD.pools[0], gpus=400),))
    for recipe in RECIPES:
        own = failing(config, recipe, warm_up_s=0.1)
        up, down = own.failures.laws(own.split)
        share = up.mean_s / (up.mean_s + down.mean_s + 0.1)
        for at_s in (0.0, 0.2, 2.0):
            machines = [m for seed in range(10) for m in outages(own, seed, 60.0)]
            is_up = np.mean([not any(a <= at_s < b for a, b in m) for m in machines])
            assert is_up == pytest.approx(share, abs=0.025)
        lengths = [b - a for m in machines for a, b in m[1:]]
        assert np.mean(lengths) == pytest.approx(down.mean_s + 0.1, rel=0.02)


def test_splits_replay_parts_of_the_list():
    times = ReplayedTimes(tuple(float(k + 1) for k in range(10)))
    found = [times.law_of(split).lengths_s for split in ("train", "validation", "test", "all")]
    assert [len(own) for own in found] == [6, 2, 2, 10]
    assert sum(found[:3], ()) == found[3] == times.lengths_s


def test_two_seeds_differ_and_machines_do_too():
    config = failing(OVERLOAD)
    one, other = outages(config, 1, 50.0), outages(config, 2, 50.0)
    assert outages(config, 1, 50.0) == one != other
    assert len(set(one)) == len(one)


WATCHED = ("gpu_up", "gpu_leaving", "tries", "waited", "slack", "gpu_slack", "gpu_work", "ttft")
OUT = Failures(outages=(Outage(0, 0.5, 1.5), Outage(1, 0.75, 1.0)), notice_s=0.25, tries=2)


def test_what_a_router_sees_of_it():
    pools = (replace(OVERLOAD.pools[0], gpus=2),)
    config = replace(OVERLOAD, observation=WATCHED, failures=OUT, action="gpu-model", pools=pools)
    columns, seen = config.layout, Counter()

    def check(simulation):
        env, row = simulation.state.envs[0], simulation.outputs.observations[0]
        now_s = float(env["now_s"])

        def column(name):
            return row[columns.first(name) : columns.first(name) + columns.columns(name)]

        down = np.array([0.5 <= now_s < 1.5, 0.75 <= now_s < 1.0])
        assert (column("gpu_up") == ~down).all()
        left = [at - now_s if at - 0.25 <= now_s < at else np.inf for at in (0.5, 0.75)]
        expected = np.minimum(np.log1p(np.array(left) * 1e3), 16.0)
        np.testing.assert_allclose(column("gpu_leaving"), expected, rtol=1e-6)
        assert (column("gpu_slack").reshape(2, -1)[down] == -16).all()
        assert (column("gpu_work").reshape(2, -1)[down] == 16).all()
        if down.all():
            assert (column("slack") == -16).all()
            assert (column("ttft") == 16).all()
        mask = simulation.action_masks()[0].reshape(2, -1)
        assert (mask == (~down[:, None] | down.all())).all()
        fate = simulation.state.fates[0, env["request"]]
        assert column("tries")[0] == np.float32(np.log1p(fate["tries"]))
        waited_ms = float(env["waited_s"]) * 1e3
        assert column("waited")[0] == pytest.approx(np.log1p(waited_ms), rel=1e-6)
        seen.update(down=down.any(), both=down.all(), left=np.isfinite(left).any())
        seen.update(tried=fate["tries"] > 0, waited=waited_ms > 0)

    play(config, [3], each=check)
    assert min(seen.values()) > 0, seen


def test_the_mask_leaves_out_models_that_nothing_up_hosts_and_what_is_put_off_too_often():
    pools = (Pool(1), Pool(1, models=("opt-125m",)))
    config = replace(failing(OVERLOAD), pools=pools, defer=Defer(0.05, 1), reject=True)
    seen = set()

    def check(simulation):
        s, masks = simulation.state, simulation.action_masks()
        for e, mask in enumerate(masks.tolist()):
            of_all, of_one = (s.gpus[e]["is_up"] != 0).tolist()
            routes = [True, of_all, of_all] if of_all or of_one else [True, True, True]
            again = s.fates[e, s.envs["request"][e]]["defers"] == 0 and not s.envs["over"][e]
            assert mask == [*routes, True, again]
            seen.add((of_all, of_one, bool(again)))

    play(config, [3, 4], each=check)
    assert len(seen) == 8


@pytest.mark.parametrize("dispatcher", ["least-work", "shortest-queue", "round-robin"])
def test_dispatchers_leave_out_what_is_down(dispatcher):
    config = replace(
        OVERLOAD, dispatcher=dispatcher, failures=replace(OUT, outages=OUT.outages[:1])
    )
    records, _, _ = play(config, [3])
    sent = records[records["start_s"] >= 0.5]
    assert not ((sent["gpu"] == 0) & (sent["arrival_s"] >= 0.5) & (sent["arrival_s"] < 1.5)).any()
    # Those that were there were sent again, to another.
    assert (records["outcome"] == RETRIED).sum() > 0
    assert (records["outcome"] == LOST).sum() == 0


def test_late_signals_tell_of_it_late_unless_a_circuit_breaks():
    once = Failures(outages=(Outage(0, 0.5, 1.5),), tries=2)
    config = replace(
        OVERLOAD,
        observation=("gpu_up",),
        failures=once,
        pools=(replace(OVERLOAD.pools[0], gpus=2),),
        action="gpu-model",
    )
    # All go to the GPU that fails, or to the other one: then nothing is there that could fail.
    for action, breaks in ((0, True), (0, False), (3, True)):
        tells_at_once, rows = action == 0 and breaks, []
        signals = Signals(scrape_interval_s=0.25, circuit_breaker=breaks)
        config = replace(config, signals=signals)

        def note(simulation, rows=rows):
            up = simulation.outputs.observations[0]
            assert (simulation.action_masks()[0].reshape(2, 3) == (up[:, None] == 1)).all()
            rows.append((float(simulation.state.envs["now_s"][0]), *up))

        records, _, _ = play(config, [3], lambda _, action=action: np.array([action]), note)
        now_s, up, other = np.array(rows).T
        assert other.all()
        assert up[now_s < 0.5].all()
        soon = up[(now_s > 0.5) & (now_s < 0.75)]
        assert not soon.any() if tells_at_once else soon[0]
        assert not up[(now_s > 0.75 + 1e-9) & (now_s < 1.5)].any()
        assert not up[now_s >= 1.5][0]
        assert up[now_s > 1.75 + 1e-9].all()
        assert (records["outcome"] == RETRIED).any() == (action == 0)


def test_where_all_are_down_sends_fail_at_the_first_until_they_are_lost():
    gpus = range(OVERLOAD.gpus)
    config = replace(OVERLOAD, failures=Failures(outages=tuple(Outage(k, 0.0, 99.0) for k in gpus)))
    records, origins, simulation = play(config, [1])
    assert set(records["gpu"]) == {0}
    assert set(records["outcome"]) == {RETRIED, LOST}
    assert (records["finish_s"] == records["arrival_s"]).all()
    assert set(Counter(origins["request"]).values()) == {3}
    env = simulation.state.envs[0]
    assert env["lost"] == env["routed"] == env["retried"] / 2
    assert simulation.summary(0)["share"]["opt-1.3b"] > 0.2


def test_the_end_waits_for_sends_that_time_out_and_for_nothing_else():
    at_s = 2.0**20
    once = Failures(
        outages=(Outage(0, 0.0, at_s), *(Outage(k, 0.0, 99.0) for k in range(1, OVERLOAD.gpus))),
        detection="time-out", timeout_s=0.5, tries=1,
    )  # fmt: skip
    records, _, simulation = play(replace(OVERLOAD, failures=once), [1])
    assert (records["finish_s"] - records["arrival_s"] == 0.5).all()
    assert simulation.state.envs["now_s"][0] == records["arrival_s"].max() + 0.5


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


def test_the_environment_says_so():
    fields = {"failures": OUT, "window_s": 2.0, "completions": True}
    env = gymnasium.make("LLMRoute-v0", scenario="overload", **fields).unwrapped
    env.reset(seed=3)
    over = False
    while not over:
        _, _, over, _, info = env.step(2)
        assert len(info["origins"]) == len(info["completions"])
    assert info["summary"]["failures"] == 2
    assert info["summary"]["retried"] > 0
    assert {"gpu_up", "gpu_leaving", "tries", "waited"} <= set(FEATURE_NAMES)


TIMES = ExponentialTimes(1.0), ExponentialTimes(1.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ExponentialTimes(0.0), "mean_s: got 0"),
        (lambda: ExponentialTimes(float("inf")), "mean_s: got inf"),
        (lambda: LognormalTimes(-1.0, 1.0), "median_s: got -1"),
        (lambda: LognormalTimes(1.0, 0.0), "sigma: got 0"),
        (lambda: ReplayedTimes(()), "lengths_s: got"),
        (lambda: ReplayedTimes((1.0, -2.0)), "lengths_s: got -2"),
        (lambda: Outage(-1, 0.0, 1.0), "outage machine: got -1"),
        (lambda: Outage(0, -1.0, 1.0), "outage from_s: got -1"),
        (lambda: Outage(0, 1.0, 1.0), "outage until_s: got 1.0; accepted: later"),
        (lambda: Failures(), "outages: got"),
        (lambda: Failures(TIMES[0]), "failures down: got None"),
        (lambda: Failures(*TIMES, outages=(Outage(0, 0.0, 1.0),)), "failures outages: got"),
        (lambda: Failures(*TIMES, tries=0), "tries: got 0"),
        (lambda: Failures(*TIMES, warm_up_s=-1.0), "warm_up_s: got -1"),
        (lambda: Failures(*TIMES, notice_s=float("nan")), "notice_s: got nan"),
        (lambda: Failures(*TIMES, detection="never"), "detection: got 'never'"),
        (lambda: Failures(*TIMES, timeout_s=1.0), "timeout_s: got 1.0; accepted: 0 with fail-fast"),
        (lambda: Failures(*TIMES, detection="time-out"), "timeout_s: got 0"),
        (lambda: Failures(*TIMES, gpus_per_machine=0), "gpus_per_machine: got 0"),
        (
            lambda: Failures(outages=(Outage(1, 2.0, 3.0), Outage(1, 0.0, 2.0))),
            "outage from_s: got 2.0; accepted: later than 2.0, when machine 1 is back",
        ),
        (
            lambda: Failures(outages=(Outage(0, 0.0, 1.0), Outage(0, 2.0, 3.0)), warm_up_s=1.5),
            "outage from_s: got 2.0; accepted: later than 2.5",
        ),
        (
            lambda: configure("overload", failures=Failures(outages=(Outage(4, 0.0, 1.0),))),
            "outage machine: got 4; accepted: 0 to 3: there are 4 machines",
        ),
        (
            lambda: configure("overload", failures=Failures(*TIMES, gpus_per_machine=3)),
            "gpus_per_machine: got 3; accepted: what divides the 4 GPUs of pool 0",
        ),
        (
            lambda: configure("overload", failures=Failures(*TIMES, gpus_per_machine=8)),
            "gpus_per_machine: got 8",
        ),
        (
            lambda: configure("overload", failures=Failures(*TIMES, pools=(1,))),
            r"failures pools: got \(1,\); accepted: 0 to 0",
        ),
        (
            lambda: configure(
                "overload", split="test", failures=Failures(ReplayedTimes((1.0,) * 2), TIMES[1])
            ),
            None,
        ),
        (
            lambda: configure(
                "overload", failures=Failures(ReplayedTimes((1.0,)), TIMES[1])
            ),
            "lengths_s: got '1 lengths'; accepted: so many that split 'train' has one",
        ),
        (lambda: configure("overload", failures=True), "failures: got True"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make, said):
    if said is None:
        assert make().failures is not None
        return
    with pytest.raises(ConfigError, match=said):
        make()
