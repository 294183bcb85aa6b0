"""SB3's VecEnv against the vector env it wraps, step by step."""

import doctest
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecCheckNan, VecMonitor, VecNormalize

from llmroute_env import sb3
from llmroute_env.env import LLMRouteEnv
from llmroute_env.sb3 import SB3VecEnv
from llmroute_env.specs import ConfigError, Defer, Pool
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


@pytest.mark.parametrize("fields", [{}, {"defer": Defer(0.01, 3)}], ids=["once", "again"])
def test_episode_statistics_are_the_sums_of_the_steps(fields):
    venv = SB3VecEnv(vector_env(**fields), centre=0.3, scale=2.0)
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
            assert episode["t"] == infos[e]["summary"]["duration_s"] > 0
            ended += 1
        returns[done], lengths[done] = 0.0, 0
    assert ended >= 4


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
    assert [info["episode"]["l"] for info in infos] == [10, 10]


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


def test_options_begin_the_episodes_that_are_scored():
    venv, twin = SB3VecEnv(vector_env(3)), LLMRouteEnv(**SHORT)
    venv.set_options([{"episode": 4}, {}, {"episode": 2}])
    venv.seed(11)
    begun = venv.reset()
    for e, told in (
        (0, {"options": {"episode": 4}}),
        (1, {"seed": 12}),
        (2, {"options": {"episode": 2}}),
    ):
        np.testing.assert_array_equal(begun[e], twin.reset(**told)[0])
    assert not np.array_equal(venv.reset(), begun), "options are used once"
    venv.set_options({"episodes": 4})
    with pytest.raises(ConfigError, match="options: got 'episodes'; accepted: episode"):
        venv.reset()


def test_methods_give_one_result_per_env():
    venv = SB3VecEnv(vector_env(3))
    venv.reset()
    masks = np.stack(venv.env_method("action_masks"))
    assert masks.shape == (3, 3)
    assert len(venv.env_method("action_masks", indices=[2, 0])) == 2
    venv.step(np.array([0, 1, 2]))
    assert [told["requests"] for told in venv.env_method("summary", indices=1)] == [1]
    with pytest.raises(NotImplementedError, match="only 'action_masks' and 'summary'"):
        venv.env_method("render")


def test_attributes_are_those_of_one_env():
    venv, single = SB3VecEnv(vector_env(3)), LLMRouteEnv(**SHORT)
    assert venv.get_attr("config") == [venv.env.config] * 3
    assert venv.get_attr("action_space", indices=[1]) == [single.action_space]
    assert venv.get_attr("observation_space") == [single.observation_space] * 3
    assert venv.has_attr("action_masks")
    assert not venv.has_attr("no_such_thing")
    with pytest.raises(NotImplementedError, match="give another one to model"):
        venv.set_attr("load", 3.0)
    assert venv.env_is_wrapped(Monitor, indices=[0, 2]) == [True, True]
    assert venv.env_is_wrapped(TimeLimit) == [False] * 3


@pytest.mark.parametrize("fields", [{"autoreset_mode": "NextStep"}, {"copy": False}])
def test_other_modes_of_resetting_are_refused(fields):
    with pytest.raises(ConfigError, match="accepted: one made with autoreset_mode='SameStep' and"):
        SB3VecEnv(vector_env(**fields))


def test_sb3s_own_wrappers_and_checks_pass():
    check_env(LLMRouteEnv(**SHORT))
    inner = SB3VecEnv(vector_env())
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
        venv = VecMonitor(VecCheckNan(inner, raise_exception=True))
    venv.seed(2)
    venv.reset()
    ended = 0
    for _, (_, _, done, infos) in rollout(venv, 200):
        ended += done.sum()
        for e, info in enumerate(infos):
            assert ("episode" in info) == done[e]
    # VecMonitor's own bookkeeping agrees with the simulator's.
    assert ended == venv.episode_count > 0


def test_normalised_steps_keep_the_statistics_of_episodes():
    venv, plain = VecNormalize(SB3VecEnv(vector_env())), SB3VecEnv(vector_env())
    for envs in (venv, plain):
        envs.seed(2)
        envs.reset()
    ended = 0
    for (_, mine), (_, theirs) in zip(rollout(venv, 200), rollout(plain, 200), strict=True):
        np.testing.assert_allclose(venv.unnormalize_obs(mine[0]), theirs[0], atol=1e-3)
        for e in np.flatnonzero(mine[2]):
            ended += 1
            assert mine[3][e]["episode"] == theirs[3][e]["episode"]
            last = theirs[3][e]["terminal_observation"]
            mine_last = venv.unnormalize_obs(mine[3][e]["terminal_observation"])
            np.testing.assert_allclose(mine_last, last, atol=1e-3)
    assert ended > 0
    assert venv.obs_rms.count > 800


@pytest.mark.filterwarnings("error")
def test_a_callback_evaluates_by_the_simulators_own_scores(tmp_path: Path):
    judge = SB3VecEnv(vector_env(2), scale=0.01)
    model = PPO("MlpPolicy", SB3VecEnv(vector_env(8)), n_steps=16, batch_size=64, seed=0)
    callback = EvalCallback(
        judge, eval_freq=16, n_eval_episodes=4, log_path=str(tmp_path), verbose=0
    )
    model.learn(256, callback=callback)
    kept = np.load(tmp_path / "evaluations.npz")
    assert kept["results"].shape == (2, 4)
    # Utilities, not rewards, which are a hundredth.
    assert kept["results"].min() > 1.0
    judge.set_options([{"episode": 0}, {"episode": 1}])
    scores, lengths = evaluate_policy(model, judge, 2, return_episode_rewards=True)
    single, own = LLMRouteEnv(**SHORT), []
    for episode in (0, 1):
        observation, _ = single.reset(options={"episode": episode})
        over = False
        while not over:
            action, _ = model.predict(observation, deterministic=True)
            observation, _, over, _, info = single.step(action)
        own.append((info["summary"]["requests"], info["summary"]["utility"]))
    # The shorter one ends first.
    assert list(zip(lengths, scores, strict=True)) == sorted(own)


def test_masks_reach_the_policy_of_contrib():
    pools = (Pool(2, ("opt-125m",)), Pool(2, ("opt-1.3b", "opt-6.7b")))
    venv = SB3VecEnv(vector_env(8, action="gpu-model", pools=pools))
    model = MaskablePPO("MlpPolicy", venv, n_steps=16, batch_size=64, seed=0).learn(256)
    masks = get_action_masks(venv)
    assert 0 < masks.sum() < masks.size
    taken = model.rollout_buffer.actions.astype(int)
    assert masks[0][taken].all()


def test_pictures_are_tiled():
    venv = SB3VecEnv(vector_env(2, render_mode="rgb_array"))
    venv.reset()
    assert venv.render().shape[-1] == 3
    first, _ = venv.env.render()
    np.testing.assert_array_equal(venv.get_images()[0], first)


def test_the_example_runs_as_printed():
    assert doctest.testmod(sb3, raise_on_error=True) == (0, 10)


def test_only_who_asks_for_the_adapter_needs_sb3():
    program = (
        "import sys; sys.modules['stable_baselines3'] = None\n"
        "import llmroute_env, agents.loading\n"
        "try: import llmroute_env.sb3\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip().endswith("pip install 'llmroute[sb3]'"), done.stderr
    assert done.stdout.startswith("llmroute_env.sb3 needs stable_baselines3")
