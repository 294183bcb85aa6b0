"""What Gymnasium and Stable-Baselines3 expect of an environment, on every registered id."""

import pickle
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import llmroute_env
from llmroute_env.vector_env import LLMRouteVectorEnv

IDS = ("LLMRoute-v0", "LLMRouteSoft-v0", "LLMRoutePaper-v0")


def rollout(env: gymnasium.Env, steps: int, seed: int) -> list:
    env.action_space.seed(seed)
    seen = [env.reset(seed=seed)]
    for _ in range(steps):
        seen.append(env.step(env.action_space.sample()))
        if seen[-1][2] or seen[-1][3]:
            seen.append(env.reset())
    return seen


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_checker_has_nothing_to_say(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(name).unwrapped, skip_render_check=True)


@pytest.mark.parametrize("name", IDS)
def test_sb3_checker_has_nothing_to_say(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env_sb3(gymnasium.make(name))


@pytest.mark.parametrize("name", IDS)
def test_twins_agree_and_other_seeds_differ(name: str):
    first, twin, other = (rollout(gymnasium.make(name), 2000, seed) for seed in (3, 3, 4))
    assert data_equivalence(first, twin, exact=True)
    assert not data_equivalence(first[0][0], other[0][0], exact=True)


@pytest.mark.parametrize("name", IDS)
def test_pickled_env_continues_identically(name: str):
    env = gymnasium.make(name)
    rollout(env, 500, seed=1)
    copy = pickle.loads(pickle.dumps(env))
    for _ in range(500):
        assert data_equivalence(env.step(0), copy.step(0), exact=True)


@pytest.mark.parametrize("name", IDS)
def test_spec_rebuilds_the_env(name: str):
    env = gymnasium.make(name, load=3.0)
    again = gymnasium.make(pickle.loads(pickle.dumps(env.spec)))
    assert again.unwrapped.config == env.unwrapped.config
    assert data_equivalence(rollout(env, 50, 0), rollout(again, 50, 0), exact=True)


WITHOUT_AN_IMPORT = """
import sys, gymnasium
for env in (gymnasium.make("llmroute_env:LLMRoute-v0"), gymnasium.make("LLMRoute-v0")):
    print(env.reset(seed=0)[0].shape)
print(gymnasium.make_vec("llmroute_env:LLMRoute-v0", num_envs=2).reset(seed=0)[0].shape)
print([m for m in ("torch", "pygame", "matplotlib", "ray", "PIL") if m in sys.modules])
"""


def test_ids_are_found_without_an_import_and_import_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", WITHOUT_AN_IMPORT],
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["(16,)", "(16,)", "(2, 16)", "[]"], done.stderr


def test_ids_are_found_after_an_import_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert gymnasium.make("LLMRoute-v0").reset(seed=0)[0].shape == (16,)
        assert gymnasium.make_vec("LLMRoute-v0", num_envs=2).reset(seed=0)[0].shape == (2, 16)


@pytest.mark.parametrize("name", IDS)
def test_make_vec_builds_the_native_env_and_cuts_episodes(name: str):
    env = gymnasium.make_vec(name, num_envs=3, max_episode_steps=40)
    assert isinstance(env.unwrapped, LLMRouteVectorEnv)
    assert env.metadata["autoreset_mode"] is env.unwrapped.autoreset_mode is AutoresetMode.NEXT_STEP
    env.reset(seed=0)
    for _ in range(39):
        assert not env.step(np.zeros(3, np.int64))[3].any()
    _, _, terminated, truncated, infos = env.step(np.zeros(3, np.int64))
    assert truncated.all()
    assert not terminated.any()
    assert infos["summary"]["requests"].tolist() == [40, 40, 40]
    assert infos["summary"]["utility_of_peak"].tolist() == infos["utility_of_peak"].tolist()


def test_vector_statistics_wrapper_counts_every_reward():
    own = {"scenario": "stable", "window_s": 0.5, "autoreset_mode": "SameStep"}
    env = gymnasium.make_vec("LLMRoute-v0", num_envs=4, **own)
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(env)
    env.reset(seed=0)
    returns, expected = np.zeros(4), []
    found: list[float] = []
    for _ in range(400):
        _, rewards, terminated, _, infos = env.step(np.zeros(4, np.int64))
        returns += rewards
        expected += returns[terminated].tolist()
        returns[terminated] = 0.0
        if terminated.any():
            statistics = (
                infos["final_info"]["episode"] if "episode" not in infos else infos["episode"]
            )
            found += statistics["r"][terminated].tolist()
    assert len(expected) > 4
    assert found == pytest.approx(expected)


def test_public_names_exist():
    assert all(hasattr(llmroute_env, name) for name in llmroute_env.__all__)
