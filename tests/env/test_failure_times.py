"""When machines fail: what is drawn, what is listed, and what comes of it."""

from dataclasses import replace

import numpy as np
import pytest

from llmroute_env.failure_specs import Outage, ReplayedTimes
from llmroute_env.scenarios import configure
from llmroute_env.simulation.outages import outages
from tests.env.failing_episodes import OVERLOAD, RECIPES, failing, play


def transitions(config, seeds):
    """Times of decisions and which GPUs are up then in the simulator, of the episode of each."""
    rows = [[] for _ in seeds]

    def note(simulation):
        state = simulation.state
        for own, env, gpus in zip(rows, state.envs, state.gpus, strict=True):
            if not env["over"]:
                own.append((float(env["now_s"]), *(gpus["is_up"] != 0)))

    play(config, seeds, each=note)
    return [(found[:, 0], found[:, 1:] != 0) for found in map(np.array, rows)]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("more", [{}, {"warm_up_s": 0.15}, {"gpus_per_machine": 2}], ids=str)
def test_the_schedule_in_advance_is_what_happens(recipe, more):
    config = failing(configure("overload", load=1.0, window_s=3.0), recipe, **more)
    machines = config.failures.machines([pool.gpus for pool in config.pools])
    seeds = 1, 2**63 + 5
    for seed, (now_s, up) in zip(seeds, transitions(config, seeds), strict=True):
        listed = outages(config, seed, 10.0)
        assert sum(map(len, listed)) > 4
        for machine, gpus in zip(listed, machines, strict=True):
            down = [(from_s <= now_s) & (now_s < until_s) for from_s, until_s in machine]
            seen = up[:, list(gpus)]
            assert (seen != np.any(down, axis=0)[:, None]).all()
            assert set(seen.ravel().tolist()) == {True, False}


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


@pytest.mark.verify
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
