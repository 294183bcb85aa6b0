"""Env i of the vector env is the single env with the same seed, whatever surrounds it."""

import os
import pickle
import re
import signal

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from llmroute_env import ConfigError, Deadline
from llmroute_env.dynamics.state import State, allocate_log
from llmroute_env.env import LLMRouteEnv
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.vector_env import LLMRouteVectorEnv
from tests.scenario_windows import EVERY, brief

ENVS = 3


def scripted(step: int, e: int, models: int = 3) -> int:
    """A model that depends on env and step, so that the envs' histories differ."""
    return (7 * step + 3 * e + step // 50) % models


def briefly(scenario: str, usual_s: float) -> dict:
    """Fields of episodes of so many seconds with static batching, or of as many requests."""
    return {"completions": True, **brief(scenario, usual_s, 1 / 50)}


@pytest.mark.parametrize("scenario", EVERY)
def test_vector_env_equals_single_envs_step_by_step(scenario: str):
    fields = briefly(scenario, 0.2)
    vector = LLMRouteVectorEnv(ENVS, scenario, autoreset_mode="SameStep", **fields)
    singles = [LLMRouteEnv(scenario, **fields) for _ in range(ENVS)]
    shown = [vector.reset(seed=10)[0]]
    seen_alone = [[single.reset(seed=10 + e)[0] for e, single in enumerate(singles)]]
    ended, models = 0, len(vector.config.models)
    for step in range(700):
        actions = np.array([scripted(step, e, models) for e in range(ENVS)])
        observations, rewards, terminated, truncated, infos = vector.step(actions)
        shown.append(observations)
        seen_alone.append([])
        for e, single in enumerate(singles):
            seen, reward, over, cut, info = single.step(actions[e])
            assert (reward, over, cut) == (rewards[e], terminated[e], truncated[e])
            assert info["elapsed_s"] == infos["elapsed_s"][e]
            assert_same_completions(infos["completions"], e, info["completions"])
            if over:
                ended += 1
                np.testing.assert_array_equal(infos["final_obs"][e], seen)
                assert vector.simulation.final_summary(e) == info["summary"]
                score = info["summary"]["utility_of_peak"]
                assert infos["final_info"]["utility_of_peak"][e] == info["utility_of_peak"] == score
                seen, _ = single.reset()
            seen_alone[-1].append(seen)
    np.testing.assert_array_equal(shown, seen_alone)
    assert ended >= ENVS


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_the_score_so_far_is_that_of_the_counters(mode: str):
    envs = LLMRouteVectorEnv(ENVS, "overload", autoreset_mode=mode, window_s=0.2)
    simulation = envs.simulation
    envs.reset(seed=3)
    assert simulation.outputs.utility_of_peak.tolist() == [0.0] * ENVS
    seen, saved = [], envs.snapshot()
    for step in range(400):
        if mode == "Disabled" and simulation.state.envs["over"].any():
            envs.reset(options={"reset_mask": simulation.state.envs["over"]})
        if step == 20:
            saved = envs.snapshot()
        score = envs.step(np.array([scripted(step, e) for e in range(ENVS)]))[-1]["utility_of_peak"]
        assert score.tolist() == simulation.share_of_peak.tolist()
        seen.append(score)
    assert np.unique(seen).size > 200
    envs.restore(saved)
    assert simulation.outputs.utility_of_peak.tolist() == simulation.share_of_peak.tolist()


def assert_same_completions(of_all: np.ndarray, e: int, of_one: list) -> None:
    mine = of_all[of_all["env"] == e].tolist()
    assert [record[1:] for record in mine] == [completion[1:] for completion in of_one]


def of_all(steps: list) -> list[np.ndarray]:
    """What steps returned, each part of all of them at once: compared in a tenth of the time."""
    *parts, infos = zip(*steps, strict=True)
    completions = [info["completions"] for info in infos]
    each = [len(own) for own in completions]
    return [*map(np.array, parts), np.array(each), np.concatenate(completions)]


@pytest.mark.parametrize("scenario", EVERY)
def test_a_snapshot_continues_identically(scenario: str):
    env = LLMRouteVectorEnv(2, scenario, autoreset_mode="SameStep", **briefly(scenario, 0.3))
    env.reset(seed=0)
    models = len(env.config.models)
    for step in range(200):
        env.step(np.array([scripted(step, 0, models), scripted(step, 1, models)]))
    snapshot = env.snapshot()
    first = [env.step(np.full(2, scripted(step, 0, models))) for step in range(600)]
    observations = env.restore(snapshot)
    second = [env.step(np.full(2, scripted(step, 0, models))) for step in range(600)]
    assert any(result[2].any() for result in first), "the comparison spans an episode's end"
    for mine, theirs in zip(of_all(first), of_all(second), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert observations.shape == (2, env.config.layout.width)


def test_a_snapshot_moves_to_another_env():
    one, other = (LLMRouteEnv("stable", window_s=2.0) for _ in range(2))
    one.reset(seed=5)
    for step in range(100):
        one.step(scripted(step, 0))
    other.restore(one.snapshot())
    for step in range(100):
        mine, theirs = one.step(scripted(step, 1)), other.step(scripted(step, 1))
        np.testing.assert_array_equal(mine[0], theirs[0])
        assert mine[1] == theirs[1]


def test_a_snapshot_of_another_shape_is_refused():
    env = LLMRouteVectorEnv(2, "stable")
    with pytest.raises(ConfigError, match="snapshot shapes: got"):
        env.restore(LLMRouteVectorEnv(3, "stable").snapshot())


def run_to_the_end(env: LLMRouteVectorEnv) -> tuple:
    while True:
        result = env.step(np.zeros(env.num_envs, np.int64))
        if result[2].any():
            return result


def test_next_step_mode_shows_the_last_observation_then_resets():
    env = LLMRouteVectorEnv(1, "stable", autoreset_mode=AutoresetMode.NEXT_STEP, window_s=0.2)
    env.reset(seed=0)
    observations, _, terminated, _, _ = run_to_the_end(env)
    assert terminated[0]
    assert not observations[0, :4].any(), "no request is pending after the last one"
    observations, rewards, terminated, _, _ = env.step(np.zeros(1, np.int64))
    assert observations[0, :4].sum() == 1
    assert (rewards[0], terminated[0]) == (0.0, False)


def test_disabled_mode_waits_for_a_masked_reset():
    env = LLMRouteVectorEnv(2, "stable", autoreset_mode=AutoresetMode.DISABLED, window_s=0.2)
    env.reset(seed=0)
    before, _, terminated, _, _ = run_to_the_end(env)
    ended = np.flatnonzero(terminated).tolist()
    with pytest.raises(gymnasium.error.ResetNeeded, match=re.escape(f"envs {ended} have ended")):
        env.step(np.zeros(2, np.int64))
    after, _ = env.reset(options={"reset_mask": terminated})
    env.step(np.zeros(2, np.int64))
    np.testing.assert_array_equal(before[~terminated], after[~terminated])
    assert after[terminated][:, :4].sum() == terminated.sum()


def test_envs_that_a_later_mask_resets_first_have_episodes_of_their_own():
    env = LLMRouteVectorEnv(6, "stable", autoreset_mode="SameStep", window_s=0.5)
    some = np.array([True, True, False, False, False, False])
    env.reset(options={"reset_mask": some})
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"envs \[2, 3, 4, 5\]"):
        env.step(np.zeros(6, np.int64))
    env.reset(options={"reset_mask": ~some})
    assert len(set(env.simulation.state.envs["tape_start_s"])) == 6
    env.step(np.zeros(6, np.int64))


def test_a_forked_process_steps_the_envs_that_it_inherits():
    env = LLMRouteVectorEnv(4, "stable", autoreset_mode="SameStep", window_s=0.5, threads=2)
    env.reset(seed=0)
    env.step(np.zeros(4, np.int64))
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        env.step(np.zeros(4, np.int64))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    "fields",
    [{"load": 0.5}, {"split": "test"}, {"workload_seed": 1}, {"deadline": Deadline(0.5)}],
    ids=str,
)
def test_a_snapshot_of_another_world_is_refused(fields: dict):
    env = LLMRouteEnv("stable", window_s=0.5)
    env.reset(seed=0)
    other = LLMRouteEnv("stable", window_s=0.5, **fields)
    with pytest.raises(ConfigError, match="snapshot of the world: got"):
        other.restore(pickle.loads(pickle.dumps(env.snapshot())))


def test_a_snapshot_made_of_arrays_must_lie_within_the_requests():
    env = LLMRouteEnv("stable", window_s=0.5)
    env.reset(seed=0)
    state = State(*env.snapshot())
    env.restore(state)
    state.envs["end"] = 10**9
    with pytest.raises(ConfigError, match=r"snapshot windows: got \[1000000000\]"):
        env.restore(state)


def test_an_episode_longer_than_the_split_is_refused():
    with pytest.raises(ConfigError, match=r"window_s: got 241.0; accepted: up to 240 s"):
        LLMRouteEnv("stable", split="test", window_s=241.0)
    for length_s in (240.0, np.inf):
        LLMRouteEnv("stable", split="test", window_s=length_s)


def test_copies_are_the_callers_unless_declined():
    kept = LLMRouteVectorEnv(2, "stable")
    buffered = LLMRouteVectorEnv(2, "stable", copy=False)
    for env, fresh in ((kept, True), (buffered, False)):
        env.reset(seed=0)
        first = env.step(np.zeros(2, np.int64))[0]
        second = env.step(np.zeros(2, np.int64))[0]
        assert np.shares_memory(first, second) is not fresh


def test_results_do_not_depend_on_the_number_of_envs():
    few, many = LLMRouteVectorEnv(2, "stable"), LLMRouteVectorEnv(9, "stable")
    np.testing.assert_array_equal(few.reset(seed=0)[0], many.reset(seed=0)[0][:2])
    for step in range(300):
        action = step % 3
        mine, theirs = few.step(np.full(2, action)), many.step(np.full(9, action))
        np.testing.assert_array_equal(mine[0], theirs[0][:2])
        np.testing.assert_array_equal(mine[1], theirs[1][:2])


def test_results_do_not_depend_on_the_number_of_threads():
    one, three = (LLMRouteVectorEnv(7, "overload", completions=True, threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.reset(seed=0)[0], three.reset(seed=0)[0])
    ended = 0
    for step in range(1500):
        actions = np.array([scripted(step, e) for e in range(7)])
        mine, theirs = one.step(actions), three.step(actions)
        for a, b in zip(mine[:4], theirs[:4], strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(mine[4]["completions"], theirs[4]["completions"])
        ended += len(theirs[4]["completions"])
    assert ended > 5000


@pytest.mark.parametrize(("envs", "threads"), [(1, 1), (5, 1), (5, 2)])
def test_a_log_that_is_too_small_loses_nothing(envs: int, threads: int):
    config = configure("overload")
    roomy, tight = (Simulation(config, envs, threads=threads) for _ in range(2))
    for part in tight.parts:
        part.log = allocate_log(1)
    for simulation in (roomy, tight):
        simulation.begin(np.arange(envs, dtype=np.uint64))
    ended = 0
    for step in range(600):
        for simulation in (roomy, tight):
            if envs == 1:
                simulation.step_one(scripted(step, 0))
            else:
                simulation.step(np.array([scripted(step, e) for e in range(envs)]))
        np.testing.assert_array_equal(roomy.completions, tight.completions)
        if threads == 1:
            assert [*map(tuple, tight.ended())] == tight.completions.tolist()
        ended += len(tight.completions)
    assert ended > 100 * envs
    assert all(len(part.log.records) > 1 for part in tight.parts)


@pytest.mark.parametrize("threads", [1, 2])
def test_actions_of_any_integer_type_and_layout_mean_the_same(threads: int):
    rows = np.arange(8, dtype=np.int32).reshape(4, 2) % 3
    for given in (rows[:, 1], rows[:, 1].astype(np.uint8), rows[:, 1].tolist()):
        env, other = (Simulation(configure("stable"), 4, threads=threads) for _ in range(2))
        for simulation in (env, other):
            simulation.begin(np.arange(4, dtype=np.uint64))
        env.step(np.array([1, 0, 2, 1]))
        other.step(given)
        assert env.state.models["routed"].tolist() == other.state.models["routed"].tolist()
    with pytest.raises(ConfigError, match=r"actions: got .* accepted: integers of shape"):
        env.step(np.array([0.5, 1, 2, 0]))


def test_threads_check_all_actions_before_any_env_moves():
    env = LLMRouteVectorEnv(4, "stable", threads=2)
    env.reset(seed=0)
    before = env.snapshot()
    with pytest.raises(ConfigError, match="action of env 3: got 9; accepted: an integer"):
        env.step(np.array([0, 0, 0, 9]))
    assert all(np.array_equal(a, b) for a, b in zip(before, env.snapshot(), strict=True))
    with pytest.raises(ConfigError, match="threads: got 5; accepted: 1 to num_envs, 4"):
        LLMRouteVectorEnv(4, "stable", threads=5)
