"""SB3's VecEnv against the vector env it wraps, step by step."""

import numpy as np
import pytest
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import VecCheckNan, VecMonitor

from agents.learners.sb3.vec_env import SB3VecEnv
from llmroute_env.env import LLMRouteEnv
from llmroute_env.specs import ConfigError
from llmroute_env.vector_env import LLMRouteVectorEnv

SHORT = {"scenario": "overload", "window_s": 0.1}


def vector_env(envs: int = 4, **fields) -> LLMRouteVectorEnv:
    told = {"autoreset_mode": "SameStep", "completions": True}
    return LLMRouteVectorEnv(envs, **{**told, **SHORT, **fields})


def rollout(venv, steps: int, seed: int = 5):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        actions = rng.integers(venv.action_space.n, size=venv.num_envs)
        yield actions, venv.step(actions)


def test_steps_are_those_of_the_vector_env():
    twin, venv = vector_env(), SB3VecEnv(vector_env())
    venv.seed(7)
    np.testing.assert_array_equal(venv.reset(), twin.reset(seed=7)[0])
    ended = 0
    for actions, (observations, rewards, done, infos) in rollout(venv, 400):
        theirs = twin.step(actions)
        np.testing.assert_array_equal(observations, theirs[0])
        np.testing.assert_array_equal(rewards, theirs[1].astype(np.float32))
        np.testing.assert_array_equal(done, theirs[2] | theirs[3])
        assert [bool(info) for info in infos] == done.tolist()
        for e in np.flatnonzero(done):
            ended += 1
            final = theirs[4]["final_obs"][e]
            np.testing.assert_array_equal(infos[e]["terminal_observation"], final)
            assert infos[e]["TimeLimit.truncated"] is False
    assert ended >= 4


def test_episode_statistics_are_the_sums_of_the_steps():
    venv = SB3VecEnv(vector_env(), centre=0.3, scale=2.0)
    venv.seed(1)
    venv.reset()
    returns, lengths, ended = np.zeros(4), np.zeros(4, int), 0
    for _, (_, rewards, done, infos) in rollout(venv, 400):
        returns += rewards / 2.0 + 0.3
        lengths += 1
        for e in np.flatnonzero(done):
            episode = infos[e]["episode"]
            assert episode["r"] == pytest.approx(returns[e], abs=1e-4)
            assert episode["l"] == lengths[e]
            assert episode["t"] > 0
            ended += 1
        returns[done], lengths[done] = 0.0, 0
    assert ended == len(venv.summaries) >= 4


def test_centre_and_scale_reach_the_utilities_of_decisions():
    plain, moved = SB3VecEnv(vector_env()), SB3VecEnv(vector_env(), centre=0.5, scale=0.1)
    for venv in (plain, moved):
        venv.seed(3)
        venv.reset()
    seen = 0
    for _ in zip(rollout(plain, 200), rollout(moved, 200), strict=True):
        utility = plain.result[4]["completions"]["utility"]
        expected = (utility - 0.5) * 0.1
        np.testing.assert_allclose(moved.result[4]["completions"]["utility"], expected)
        np.testing.assert_allclose(moved.result[1], (plain.result[1] - 0.5) * 0.1)
        seen += len(utility)
    assert seen > 100


def test_a_cut_episode_is_truncated_and_not_terminated():
    venv = SB3VecEnv(LLMRouteVectorEnv(2, "overload", 10, autoreset_mode="SameStep"))
    venv.seed(0)
    venv.reset()
    *_, (_, (_, _, done, infos)) = rollout(venv, 10)
    assert done.all()
    assert all(info["TimeLimit.truncated"] is True for info in infos)


def test_observations_are_not_overwritten_by_the_next_step():
    venv = SB3VecEnv(vector_env())
    venv.seed(0)
    first = venv.reset()
    kept = first.copy()
    list(rollout(venv, 5))
    np.testing.assert_array_equal(first, kept)


def test_seeds_are_used_once():
    venv = SB3VecEnv(vector_env())
    assert list(venv.seed(11)) == [11, 12, 13, 14]
    first = venv.reset()
    second = venv.reset()
    assert not np.array_equal(first, second)
    venv.seed(11)
    np.testing.assert_array_equal(venv.reset(), first)


def test_masks_are_one_row_per_env():
    venv = SB3VecEnv(vector_env(3))
    masks = np.stack(venv.env_method("action_masks"))
    assert masks.shape == (3, 3)
    assert venv.has_attr("action_masks")
    assert not venv.has_attr("no_such_thing")
    with pytest.raises(NotImplementedError, match="only 'action_masks'"):
        venv.env_method("render")


def test_other_modes_of_resetting_are_refused():
    with pytest.raises(ConfigError, match="SAME_STEP"):
        SB3VecEnv(vector_env(autoreset_mode="NextStep"))


def test_sb3s_own_wrappers_and_checks_pass():
    check_env(LLMRouteEnv(**SHORT))
    venv = VecMonitor(VecCheckNan(SB3VecEnv(vector_env()), raise_exception=True))
    venv.seed(2)
    venv.reset()
    inner = venv.unwrapped
    for _, (_, _, done, infos) in rollout(venv, 200):
        for e, info in enumerate(infos):
            assert ("episode" in info) == done[e]
    # VecMonitor's own bookkeeping agrees with the simulator's.
    assert len(inner.summaries) == venv.episode_count > 0
