"""Machines that fail: what routers and dispatchers know of it, and where requests end."""

from collections import Counter
from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from llmroute_env.dynamics.features import FEATURE_NAMES
from llmroute_env.dynamics.state import LOST, RETRIED
from llmroute_env.failure_specs import Failures, Outage
from llmroute_env.scenarios import configure
from llmroute_env.signal_specs import Signals
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import Defer, Pool
from tests.env.failing_episodes import OVERLOAD, failing, play

WATCHED = ("gpu_up", "gpu_leaving", "tries", "waited", "slack", "gpu_slack", "gpu_work", "ttft")
OUT = Failures(outages=(Outage(0, 0.5, 1.5), Outage(1, 0.75, 1.0)), notice_s=0.25, tries=2)
UNTIL_AFTER = configure("overload", load=2.0, window_s=2.0)
"""Goes on when all is up again."""


def test_what_a_router_sees_of_it():
    pools = (replace(UNTIL_AFTER.pools[0], gpus=2),)
    fields = {"observation": WATCHED, "failures": OUT, "action": "gpu-model", "pools": pools}
    config, seen = replace(UNTIL_AFTER, **fields), Counter()
    columns = config.layout

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
        seen.update(tried=fate["tries"] > 0, waited=waited_ms > 0, again=now_s >= 1.5)

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
        UNTIL_AFTER, dispatcher=dispatcher, failures=replace(OUT, outages=OUT.outages[:1])
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
        window_s=2.0,
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


def test_a_machine_that_is_down_from_the_start_is_believed_to_be_before_the_first_scrape():
    down = Failures(outages=(Outage(1, 0.0, 50.0),))
    config = replace(OVERLOAD, observation=("gpu_up",), failures=down, signals=Signals(100.0))
    simulation = Simulation(config)
    simulation.begin(np.zeros(1, np.uint64))
    assert simulation.outputs.observations[0].tolist() == [1, 0, 1, 1]


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
